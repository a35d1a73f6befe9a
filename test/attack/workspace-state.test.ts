/** What is kept of a workspace while the guest is at work: judged by what a hostile guest could have it read. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sandboxDrivers } from '../../src/sandbox/index.ts';
import type { WorkspaceEntry } from '../../src/sandbox/workspace-state.ts';
import { type Cage, SandboxScene } from '../fakes/sandbox-scene.ts';

const scene = new SandboxScene(sandboxDrivers.bubblewrap());
const host = mkdtempSync(join(tmpdir(), 'cordon-host-'));
let cage: Cage;
beforeAll(async () => {
  mkdirSync(join(host, 'inner'));
  writeFileSync(join(host, 'inner/secret.txt'), 'of the host');
  cage = await scene.over({ 'a.txt': 'one\n', 'old/b.txt': 'two\n', 'old/c.txt': 'three\n', link: { to: 'a.txt' } });
}, 60_000);
afterAll(async () => {
  await scene.close();
  scene.dispose();
  rmSync(host, { recursive: true });
});

const MOST = 1024 * 1024;
const name = (entry: WorkspaceEntry) => `${entry.kind} ${entry.path.toString('latin1')}`;

test('everything that is other than in the checkout is told, and nothing else; git’s folder is left out', async () => {
  await cage.bash(
    'rm -r old; mkdir old; echo new > old/d; rm link; mkdir link; echo x > link/y; ln -s /etc/passwd p; mkfifo f; mkdir -p .git; echo z > .git/z; printf x > "$(printf "n\\377")"',
  );
  const state = [...cage.sandbox.state()];
  expect(state.map(name).sort()).toEqual(
    [
      'directory link',
      'directory old',
      'file link/y',
      'file n\xff',
      'file old/d',
      'gone old/b.txt',
      'gone old/c.txt',
      'symlink p',
    ].sort(),
  );
  expect(state.find(({ path }) => path.toString() === 'link')?.replaces).toBe(true);
  for (const entry of cage.sandbox.state())
    if (name(entry) === 'symlink p') expect(entry.read(MOST)?.toString()).toBe('/etc/passwd');
}, 60_000);

test('a folder or a file that becomes a link between two looks leads nowhere', async () => {
  const target = join(host, 'inner');
  await cage.bash('mkdir -p race/d; echo inside > race/d/secret.txt; echo inside > race/secret.txt');
  const read: string[] = [];
  for (const entry of cage.sandbox.state()) {
    const path = entry.path.toString();
    // It was told as what it was, and is not opened yet.
    if (path === 'race/d') await cage.bash(`mv race/d race/e; ln -s ${target} race/d`);
    if (path === 'race/secret.txt') await cage.bash(`rm race/secret.txt; ln -s ${target}/secret.txt race/secret.txt`);
    if (path.startsWith('race/')) read.push(`${path} ${entry.read(MOST)?.toString() ?? 'nothing'}`);
  }
  expect(read).toEqual(expect.arrayContaining(['race/d nothing', 'race/secret.txt nothing']));
  expect(read.join()).not.toContain('of the host');
}, 60_000);

test('a file that says it is larger than it is costs nothing', async () => {
  await cage.bash('truncate -s 40g hole 2>/dev/null || truncate -s 40m hole');
  for (const entry of cage.sandbox.state()) if (name(entry) === 'file hole') expect(entry.read(MOST)).toBeNull();
}, 60_000);

test('a path too long for whoever puts it back is refused, and not packed', async () => {
  await cage.bash('n=$(printf "%0250d" 1); mkdir deep; cd -P deep; for i in $(seq 17); do mkdir $n; cd -P $n; done');
  expect(() => [...cage.sandbox.state()]).toThrow('a path of more than 3800 bytes');
  await cage.bash('rm -r deep');
}, 60_000);
