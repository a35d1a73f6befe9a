/** Whether two runs ran the same commands. Pure. */
import { type Own, Renaming, steadied } from './volatile.ts';

export interface RanCommand {
  /** `id` of the image, and of the one that started it; 0 for the trusted side. */
  readonly id: number;
  readonly parent: number;
  readonly argv: readonly string[];
  /** `exit 0`, `signal 9`, … */
  readonly end: string;
  /** When the kernel saw it start and end; null when nobody saw its end. */
  readonly from: string;
  readonly to: string | null;
  /** It is the agent's own program. */
  readonly agent: boolean;
  /** It was under way when the agent had ended: what is left then is ended with the run, at one moment or another. */
  readonly left: boolean;
}

export interface CommandDifference {
  /** Number of the command in the record, from 1; beyond its end for one that is new. */
  readonly command: number;
  readonly expected: string;
  readonly actual: string;
}

export interface CommandComparison {
  /** The first; null when both ran the same. */
  readonly difference: CommandDifference | null;
  /** Commands of the agent's own program that came in another order: it starts them beside each other, and waits for none in particular. */
  readonly reordered: number;
  /** Commands that had no end of their own in one of the two runs, or whose end nobody saw: it is taken for the other's. */
  readonly unseen: number;
  /** Commands of the first that are `aside`, with all that they started. */
  readonly aside: number;
}

/** What the recorder says of a process that was gone before it could look. */
const UNSEEN = 'unknown';

interface Node {
  readonly number: number;
  readonly line: string;
  /** Its line and those of all below it, in no order. */
  readonly key: string;
  readonly command: RanCommand | null;
  readonly children: readonly Node[];
}

/**
 * The same commands with the same ends, started by the same ones. Those of one parent are compared in their order, but where they ran beside
 * each other, in either run, and those that the agent's own program starts: these have none. Of the latter, and of that program itself, the
 * command lines of `aside` are left out.
 */
export function compareCommands(
  before: readonly RanCommand[],
  after: readonly RanCommand[],
  own: { readonly before: Own; readonly after: Own },
  aside: readonly RegExp[] = [],
): CommandComparison {
  const left = [withoutAside(before, aside), withoutAside(after, aside)] as const;
  const ends = agreeOnUnseen(...left, own);
  const counts = { reordered: 0, unseen: ends.unseen, aside: before.length - left[0].length };
  const [expected, actual] = [treeOf(ends.before, own.before), treeOf(ends.after, own.after)];
  const difference = childrenDiffer(expected, actual);
  if (difference !== null) return { ...counts, difference };
  const found = { ...counts, difference: null as CommandDifference | null };
  ordersDiffer(expected, actual, found);
  return found;
}

function withoutAside(commands: readonly RanCommand[], aside: readonly RegExp[]): readonly RanCommand[] {
  if (aside.length === 0) return commands;
  const agents = new Set(commands.filter(({ agent }) => agent).map(({ id }) => id));
  return withoutTrees(
    commands,
    ({ parent, argv }) => agents.has(parent) && aside.some((line) => line.test(argv.join(' '))),
  );
}

/** Without those that `isTop` says, and all below them. Parents come before their children. */
export function withoutTrees<T extends Pick<RanCommand, 'id' | 'parent'>>(
  all: readonly T[],
  isTop: (one: T) => boolean,
): T[] {
  const out = new Set<number>();
  return all.filter((one) => {
    const goes = out.has(one.parent) || isTop(one);
    if (goes) out.add(one.id);
    return !goes;
  });
}

/**
 * A process that is killed as soon as it has started may be gone before its end is read, in one run and not in the other; and one that the
 * agent does not wait for may come to its end, or be ended with the run.
 */
function agreeOnUnseen(
  before: readonly RanCommand[],
  after: readonly RanCommand[],
  own: { readonly before: Own; readonly after: Own },
): { readonly before: readonly RanCommand[]; readonly after: readonly RanCommand[]; readonly unseen: number } {
  const open = ({ end, left }: RanCommand) => left || end === UNSEEN;
  if (![...before, ...after].some(open)) return { before, after, unseen: 0 };
  const textOf = ({ argv }: RanCommand, whose: Own) => steadied(argv.join(' '), whose).text;
  const waiting = Map.groupBy(after, (one) => textOf(one, own.after));
  const apart = new Set<RanCommand>();
  for (const one of before) {
    const twin = waiting.get(textOf(one, own.before))?.shift();
    if (twin === undefined || one.end === twin.end) continue;
    if (open(one) || open(twin)) apart.add(one).add(twin);
  }
  const agreed = (one: RanCommand) => (apart.has(one) ? { ...one, end: UNSEEN } : one);
  return { before: before.map(agreed), after: after.map(agreed), unseen: apart.size / 2 };
}

