/** A run on a repository of a forge whose process is killed, and its work going on: real kill, git's own server, a scripted model. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FakeForge, forgeRepository, forgeSettings, startForge } from '../fakes/forge.ts';
import { type Heard, ModelServer } from '../fakes/models/server.ts';
import type { Turn } from '../fakes/models/turn.ts';
import { Installation, type Running } from '../fakes/project.ts';
import { type GitFolder, userRepository } from '../fakes/push-scene.ts';

const site = new Installation();
const settings = join(site.root, 'settings');
const served = join(site.root, 'served');
let forge: FakeForge;
let upstream: ModelServer;
let bare: GitFolder;
let url: string;
let script: (heard: Heard, index: number) => Turn | Promise<Turn>;

beforeAll(async () => {
  upstream = await new ModelServer((heard) => script(heard, upstream.heard.length - 1)).start();
  mkdirSync(served);
  forge = await startForge(served);
  site.env.XDG_CONFIG_HOME = settings;
  forgeSettings(settings, forge);
  const user = userRepository(join(site.root, 'user'));
  user.write('.cordon/policy.yaml', 'version: 1\nllm_policy: {allowed_providers: [acme], models: ["small-*"]}\n');
  user.commit('a policy');
  bare = forgeRepository(served, 'app.git', user);
  url = forge.url('app');
  const kept = { env: site.env, input: 'sk-a-providers-key-77' };
  expect(spawnSync(join(import.meta.dirname, '../../cordon'), ['secrets', 'set', 'ACME_KEY'], kept).status).toBe(0);
  const options = ['--driver', 'openai-compatible', '--base-url', `${upstream.url}/v1`, '--key', 'ACME_KEY'];
  const add = site.cordon('providers', 'add', 'acme', ...options, '--model', 'small-1');
  expect(add.status, add.stderr).toBe(0);
}, 60_000);
afterAll(async () => {
  await upstream.close();
  await forge.close();
  site.dispose();
});

let ids = 0;
const call = (name: string, input: Record<string, unknown>) => ({ id: `call-${++ids}`, name, arguments: input });
const edit = (path: string, text: string): Turn => ({ tools: [call('edit', { path, old: '', new: text })] });
const finish = (summary: string): Turn => ({ tools: [call('finish', { summary })] });
const newest = (): string => JSON.parse(site.cordon('runs', 'list', '--json').stdout).runs[0]?.id ?? '';
const resume = (id: string) => site.type('runs', 'resume', '--json', id).done;

async function killedAfter(turn: Turn): Promise<string> {
  upstream.heard.length = 0;
  const asked = Promise.withResolvers<void>();
  script = (_heard, index) => {
    if (index === 0) return turn;
    asked.resolve();
    return new Promise<never>(() => {});
  };
  const running: Running = site.type('run', '--json', '--repo', url, '--model', 'acme/small-1', 'make a file');
  await Promise.race([asked.promise, running.done.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
  running.child.kill('SIGKILL');
  await running.done;
  upstream.heard.length = 0;
  return newest();
}

test('it goes on from the commit it began with, and pushes once', async () => {
  const lost = await killedAfter(edit('made.txt', 'made\n'));
  const base = bare.git('rev-parse', 'refs/heads/main');
  // Somebody else's commit in between: the work goes on from where it began.
  const tree = bare.git('rev-parse', 'refs/heads/main^{tree}');
  bare.git('update-ref', 'refs/heads/main', bare.git('commit-tree', '-m', 'meanwhile', '-p', base, tree));
  script = (_heard, index) => [edit('more.txt', 'more\n'), finish('both are there')][index] as Turn;
  const { status, stderr, result } = await resume(lost);
  expect(status, stderr).toBe(0);
  expect(result.base).toBe(base);
  expect(result.agent).toMatchObject({ steps: 3, success: true });
  const files = bare.git('ls-tree', '-r', '--name-only', `refs/heads/${result.branch}`).split('\n');
  expect(files).toEqual(expect.arrayContaining(['made.txt', 'more.txt']));
  expect(bare.git('rev-parse', `refs/heads/${result.branch}~1`)).toBe(base);
  const agents = () => bare.git('for-each-ref', '--format=%(refname)', 'refs/heads').split('\n');
  expect(agents().sort()).toEqual(['refs/heads/main', `refs/heads/${result.branch}`].sort());
  const again = await resume(lost);
  expect(again.status).not.toBe(0);
  expect(agents()).toHaveLength(2);
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
}, 120_000);

test('its commit is in the mirror: the forge may have let go of it', async () => {
  const before = bare.git('rev-parse', 'refs/heads/main~1');
  const lost = await killedAfter(edit('made.txt', 'made\n'));
  bare.git('update-ref', 'refs/heads/main', before);
  script = () => finish('there it is');
  const { status, stderr, result } = await resume(lost);
  expect(status, stderr).toBe(0);
  expect(bare.git('ls-tree', '--name-only', `refs/heads/${result.branch}`).split('\n')).toContain('made.txt');
  expect(site.verify()).toEqual([]);
}, 120_000);
