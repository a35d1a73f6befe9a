import { join } from 'node:path';
import { CordonError, LimitError } from '../../base/errors.ts';
import { git, gitFailure } from '../../base/git.ts';
import type { PushRequest } from './checks.ts';
import type { CommitFacts } from './commits.ts';
import type { PushLimits } from './push-limits.ts';
import { allText } from './quarantine.ts';

const MiB = 1024 * 1024;

/**
 * Lines added and removed: the sum over every commit against its first parent, or the whole against the base where that is
 * more (a merge can undo the base without a difference to its first parent). Everything counts as text: one NUL byte in a file
 * would make git call it binary and count nothing (`--text` does not reach the counting).
 */
export async function changedLines(
  request: PushRequest,
  commits: readonly CommitFacts[],
  limits: PushLimits,
): Promise<number> {
  const { base } = request.quarantine;
  const pairs = commits.filter((commit) => commit.parents.length > 0);
  const [only, second] = pairs;
  const plain = only !== undefined && second === undefined && only.parents.length === 1 && only.parents[0] === base;
  const [sum, whole] = await Promise.all([
    countLines(
      request,
      pairs.map((commit) => `${commit.oid} ${commit.parents[0]}\n`),
      limits,
    ),
    plain || commits.length === 0 ? 0 : countLines(request, [`${request.head} ${base}\n`], limits),
  ]);
  return Math.max(sum, whole);
}

async function countLines({ quarantine }: PushRequest, pairs: readonly string[], limits: PushLimits): Promise<number> {
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
