import { lstatSync } from 'node:fs';
import { AuditInvalidError, NotFoundError } from '../base/errors.ts';
import { NoteError, parseVerifierKey, type Verifier } from './checkpoint.ts';
import { withFrozenTiles } from './live-tree.ts';
import type { VerifyReport } from './problem.ts';
import { verifyFile } from './verify-file.ts';
import { verifyTree } from './verify-tree.ts';

export interface VerifyOptions {
  /** The log's public key (`keys/audit.vkey`), from somewhere the log's owner could not change it. */
  readonly vkey: string;
  /** Signed checkpoints kept from earlier: each must be a prefix of what is there now. */
  readonly trusted?: readonly string[];
  /** Runs that go on right now: their intents may have no outcome yet. */
  readonly aliveRuns?: ReadonlySet<string>;
  /** Threads to use beside the calling one; by default as many as the machine has left, and none for a small log. */
  readonly threads?: number;
}

/**
 * Recomputes a log, an export of it, or a proof from the raw records, with nothing but the public key. Nothing in it is
 * trusted: sizes are bounded, links are not followed, and what is wrong is reported, not thrown.
 *
 * A live log may be verified while it is written to: what is durable at that moment is looked at.
 * Throws `NotFoundError` when there is nothing at `path`, and `AuditInvalidError` when `vkey` or a trusted checkpoint
 * cannot be used.
 */
export async function verifyAudit(path: string, options: VerifyOptions): Promise<VerifyReport> {
  const verifier = verifierOf(options.vkey);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new NotFoundError(`there is nothing to verify at ${path}`);
  if (stat.isFile()) return verifyFile(path, verifier, options);
  if (!stat.isDirectory()) throw new NotFoundError(`${path} is neither a log's folder nor an export`);
  return withFrozenTiles(path, () => verifyTree(path, verifier, options));
}

function verifierOf(vkey: string): Verifier {
  try {
    return parseVerifierKey(vkey);
  } catch (cause) {
    if (!(cause instanceof NoteError)) throw cause;
    throw new AuditInvalidError(`the public key cannot be used: ${cause.message}`, {
      cause,
      remedy: 'give the line in keys/audit.vkey of the installation that wrote the log',
    });
  }
}
