import type { Clone, CommitObject } from './clone.ts';
import { demand } from './links.ts';

/**
 * All commits that `to` has and `from` does not, oldest first: git lists them, and the objects themselves show that it left none
 * out. Throws `BrokenLink` where the clone does not have them all.
 */
export async function commitsBetween(clone: Clone, from: string, to: string): Promise<readonly string[]> {
  const listed = await clone.listed(from, to);
  const objects = await Promise.all(listed.map((oid) => clone.commit(oid)));
  const absent = listed.find((_, i) => objects[i] === null);
  demand(absent === undefined, 'range', `${absent} is not in this clone`);
  const within = new Set(listed);
  const outside = new Set(
    (objects as CommitObject[]).flatMap(({ parents }) => parents).filter((oid) => !within.has(oid)),
  );
  if (!within.has(to)) outside.add(to);
  outside.delete(from);
  const whole = outside.size === 0 || (await clone.descends(from, outside));
  demand(
    whole,
    'range',
    `this clone does not have all commits between ${from} and ${to}; fetch them: git fetch --unshallow`,
  );
  return listed;
}
