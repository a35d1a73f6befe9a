import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  type AuthorityState,
  allowedSigners,
  readAuthorities,
  revocationList,
  revokeCertificate,
  rotateAuthority,
} from '../attest/authority.ts';
import { readEvents } from '../audit/read.ts';
import { systemClock, timestamp } from '../base/clock.ts';
import { digest } from '../base/digest.ts';
import { NotFoundError, StorageError, UsageError } from '../base/errors.ts';
import { safeText, shellWord } from '../base/term.ts';
import { prepareHome } from '../config/home.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import type { RotateOptions } from './attest.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { withLog } from './secrets-local.ts';

export interface SignersOptions extends OutputOptions {
  readonly revoked?: string;
}

/** The lines for git's `gpg.ssh.allowedSignersFile`; with `--revoked` also the list for `gpg.ssh.revocationFile`. */
export async function signers(context: Context, options: SignersOptions): Promise<void> {
  const out = outputOf(context, options);
  const state = readAuthorities(resolvePaths(context.env).keys);
  if (state === null)
    throw new NotFoundError('no commit was signed here yet', {
      remedy: 'the authority is made with the first commit of a run: cordon run -- CMD…',
    });
  const revoked = options.revoked === undefined ? null : resolve(context.cwd, options.revoked);
  if (revoked !== null) await writeList(revoked, state);
  const lines = allowedSigners(state);
  if (out.json) out.document({ allowedSigners: lines, revoked: state.revoked, revocationList: revoked });
  else {
    out.raw(`${lines.join('\n')}\n`);
    if (revoked !== null) out.progress(`git config gpg.ssh.revocationFile ${shellWord(revoked)}`);
  }
}

async function writeList(file: string, state: AuthorityState): Promise<void> {
  try {
    await writeFile(file, revocationList(state, systemClock.now()), { mode: 0o644 });
  } catch (cause) {
    throw new StorageError(`${safeText(file)} could not be written: ${(cause as Error).message}`, { cause });
  }
}

/** Another authority from now on; runs that hold the old one's certificates go on until then. */
export async function rotateSigners(context: Context, options: RotateOptions): Promise<void> {
  if (options.revokedFrom !== undefined) {
    throw new UsageError('--revoked-from goes with the key of statements, not with --authority', {
      remedy: 'cordon attest rotate --authority --overlap 0s, and hand out `cordon attest signers` again',
    });
  }
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  await prepareHome(paths);
  const now = systemClock.now();
  const before = readAuthorities(paths.keys)?.current;
  const state = await rotateAuthority(paths.keys, { now: timestamp(now), until: timestamp(now + options.overlap) });
  const resource = {
    what: 'commit authority',
    before: before === undefined ? null : digest(before),
    after: digest(state.current),
  };
  await withLog(paths, (log, principal) =>
    log.append({ type: 'configuration.changed', run: null, principal, action: null, resource }),
  );
  if (out.json) out.document({ changed: resource.what, current: state.current, authorities: state.authorities.length });
  else out.line(`${out.style.bold(resource.what)} changed; keys of runs are certified by ${state.current}`);
}

/** Revokes the certificates that a run's key was given, if it signed anything; the log says so. */
export async function revokeCertificates(paths: Paths, run: string): Promise<number> {
  const issued = [...readEvents(paths.audit, { run })].flatMap(({ event }) =>
    event.type === 'git.certified' ? [event.resource] : [],
  );
  for (const { serial, authority } of issued) {
    await revokeCertificate(paths.keys, { run, authority, serial: BigInt(serial), at: timestamp(systemClock.now()) });
    await withLog(paths, (log, principal) =>
      log.append({
        type: 'git.revoked',
        run: null,
        principal,
        action: 'git.sign',
        resource: { run, serial, authority },
      }),
    );
  }
  return issued.length;
}
