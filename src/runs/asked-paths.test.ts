import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Project } from '../../test/fakes/project.ts';
import { UsageError, WorkspaceError } from '../base/errors.ts';
import { checkPaths } from './asked-paths.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cordon-paths-'));
const project = new Project(join(scratch, 'project'));
let base: string;
beforeAll(() => {
  project.write('src/a.ts', 'a').write('src/wide b/b.ts', 'b').git('add', '-A');
  project.git('commit', '-qm', 'first');
  base = project.git('rev-parse', 'HEAD');
});
afterAll(() => rmSync(scratch, { recursive: true }));

async function check(...paths: string[]): Promise<string[]> {
  const said: string[] = [];
  const io = { notes: true, onProgress: ({ step }: { step: string }) => void said.push(step) };
  await checkPaths({ commonDir: join(project.dir, '.git'), base }, paths, io);
  return said;
}

test.each(['src', 'src/', 'src/**', 'src/*.ts', '**/b.ts', 'src/wide b', '*/a.ts'])(
  '--path %s matches something',
  async (path) => {
    expect(await check(path)).toEqual([]);
  },
);

test('what all together matches nothing is an error', async () => {
  await expect(check('nowhere/**', 'SRC/**')).rejects.toThrow(WorkspaceError);
  await expect(check('nowhere')).rejects.toMatchObject({ remedy: expect.stringContaining('git ls-tree') });
});

test('one of several that matches nothing is said: the run may be to make it', async () => {
  expect(await check('src/**', 'docs/**')).toEqual([expect.stringMatching(/^note: no file of commit .* --path docs/)]);
});

test('what is no glob is an error', async () => {
  await expect(check('src/**', '../x')).rejects.toThrow(UsageError);
});
