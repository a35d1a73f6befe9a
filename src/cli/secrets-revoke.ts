import { counted } from '../base/counted.ts';
import { NotFoundError } from '../base/errors.ts';
import type { Palette } from '../base/term.ts';
import type { Paths } from '../config/paths.ts';
import { closest } from '../policy/closest.ts';
import { type Cut, checkName, GrantBook, type SecretDriver } from '../secrets/index.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { localSecrets, withLog } from './secrets-local.ts';

/** Processes look several times a second; one that takes longer is stopped or hangs, and is named. Milliseconds. */
const PATIENCE = 2_000;

/** Takes a secret from every run that has it, and records which. It is taken away first: that needs nobody's leave. */
export async function cutRuns(paths: Paths, name: string): Promise<Cut> {
  const cut = await new GrantBook(paths.secrets).revoke(name, PATIENCE);
  await withLog(paths, (log, principal) =>
    log.append({
      type: 'secret.revoked',
      run: null,
      principal,
      action: 'secret.manage',
      resource: { secret: name, runs: [...cut.runs], unanswered: [...cut.unanswered] },
    }),
  );
  return cut;
}

export async function revoke(context: Context, name: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const { paths, drivers } = await localSecrets(context);
  await refuseUnknown(paths, drivers, checkName(name));
  const cut = await cutRuns(paths, name);
  if (out.json) out.document({ revoked: name, ...cut });
  else {
    out.line(`revoked ${out.style.bold(name)}`, ...cutText(cut, out.style));
    out.progress(`later runs may ask for it again; to take it away for good: cordon secrets remove ${name}`);
  }
  if (cut.unanswered.length > 0) context.exitCode = 7;
}

/**
 * A name that was mistyped must not look like one that was taken away. What a run has is known by that alone, also when the
 * place where it is kept is gone or does not answer.
 */
async function refuseUnknown(paths: Paths, drivers: readonly SecretDriver[], name: string): Promise<void> {
  const granted = await new GrantBook(paths.secrets).names();
  if (granted.includes(name)) return;
  const known = [...granted];
  for (const driver of drivers) {
    const names = await driver.list().then(
      (entries) => entries.map((entry) => entry.name),
      () => null,
    );
    if (names === null || names.includes(name)) return; // what cannot be asked may have it
    known.push(...names);
  }
  const near = closest(name, known);
  throw new NotFoundError(`there is no secret ${name}, and no run has one of that name`, {
    remedy: near === undefined ? 'cordon secrets list' : `did you mean ${near}? cordon secrets revoke ${near}`,
  });
}

export function cutText({ runs, unanswered }: Cut, style: Palette): string[] {
  const lines = runs.map((run) => `  taken from run ${run}`);
  if (runs.length === 0 && unanswered.length === 0) lines.push('  no run had it');
  if (unanswered.length === 0) return lines;
  const many = counted(unanswered.length, 'run');
  lines.push(style.red(`  ${many} did not confirm: ${unanswered.join(', ')}; end them: cordon runs cancel RUN`));
  return lines;
}
