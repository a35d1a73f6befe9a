/** What Cordon makes of agents, good and hostile: shell scripts in the place of one, on a PATH as npm would install it. */
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { descriptorsOf } from '../attack/host.ts';
import { AgentSite, fakeAgent } from '../fakes/agents.ts';
import { Installation } from '../fakes/project.ts';

const CODEX = `@openai/codex-linux-${process.arch}/vendor/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-unknown-linux-musl/bin/codex`;
const site = new AgentSite();
let program: string;

/** What the agent does in its next run. */
function becomes(script: string): void {
  chmodSync(program, 0o755);
  appendFileSync(program, '', { flag: 'w' });
  appendFileSync(program, `#!/bin/sh\n${script}\n`);
}

beforeAll(async () => {
  await site.open();
  const bin = fakeAgent(join(site.root, 'global'), '@openai/codex', 'codex', CODEX, '#!/bin/sh\n');
  program = join(site.root, 'global/lib/node_modules/@openai/codex/node_modules', CODEX);
  site.env.PATH = `${bin}:${site.env.PATH}`;
});
afterAll(() => site.close());

const run = (...more: string[]) => site.runAgent('codex', 'openai', [], ...more);
const DONE = `echo '{"type":"turn.completed","usage":{"input_tokens":3,"output_tokens":2}}'`;
const of = (runId: string, type: string) =>
  site
    .events(runId)
    .filter((event) => event.type === type)
    .map(({ resource }) => resource);

test('an agent of the host’s is found, recorded with its files, and told everything it needs', async () => {
  becomes(`cat ~/.codex/config.toml; echo "key=$CORDON_MODEL_KEY"; for word; do echo "word=$word"; done
    touch /run/cordon/agent/x 2>/dev/null && echo writable; echo hello > made; ${DONE}`);
  const { status, stderr, result } = await run();
  expect(status, stderr).toBe(0);
  expect(site.project.git('show', `${result.branch}:made`)).toBe('hello');
  expect(stderr).toContain('base_url = "http://127.0.0.1:4141/v1"');
  expect(stderr).toContain('key=cordon-run-');
  expect(stderr).toMatch(/word=Task, from user:\w+:/);
  expect(stderr).not.toContain('writable');
  expect(of(result.runId, 'agent.prepared')).toMatchObject([
    { agent: 'codex', version: '9.9.9', source: 'host', lock: null, tree: expect.stringMatching(/^sha256:/) },
  ]);
  expect(of(result.runId, 'run.created')).toMatchObject([{ agent: { kind: 'codex', argv: [] } }]);
  expect(site.cordon('runs', 'show', result.runId).stdout).toContain('codex');
  const { agents } = JSON.parse(site.cordon('agents', 'list', '--json').stdout);
  expect(agents.find(({ agent }: { agent: string }) => agent === 'codex')).toMatchObject({ source: 'host' });
}, 60_000);

test('exit code 0 is no success without its own word, and its word that it failed is believed', async () => {
  becomes('echo made > made; exit 0');
  const silent = await run();
  expect([silent.status, silent.result.branch]).toEqual([1, null]);
  expect(silent.result.stopReason).toBe('Codex CLI: it ended without saying that it is done');
  becomes(`echo made > made; echo '{"type":"turn.failed","error":{"message":"no model"}}'; exit 0`);
  const failed = await run();
  expect([failed.status, failed.result.stopReason]).toEqual([1, 'Codex CLI: no model']);
  becomes(`${DONE}; exit 3`);
  expect((await run()).status).toBe(1);
}, 60_000);

test('garbage is bounded, counted, shown escaped, and never taken for an event', async () => {
  becomes(`i=0; while [ $i -lt 6000 ]; do echo '{"type":"item.completed","item":{"type":"agent_message","text":"again"}}'; i=$((i+1)); done
    head -c 9000000 /dev/zero | tr '\\0' x; echo
    printf '\\033]0;title\\007\\377\\n{"type":\\n[1]\\n'
    echo '{"type":"item.completed","item":{"type":"agent_message","text":"\\u001b[2Jcleared"}}'
    echo '{"type":"run.stopped","outcome":{"status":"succeeded"}}'; ${DONE}`);
  const { status, stderr, result } = await run();
  expect(status, stderr.slice(-2000)).toBe(0);
  expect(stderr).not.toContain('\x1b]0;');
  expect(stderr).not.toContain('\x1b[2J');
  expect(of(result.runId, 'agent.message')).toHaveLength(5000);
  expect(of(result.runId, 'agent.ended')).toMatchObject([{ steps: 6001, unrecorded: 1001, unread: 4, ok: true }]);
  expect(site.verify()).toEqual([]);
}, 60_000);

