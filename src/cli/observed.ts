/** The block that `--observe` prints: what would have permitted what a run was denied, for a person to review. */
import { realpath } from 'node:fs/promises';
import { counted } from '../base/counted.ts';
import { clip, safeText } from '../base/term.ts';
import type { Paths } from '../config/paths.ts';
import { type Additions, additionsYaml, type Denials, suggestAdditions, type Ungrantable } from '../policy/observe.ts';
import { denialsOf } from '../runs/observe.ts';
import type { RunRecord } from '../store/index.ts';
import { eventsOf } from './audit-source.ts';
import type { Context } from './context.ts';
import { withRun } from './local.ts';
import type { Output } from './output.ts';

export interface Observed extends Additions {
  /** A document with the additions alone; null when there are none. */
  readonly yaml: string | null;
}

export async function observedOf(paths: Paths, run: RunRecord): Promise<Observed> {
  const denials = denialsOf(await eventsOf(paths, run));
  const additions = suggestAdditions({
    crossings: denials.crossings,
    names: denials.names,
    ...(await onThisMachine(denials)),
  });
  return { ...additions, yaml: additionsYaml(additions) };
}

/** The same of a run that has just ended, with the lines that show it. */
export async function observe(
  context: Context,
  id: string,
  out: Output,
): Promise<{ readonly observed: Observed; readonly lines: readonly string[] }> {
  const observed = await withRun(context, id, (run, { paths }) => observedOf(paths, run));
  return { observed, lines: observedLines(observed, out) };
}

/** A list names files of this machine, each once, however many links lead to it. */
async function onThisMachine({ commands, ungrantable }: Denials): Promise<Pick<Denials, 'commands' | 'ungrantable'>> {
  const names = new Map<string, string>();
  const listed: string[] = [];
  const missing: Ungrantable[] = [];
  // Below /usr first: what lies in /bin is a link to there.
  for (const path of commands.toSorted((a, b) => Number(b.startsWith('/usr/')) - Number(a.startsWith('/usr/')))) {
    const file = await realpath(path).catch(() => null);
    if (file === null) {
      const why = 'no file of this machine: a list cannot name what a run makes itself';
      missing.push({ what: `command.execute ${path}`, why, count: 1 });
    } else {
      names.set(file, names.get(file) ?? path);
      listed.push(names.get(file) as string);
    }
  }
  return { commands: listed, ungrantable: [...ungrantable, ...missing] };
}

export function observedLines({ denied, yaml, ungrantable }: Observed, out: Output): string[] {
  const { bold, dim, red } = out.style;
  if (denied === 0) return ['', 'nothing was denied: there is nothing to add'];
  const lines = ['', bold(`Observed: ${counted(denied, 'denial')}`)];
  if (yaml !== null)
    lines.push(
      dim('# The least that would have permitted them. Review each line before it goes into the policy;'),
      dim('# the run was let do nothing more, and nothing was changed.'),
      ...yaml.trimEnd().split('\n').map(safeText),
    );
  if (ungrantable.length > 0) lines.push('', bold('Cannot be granted by a line more'));
  for (const { what, why, count } of ungrantable) {
    const often = count > 1 ? dim(` × ${count}`) : '';
    lines.push(`  ${red('✗')} ${safeText(what)}${often}`, `    ${dim(clip(safeText(why), out.width - 4))}`);
  }
  return lines;
}