function treeOf(commands: readonly RanCommand[], own: Own): Node {
  const children = new Map<number, RanCommand[]>();
  for (const command of commands) {
    const siblings = children.get(command.parent);
    if (siblings === undefined) children.set(command.parent, [command]);
    else siblings.push(command);
  }
  let number = 0;
  const visit = (command: RanCommand | null): Node => {
    const mine = number++;
    const line = command === null ? '' : `${steadied(command.argv.join(' '), own).text} (${command.end})`;
    const below = (children.get(command?.id ?? 0) ?? []).map(visit);
    const keys = below.map(({ key }) => key).sort();
    return { number: mine, line, key: JSON.stringify([line, ...keys]), command, children: below };
  };
  return visit(null);
}

/** Which of two lists of children has something that the other has not. */
function childrenDiffer(expected: Node, actual: Node): CommandDifference | null {
  const [gone, come] = [without(expected.children, actual.children), without(actual.children, expected.children)];
  const [left] = gone;
  if (left === undefined && come.length === 0) return null;
  // The same command, below which something is other.
  for (const one of gone) {
    const twin = come.find(({ line }) => line === one.line);
    const deeper = twin === undefined ? null : childrenDiffer(one, twin);
    if (deeper !== null) return deeper;
  }
  const [right] = come;
  return {
    command: left?.number ?? lastOf(expected) + 1,
    expected: left?.line ?? 'none',
    actual: right?.line ?? 'none',
  };
}

function lastOf(node: Node): number {
  const last = node.children.at(-1);
  return last === undefined ? node.number : lastOf(last);
}

/** Those of `list` that are not in `other`, as often as they are not. */
function without(list: readonly Node[], other: readonly Node[]): Node[] {
  const there = new Map<string, number>();
  for (const { key } of other) there.set(key, (there.get(key) ?? 0) + 1);
  return list.filter(({ key }) => {
    const count = there.get(key) ?? 0;
    if (count > 0) there.set(key, count - 1);
    return count === 0;
  });
}

/** Both have the same children, in whatever order. */
function ordersDiffer(
  expected: Node,
  actual: Node,
  found: { reordered: number; difference: CommandDifference | null },
): void {
  const places = new Map<string, number[]>();
  for (const [i, { key }] of actual.children.entries()) {
    const list = places.get(key);
    if (list === undefined) places.set(key, [i]);
    else list.push(i);
  }
  const twins = expected.children.map(({ key }) => places.get(key)?.shift() ?? 0);
  const moved = firstMoved(expected.children, actual.children, twins, expected.command?.agent === true, found);
  if (moved !== null) found.difference ??= moved;
  for (const [i, child] of expected.children.entries()) {
    const twin = actual.children[twins[i] ?? 0];
    if (twin !== undefined) ordersDiffer(child, twin, found);
  }
}

/** The first that came before another one and comes after it now, though neither ran beside the other. */
function firstMoved(
  expected: readonly Node[],
  actual: readonly Node[],
  twins: readonly number[],
  free: boolean,
  found: { reordered: number },
): CommandDifference | null {
  let latest = -1;
  for (const [j, place] of twins.entries()) {
    if (place > latest) {
      latest = place;
      continue;
    }
    if (free) {
      found.reordered++;
      continue;
    }
    for (let i = 0; i < j; i++) {
      const other = twins[i] ?? 0;
      if (other < place || beside(expected[i], expected[j]) || beside(actual[other], actual[place])) continue;
      const [first, second] = [expected[i], expected[j]];
      return { command: first?.number ?? 0, expected: first?.line ?? '', actual: second?.line ?? '' };
    }
  }
  return null;
}

/** Whether they ran at the same time. Commands of unknown end may have. */
function beside(a: Node | undefined, b: Node | undefined): boolean {
  if (a?.command == null || b?.command == null) return false;
  const [first, second] = a.command.from <= b.command.from ? [a.command, b.command] : [b.command, a.command];
  return first.to === null || first.to >= second.from;
}

/** Words of commands that came out otherwise, though the commands are taken for the same. Nothing where they are not. */
export function alteredWords(
  before: readonly RanCommand[],
  after: readonly RanCommand[],
  own: { readonly before: Own; readonly after: Own },
  renaming: Renaming = new Renaming(),
): Renaming {
  const waiting = new Map<string, RanCommand[]>();
  const lineOf = ({ argv, end }: RanCommand, whose: Own) => `${steadied(argv.join(' '), whose).text} (${end})`;
  for (const one of after) {
    const line = lineOf(one, own.after);
    waiting.set(line, [...(waiting.get(line) ?? []), one]);
  }
  for (const one of before) {
    const twin = waiting.get(lineOf(one, own.before))?.shift();
    if (twin === undefined) continue;
    renaming.note(steadied(one.argv.join(' '), own.before).words, steadied(twin.argv.join(' '), own.after).words);
  }
  return renaming;
}