test('a list of commands has to name the agent’s program', async () => {
  const listed = new AgentSite('security: {allowed_commands: [/bin/sh, /usr/bin/touch]}\n');
  await listed.open();
  listed.env.PATH = site.env.PATH as string;
  becomes(`touch made; ${DONE}`);
  const refused = await listed.runAgent('codex', 'openai', []);
  expect([refused.status, refused.stderr]).toEqual([3, expect.stringContaining(`--allow-command ${program}`)]);
  const allowed = await listed.runAgent('codex', 'openai', [], '--allow-command', program);
  expect(allowed.status, allowed.stderr).toBe(0);
  expect(allowed.result.changedFiles).toBe(1);
  await listed.close();
}, 60_000);

test('two that install an agent at once fetch it once, and neither takes it from under the other', async () => {
  const entry = 'node_modules/@earendil-works/pi-coding-agent/dist/bundle/cli.js';
  const own = join(site.root, 'npm');
  mkdirSync(own);
  const npm = `#!/bin/sh
echo call >> ${own}/calls; until [ -e ${own}/go ]; do sleep 0.02; done
mkdir -p "$(dirname ${entry})"; echo > ${entry}; echo '{"packages":{}}' > package-lock.json
`;
  writeFileSync(join(own, 'npm'), npm, { mode: 0o755 });
  const two = new Installation();
  two.env.PATH = `${own}:${two.env.PATH}`;
  const install = () => two.type('agents', 'install', 'pi', '--json');
  const calls = () => (existsSync(join(own, 'calls')) ? readFileSync(join(own, 'calls'), 'utf8').length / 5 : 0);
  const first = install();
  await expect.poll(calls).toBe(1);
  const second = install();
  const files = () => [...descriptorsOf(second.child.pid ?? 0).values()];
  await expect.poll(() => calls() === 2 || files().some((file) => file.endsWith('/.pi.lock'))).toBe(true);
  await second.says('waiting for another install of ');
  writeFileSync(join(own, 'go'), '');
  const done = await Promise.all([first.done, second.done]);
  expect(done.map(({ status, stderr }) => [status, status === 0 ? '' : stderr])).toEqual(Array(2).fill([0, '']));
  expect(done.map(({ stdout }) => JSON.parse(stdout).installed)).toEqual([true, false]);
  expect(calls()).toBe(1);
  two.dispose();
}, 60_000);

test('what cannot be started says what to type', async () => {
  const typed = (...args: string[]) => site.cordon('run', '-w', site.project.dir, ...args);
  const nowhere = typed('--agent', 'pi', '--model', 'chat/small-1', 'do it');
  expect([nowhere.status, nowhere.stderr]).toEqual([2, expect.stringContaining('cordon agents install pi')]);
  const idle = typed('--agent', 'codex');
  expect([idle.status, idle.stderr]).toEqual([2, expect.stringContaining('cordon run --agent codex "')]);
  const bare = new AgentSite();
  bare.env.PATH = site.env.PATH as string;
  bare.project.write('.cordon/policy.yaml', 'version: 1\n').commit();
  const without = bare.cordon('run', '-w', bare.project.dir, '--agent', 'codex', 'do it');
  expect([without.status, without.stderr]).toEqual([2, expect.stringContaining('allowed_providers')]);
  bare.dispose();
  const unknown = site.cordon('agents', 'install', 'cladue');
  expect([unknown.status, unknown.stderr]).toEqual([2, expect.stringContaining('claude-code')]);
  expect(site.cordon('agents', 'install', 'pi@../../x').status).toBe(2);
  expect(readFileSync(program, 'utf8')).toContain('#!/bin/sh');
}, 60_000);

test('another version of the agent is told by its replay, though it did the same', async () => {
  becomes(`echo x > x.txt; ${DONE}`);
  const { result, stderr } = await run();
  expect(result.status, stderr).toBe('succeeded');
  const manifest = join(site.root, 'global/lib/node_modules/@openai/codex/package.json');
  writeFileSync(manifest, JSON.stringify({ name: '@openai/codex', version: '9.9.10' }));
  const { stdout, status } = await site.type('runs', 'replay', result.runId, '--json').done;
  expect(JSON.parse(stdout)).toMatchObject({
    verdict: 'tree-equal',
    divergences: [
      {
        ...{ class: 'agent', at: 'agent' },
        ...{ expected: expect.stringMatching(/^codex 9\.9\.9\b/), actual: expect.stringMatching(/^codex 9\.9\.10\b/) },
      },
    ],
  });
  expect(status).toBe(0);
}, 60_000);
