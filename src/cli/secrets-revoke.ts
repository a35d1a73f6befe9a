import type { Palette } from '../base/term.ts';
import type { Paths } from '../config/paths.ts';
import { type Cut, checkName, GrantBook } from '../secrets/index.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { counted } from './run-summary.ts';
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
  const { paths } = await localSecrets(context);
  const cut = await cutRuns(paths, checkName(name));
  if (out.json) out.document({ revoked: name, ...cut });
  else {
    out.line(`revoked ${out.style.bold(name)}`, ...cutText(cut, out.style));
    out.progress(`later runs may ask for it again; to take it away for good: cordon secrets remove ${name}`);
  }
  if (cut.unanswered.length > 0) context.exitCode = 7;
}

export function cutText({ runs, unanswered }: Cut, style: Palette): string[] {
  const lines = runs.map((run) => `  taken from run ${run}`);
  if (runs.length === 0 && unanswered.length === 0) lines.push('  no run had it');
  if (unanswered.length === 0) return lines;
  const many = counted(unanswered.length, 'run');
  lines.push(style.red(`  ${many} did not confirm: ${unanswered.join(', ')}; end them: cordon runs cancel RUN`));
  return lines;
}
