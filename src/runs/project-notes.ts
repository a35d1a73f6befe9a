import type { TaskPart } from '../agents/task.ts';
import { git, gitBytes } from '../base/git.ts';
import { decide } from '../policy/index.ts';
import type { RunScope } from './scope.ts';

/** In order: the first that is there counts. */
const NAMES = ['AGENTS.md', 'CLAUDE.md'];
/** Bytes of it that an agent is told. */
const MOST = 48 * 1024;

/**
 * What the repository says to agents, read as an object of the base commit: no link is followed, and what an agent wrote does not
 * count. Null when it says nothing, or the run may not read it.
 */
export async function projectNotes({ repository, loaded, request }: RunScope): Promise<TaskPart | null> {
  const readable = NAMES.filter(
    (path) =>
      (request.paths.length === 0 || request.paths.includes(path)) &&
      decide(loaded.policy, { action: 'file.read', path }).effect === 'permit',
  );
  if (readable.length === 0) return null;
  const place = { gitDir: repository.commonDir };
  const { stdout } = await git(place, ['ls-tree', '-z', '-l', repository.base, '--', ...readable]);
  const files = stdout
    .toString()
    .split('\0')
    .flatMap((line) => {
      const [, oid = '', size = '', name = ''] = /^100(?:644|755) blob ([0-9a-f]+) +(\d+)\t(.*)$/s.exec(line) ?? [];
      return oid === '' ? [] : [{ oid, size: Number(size), name }];
    });
  const file = NAMES.flatMap((name) => files.find((one) => one.name === name) ?? [])[0];
  if (file === undefined || file.size === 0 || file.size > MOST * 16) return null;
  const bytes = await gitBytes(place, ['cat-file', 'blob', file.oid], { maxOutput: MOST * 16 + 1 });
  const cut = bytes.length > MOST ? '\n[the rest is left out]' : '';
  const source = `${file.name} at ${repository.base.slice(0, 12)}`;
  return { kind: 'instructions', by: null, source, text: bytes.subarray(0, MOST).toString('utf8') + cut };
}
