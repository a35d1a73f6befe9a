import { join } from 'node:path';
import { CordonError, LimitError } from '../../base/errors.ts';
import { git, gitFailure } from '../../base/git.ts';
import type { PushRequest } from './checks.ts';
import type { CommitFacts } from './commits.ts';
import type { PushLimits } from './push-limits.ts';
import { allText } from './quarantine.ts';

const MiB = 1024 * 1024;

/**
 * Lines added and removed, summed over every commit against its first parent. Everything counts as text:
 * one NUL byte in a file would make git call it binary and count nothing (`--text` does not reach the counting).
 */
export async function changedLines(
  { quarantine }: PushRequest,
  commits: readonly CommitFacts[],
  limits: PushLimits,
): Promise<number> {
  const pairs = commits
    .filter((commit) => commit.parents.length > 0)
    .map((commit) => `${commit.oid} ${commit.parents[0]}\n`);
  if (pairs.length === 0) return 0;
  const args = [
    'diff-tree',
    '--stdin',
    '-r',
    '--numstat',
    '--no-renames',
    '--no-ext-diff',
    '--no-textconv',
    '--no-color',
  ];
  const options = {
    stdin: pairs.join(''),
    timeout: limits.time,
    maxOutput: 256 * MiB,
    config: [
      `core.bigFileThreshold=${limits.fileBytes + 1}`,
      'core.quotePath=true',
      `core.attributesFile=${join(quarantine.place.gitDir, allText)}`,
    ],
  };
  const result = await git(quarantine.place, args, options).catch((cause: unknown) => {
    if (!(cause instanceof CordonError)) throw cause;
    throw new LimitError('push', 'changes whose lines cannot be counted in time', { cause });
  });
  if (result.exitCode !== 0)
    throw new LimitError('push', 'changes that git cannot compare', {
      cause: gitFailure(quarantine.place, args, result),
    });
  let lines = 0;
  for (const line of result.stdout.toString('latin1').split('\n')) {
    const counts = /^(\d+)\t(\d+)\t/.exec(line);
    if (counts !== null) lines += Number(counts[1]) + Number(counts[2]);
  }
  return lines;
}
