import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type AttestorState, revokeRun, rotateAttestor } from '../attest/attestor.ts';
import { installationTrust } from '../attest/installation.ts';
import { formatTrust } from '../attest/trust.ts';
import { systemClock, timestamp } from '../base/clock.ts';
import { digest } from '../base/digest.ts';
import { StorageError, UsageError } from '../base/errors.ts';
import { isRunId } from '../base/ids.ts';
import { safeText, shellWord } from '../base/term.ts';
import { prepareHome } from '../config/home.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import type { RotateOptions } from './attest.ts';
import { revokeCertificates, rotateSigners } from './attest-signers.ts';
import { type Context, outputOf } from './context.ts';
import type { Output, OutputOptions } from './output.ts';
import { withLog } from './secrets-local.ts';

/** Writes the file that a verifier takes with `--key`. It holds nothing secret. */
export async function key(context: Context, options: OutputOptions & { output?: string }): Promise<void> {
  const out = outputOf(context, options);
  const text = formatTrust(installationTrust(resolvePaths(context.env).keys, systemClock.now()));
  if (options.output === undefined) {
    out.raw(text);
    return;
  }
  const file = resolve(context.cwd, options.output);
  try {
    await writeFile(file, text, { mode: 0o644 });
  } catch (cause) {
    throw new StorageError(`${safeText(file)} could not be written: ${(cause as Error).message}`, { cause });
  }
  if (out.json) out.document({ path: file });
  else
    out.line(
      `wrote ${out.style.bold(safeText(file))}`,
      `  ${out.style.dim('hand it to whoever verifies, by a way that nobody else can write to')}`,
      `  cordon verify COMMIT --key ${shellWord(file)}`,
    );
}

export async function rotate(context: Context, options: RotateOptions): Promise<void> {
  if (options.authority === true) return rotateSigners(context, options);
  const now = systemClock.now();
  const times = {
    now: timestamp(now),
    until: timestamp(now + options.overlap),
    revokedFrom: options.revokedFrom ?? null,
  };
  await changing(context, options, 'attestor key', (paths) => rotateAttestor(paths.keys, times));
}

export async function revoke(
  context: Context,
  run: string,
  options: OutputOptions & { from?: string | number },
): Promise<void> {
  if (!isRunId(run)) {
    throw new UsageError(`${safeText(run)} is not the id of a run`, {
      remedy: 'in full, as `cordon runs list` shows it',
    });
  }
  const revoked = { run, revokedFrom: options.from ?? 0 };
  await changing(context, options, `revocation of run ${run}`, async (paths) => {
    const state = await revokeRun(paths.keys, revoked);
    // A list for git knows no moment of the log: with one, the run's signatures are left to `cordon verify`.
    if (options.from === undefined) await revokeCertificates(paths, run);
    return state;
  });
}

/** Makes the change, and the log says so. A key that is to count no more must not wait for a log that cannot be written. */
async function changing(
  context: Context,
  options: OutputOptions,
  what: string,
  change: (paths: Paths) => Promise<AttestorState>,
): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  await prepareHome(paths);
  const before = stateDigest(paths);
  const state = await change(paths);
  const resource = { what, before, after: stateDigest(paths) };
  await withLog(paths, (log, principal) =>
    log.append({ type: 'configuration.changed', run: null, principal, action: null, resource }),
  );
  tell(state, what, out);
}

function stateDigest(paths: Paths): string | null {
  try {
    return digest(formatTrust(installationTrust(paths.keys, 0)));
  } catch {
    return null; // there was none yet
  }
}

function tell({ current, attestors, revokedRuns }: AttestorState, what: string, out: Output): void {
  if (out.json) {
    out.document({ changed: what, current, attestors: attestors.length, revokedRuns: revokedRuns.length });
    return;
  }
  out.line(`${out.style.bold(what)} changed; statements are signed by ${current}`);
  out.progress('whoever verifies learns of it with the public key file: cordon attest key -o FILE');
}
