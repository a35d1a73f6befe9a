import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { loadOrCreateAttestor } from '../attest/attestor.ts';
import { BUNDLE_REFS, type Bundle, decodeBundle } from '../attest/bundle.ts';
import { type Clone, openClone } from '../attest/clone.ts';
import { installationTrust } from '../attest/installation.ts';
import { BrokenLink, links } from '../attest/links.ts';
import { issueMerge } from '../attest/merge.ts';
import { open, type Trust } from '../attest/trust.ts';
import { type Proof, verifyBundle } from '../attest/verify-bundle.ts';
import { proveRecord } from '../audit/proof.ts';
import { systemClock, timestamp } from '../base/clock.ts';
import { CordonError, ExitCode, NotFoundError, UsageError } from '../base/errors.ts';
import { gitText } from '../base/git.ts';
import { safeText, shellWord } from '../base/term.ts';
import { prepareHome } from '../config/home.ts';
import { resolvePaths } from '../config/paths.ts';
import type { MergeOptions } from './attest.ts';
import { type Context, outputOf } from './context.ts';
import { withLog } from './secrets-local.ts';

/** Issues the proof of a merge, with this installation's key and log, and puts it beside the clone's other proofs. */
export async function merge(context: Context, named: string, options: MergeOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  await prepareHome(paths);
  const trust = open(installationTrust(paths.keys, systemClock.now()));
  const clone = await openClone(resolve(context.cwd, options.workspace ?? '.'), context.env);
  try {
    const to = await clone.resolve(named);
    const from = await clone.resolve(options.since ?? `${to}^1`);
    const change = await changeOf(clone, to, options, trust);
    const attestor = await loadOrCreateAttestor(paths.keys, timestamp(systemClock.now()));
    const issued = await withLog(paths, (log, principal) =>
      issueMerge(
        clone,
        change,
        {
          to,
          from,
          ref: options.ref.startsWith('refs/') ? options.ref : `refs/heads/${options.ref}`,
          requester: principal.id,
          origin: log.vkey.slice(0, log.vkey.indexOf('+')),
          issuedAt: timestamp(systemClock.now()),
        },
        attestor,
        {
          append: async (resource) =>
            (
              await log.append({
                type: 'attestation.issued',
                run: change.proof.change.run,
                principal,
                action: null,
                resource,
              })
            ).seq,
          prove: (seq) => proveRecord(log.dir, log.vkey, seq),
        },
      ),
    );
    const where = await keep(context, clone, to, issued.bytes, options.output);
    if (out.json)
      out.document({
        commit: to,
        change: change.proof.change.to,
        digest: issued.digest,
        logIndex: issued.seq,
        ...where,
      });
    else
      out.line(
        `${out.style.bold(to.slice(0, 12))} repeats ${change.proof.change.to.slice(0, 12)}, tree for tree; record ${issued.seq} of the log`,
        'ref' in where ? `  git push origin ${shellWord(where.ref)}` : `  wrote ${safeText(where.path)}`,
      );
  } catch (error) {
    throw error instanceof BrokenLink ? notRepeated(error) : error;
  } finally {
    clone.close();
  }
}

function notRepeated(cause: BrokenLink): CordonError {
  return new CordonError('conflict', ExitCode.policy, `this cannot be proven as a merge: ${safeText(cause.message)}`, {
    cause,
    remedy: `${links[cause.link]}; a change that was merged onto other work is another change: run it again on that`,
  });
}

interface Change {
  readonly bundle: Bundle;
  readonly proof: Proof;
}

/** The delivered change that is repeated: the one named, or the one that ends with the same tree. */
async function changeOf(clone: Clone, to: string, { of }: MergeOptions, trust: Trust): Promise<Change> {
  const tree = (await clone.commit(to))?.tree;
  const named = of === undefined ? null : await clone.resolve(of);
  const bundles = await clone.bundles(named === null ? '' : `${named}*`);
  for (const oid of [...bundles.values()].flat()) {
    const bytes = await clone.blob(oid);
    const change = bytes === null ? null : openChange(bytes, trust);
    if (change !== null && (named !== null || change.proof.changed.at(-1)?.tree === tree)) return change;
  }
  throw new NotFoundError(`no proof in this clone is of a change that ends with the tree of ${to.slice(0, 12)}`, {
    remedy: "fetch the proofs: git fetch origin 'refs/attestations/*:refs/attestations/*'",
  });
}

function openChange(bytes: Buffer, trust: Trust): Change | null {
  try {
    const proof = verifyBundle(bytes, trust, {});
    return proof.merge === null ? { proof, bundle: decodeBundle(bytes) } : null;
  } catch (error) {
    if (error instanceof BrokenLink) return null;
    throw error;
  }
}

async function keep(
  context: Context,
  { place }: Clone,
  commit: string,
  bytes: Buffer,
  output: string | undefined,
): Promise<{ readonly ref: string } | { readonly path: string }> {
  if (output !== undefined) {
    const path = resolve(context.cwd, output);
    await writeFile(path, bytes).catch((cause: Error) => {
      throw new UsageError(`${safeText(path)} cannot be written: ${cause.message}`, { cause });
    });
    return { path };
  }
  const ref = `${BUNDLE_REFS}${commit}`;
  const oid = await gitText(place, ['hash-object', '-w', '--stdin'], { stdin: bytes });
  await gitText(place, ['update-ref', ref, oid]);
  return { ref };
}
