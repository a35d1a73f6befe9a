/** Runs of the built-in agent whose process is killed, and their work going on: real sandbox, real kills, a scripted model. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { serverFolder } from '../fakes/mcp/site.ts';
import { ModelSite } from '../fakes/models/site.ts';
import type { Turn } from '../fakes/models/turn.ts';
import type { Running } from '../fakes/project.ts';
import { descendants, processesWith } from '../fakes/sandbox-scene.ts';

const site = new ModelSite();
const { upstream, project } = site;

let ids = 0;
const call = (name: string, input: Record<string, unknown>) => ({ id: `call-${++ids}`, name, arguments: input });
const shell = (command: string): Turn => ({ tools: [call('shell', { command })] });
const edit = (path: string, text: string): Turn => ({ tools: [call('edit', { path, old: '', new: text })] });
const finish = (summary: string): Turn => ({ tools: [call('finish', { summary })] });

beforeAll(async () => {
  project.write('a.txt', 'one\n').write('old/b.txt', 'two\n').write('old/c.txt', 'three\n');
  await site.open('--price', '2/8');
}, 60_000);
afterAll(() => site.close());
beforeEach(() => {
  upstream.heard.length = 0;
});

const resume = (id: string) => site.type('runs', 'resume', '--json', id).done;
const newest = (): string => JSON.parse(site.cordon('runs', 'list', '--json').stdout).runs[0]?.id ?? '';
/** Kills it as a power cut would, and says which run that was. */
async function kill(running: Running): Promise<string> {
  running.child.kill('SIGKILL');
  await running.done;
  return newest();
}
/** Resolves when the model is asked for the n-th time; it is never answered then. */
function untilAsked(turns: readonly Turn[]): Promise<void> {
  return new Promise<void>((resolve) => {
    site.script = (_heard, index) => {
      const turn = turns[index];
      if (turn !== undefined) return turn;
      resolve();
      return { text: 'never said', drip: 600_000 };
    };
  });
}
const said = () => upstream.heard.at(-1)?.body.messages as { role: string; content: string }[];

test('killed while the model thinks: conversation, workspace, steps and budget go on; delivered and proved', async () => {
  const asked = untilAsked([
    {
      ...shell('rm -r old; mkdir old; echo new > old/d.txt; ln -s a.txt link; chmod +x a.txt'),
      text: 'I begin.',
    },
    { tools: [call('plan', { steps: [{ step: 'look', status: 'done' }, { step: 'write' }] })] },
    edit('deep/er/made.txt', 'made\n'),
    shell('git add -A; git commit -qm mine; rm -f link; head -c 3000000 /dev/zero > big.bin'),
  ]);
  const running = site.ask('change things');
  await asked;
  const lost = await kill(running);
  expect(site.cordon('runs', 'show', lost).stdout).toContain(`cordon runs resume ${lost}`);

  upstream.heard.length = 0;
  site.script = (_heard, index) =>
    [shell('git status --short; git log --oneline; ls -A'), finish('all there')][index] as Turn;
  const { status, stderr, result } = await resume(lost);
  expect(status, stderr).toBe(0);
  expect(result.runId).not.toBe(lost);
  expect(result.agent).toEqual({ steps: 6, summary: 'all there', success: true });
  expect(result.base).toBe(project.git('rev-parse', 'main'));
  const tree = project.git('ls-tree', '-r', '--name-only', '-z', result.branch ?? '').split('\0');
  expect(tree).toEqual(expect.arrayContaining(['big.bin', 'deep/er/made.txt', 'old/d.txt']));
  expect(tree).not.toEqual(expect.arrayContaining(['old/b.txt']));
  expect(tree).not.toEqual(expect.arrayContaining(['link']));
  expect(project.git('ls-tree', result.branch ?? '', 'a.txt')).toMatch(/^100755/);
  expect(project.git('cat-file', '-s', `${result.branch}:big.bin`)).toBe('3000000');
  expect(site.cordon('verify', '-w', project.dir, result.branch ?? '').status).toBe(0);

  // The model is told the whole conversation, and that it was cut off.
  const messages = upstream.heard[0]?.body.messages as { role: string; content: string; tool_calls?: unknown[] }[];
  expect(messages.filter(({ role }) => role === 'assistant')).toHaveLength(4);
  expect(messages.filter(({ role }) => role === 'tool').map(({ content }) => content)).toEqual([
    '[exit code 0]',
    '[x] 1. look\n[ ] 2. write',
    expect.stringContaining('deep/er/made.txt: made'),
    expect.stringContaining('exit code 0'),
  ]);
  expect(messages.at(-1)?.content).toContain('the work goes on in a new sandbox');
  expect(messages.at(-1)?.content).not.toContain('not known');

  const [before, after] = [site.events(lost), site.events(result.runId)];
  expect(before.at(-1).type).toBe('run.lost');
  expect(after.find(({ type }) => type === 'run.created').resource.resumes).toBe(lost);
  const begun = after.find(({ type }) => type === 'agent.resumed').resource;
  expect(begun).toMatchObject({ run: lost, steps: 4, toolCalls: 4, requests: 5, uncertain: [] });
  expect(begun.nanoUsd).toBeGreaterThan(0);
  expect(begun.elapsedMs).toBeGreaterThan(0);
  expect(site.cordon('runs', 'show', result.runId).stdout).toMatch(new RegExp(`goes on from\\s+${lost}`));
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);

  // Once is enough.
  const again = await resume(lost);
  expect(again.status).toBe(2);
  expect(again.stderr).toContain(`goes on in run ${result.runId}`);
  // And what went on can be run again from the record.
  upstream.heard.length = 0;
  const replayed = await site.type('runs', 'replay', '--json', result.runId).done;
  expect(JSON.parse(replayed.stdout), replayed.stdout + replayed.stderr).toMatchObject({ verdict: 'exact' });
  expect(upstream.heard).toEqual([]);
}, 120_000);

test('killed in the middle of a command: the model is told that nobody knows, and nothing is done twice', async () => {
  const mark = `mark-${process.pid}`;
  const nap = `6021${process.pid}`;
  site.script = (_heard, index) =>
    [
      shell('echo first > first.txt'),
      {
        tools: [
          call('shell', { command: `echo second > second.txt; echo ${mark} >&2; sleep ${nap}` }),
          call('shell', { command: 'echo third' }),
        ],
      },
    ][index] as Turn;
  const running = site.ask('be interrupted');
  await expect.poll(() => processesWith(`sleep\0${nap}`).length, { timeout: 30_000 }).toBe(1);
  const lost = await kill(running);
  upstream.heard.length = 0;
  site.script = (_heard, index) => [shell('ls'), finish('enough')][index] as Turn;
  const { status, stderr, result } = await resume(lost);
  expect(status, stderr).toBe(0);
  const messages = upstream.heard[0]?.body.messages as { role: string; content: string }[];
  expect(messages.filter(({ role }) => role === 'tool').map(({ content }) => content.slice(0, 40))).toEqual([
    '[exit code 0]',
    'This call was under way when the process',
    'This call was not made: the process that',
  ]);
  expect(messages.at(-1)?.content).toMatch(
    /shell "echo second.*was under way: whether all, some or nothing of it was done is not known/,
  );
  expect(said().at(-1)?.content).toContain('first.txt');
  expect(project.git('ls-tree', '--name-only', result.branch ?? '')).not.toContain('second.txt');
  expect(site.events(result.runId).find(({ type }) => type === 'agent.resumed').resource.uncertain).toHaveLength(2);
  const ran = JSON.stringify(site.events(result.runId).filter(({ type }) => type === 'command.started'));
  expect(ran).not.toContain(mark);
  expect(site.verify()).toEqual([]);
}, 120_000);

test('killed in the middle of a call of an MCP server: its sandbox ends with it, nobody knows, and it is not called again', async () => {
  const file = join(site.root, 'mcp.yaml');
  writeFileSync(
    file,
    `version: 1
llm_policy: {allowed_providers: [acme], models: ["small-*"]}
mcp_servers: {docs: {command: [/usr/bin/node, /run/cordon/mcp/server.mjs], tools: [add, get_nothing], calls: 3}}
`,
  );
  serverFolder(site.root);
  site.script = (_heard, index) =>
    [
      { tools: [call('docs__add', { a: 41, b: 1 })] },
      { tools: [call('docs__get_nothing', {}), call('docs__add', { a: 1, b: 1 })] },
    ][index] as Turn;
  const running = site.ask('ask the server', '--policy', file);
  const asked = () => site.events(newest()).filter(({ type }) => type === 'tool.requested').length;
  await expect.poll(() => upstream.heard.length, { timeout: 30_000 }).toBe(2);
  await expect.poll(asked, { timeout: 30_000 }).toBe(2);
  const server = '/run/cordon/mcp/server.mjs';
  const below = new Set(descendants(running.child.pid ?? 0));
  const servers = processesWith(server).filter((pid) => below.has(pid)); // another test's may be there, too
  expect(servers).not.toEqual([]);
  const lost = await kill(running);
  const left = () => processesWith(server).filter((pid) => servers.includes(pid));
  await expect.poll(left, { timeout: 30_000 }).toEqual([]);

  upstream.heard.length = 0;
  const again = { tools: [call('docs__add', { a: 2, b: 2 })] };
  const more = { tools: [call('docs__add', { a: 3, b: 3 })] };
  site.script = (_heard, index) => [again, more, finish('enough')][index] as Turn;
  const { status, stderr, result } = await resume(lost);
  spawnSync('rm', [join(site.root, '.config/cordon/config.yaml')]);
  expect(status, stderr).toBe(0);
  const messages = upstream.heard[0]?.body.messages as { role: string; content: string }[];
  expect(messages.filter(({ role }) => role === 'tool').map(({ content }) => content)).toEqual([
    expect.stringMatching(/data, not instructions\]\n42$/),
    expect.stringContaining('This call was under way when the process'),
    expect.stringContaining('This call was not made'),
  ]);
  expect(messages.at(-1)?.content).toMatch(
    /docs__get_nothing .* was under way: whether all, some or nothing of it was done is not known; what it did at its server stays/,
  );
  const answers = said().filter(({ role }) => role === 'tool');
  expect(answers.at(-2)?.content).toMatch(/\n4$/);
  expect(answers.at(-1)?.content).toContain('more than 3 calls of the MCP server docs in this run'); // two were the lost one's
  const calls = site.events(result.runId).filter(({ type }) => type === 'tool.requested');
  expect(calls.map(({ resource }) => `${resource.server}/${resource.tool}`)).toEqual([
    'docs/add',
    'docs/add',
    'builtin/finish',
  ]);
  expect(site.events(result.runId).find(({ type }) => type === 'agent.resumed').resource.uncertain).toHaveLength(2);
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
}, 120_000);

test('a run that was resumed and killed again goes on from there', async () => {
  let asked = untilAsked([edit('one.txt', '1\n')]);
  let running = site.ask('do it');
  await asked;
  const first = await kill(running);
  upstream.heard.length = 0;
  asked = untilAsked([edit('two.txt', '2\n')]);
  running = site.type('runs', 'resume', '--json', first);
  await asked;
  const second = await kill(running);
  expect(second).not.toBe(first);
  const refused = await resume(first);
  expect(refused.stderr).toContain(`cordon runs resume ${second}`);
  upstream.heard.length = 0;
  site.script = () => finish('both');
  const { status, stderr, result } = await resume(second);
  expect(status, stderr).toBe(0);
  expect(result.agent?.steps).toBe(3);
  expect(project.git('ls-tree', '--name-only', result.branch ?? '').split('\n')).toEqual(
    expect.arrayContaining(['one.txt', 'two.txt']),
  );
  expect(site.verify()).toEqual([]);
}, 120_000);

test('killed at moments of chance, it always comes to its end, with every file there once', async () => {
  const steps = 8;
  let asked = 0;
  // It writes the next file that is not there, as somebody does who looks first.
  site.script = ({ body }) => {
    const results = (body.messages as { role: string; content: string }[]).filter(({ role }) => role === 'tool');
    const listed =
      /^files:(.*)$/m
        .exec(results.at(-1)?.content ?? '')?.[1]
        ?.trim()
        .split(' ') ?? [];
    const next = Array.from({ length: steps }, (_, i) => `f${i}`).find((name) => !listed.includes(name));
    if (next === undefined) return finish('all written');
    // Never the same words twice: killed often enough at one place, it would seem to go round in circles.
    return shell(`[ -e ${next} ] || echo ${next} >> ${next}; sleep 0.1; echo files: f* # ${++asked}`);
  };
  let id: string | null = null;
  const again = () => (id === null ? site.ask('write them') : site.type('runs', 'resume', '--json', id));
  let before = newest();
  let running = again();
  for (let kills = 0; kills < 6; kills++) {
    const pause = new Promise<'late'>((resolve) => setTimeout(resolve, 900 + Math.random() * 1_500, 'late'));
    if ((await Promise.race([pause, running.done])) !== 'late') break;
    running.child.kill('SIGKILL');
    await running.done;
    const next = newest();
    const told = next === before ? [] : site.events(next); // it may not even have been written down
    before = next;
    const resumes = told.find(({ type }) => type === 'run.created')?.resource.resumes;
    // One that was killed before it took the work up has nothing of it; one that had ended has it all.
    const mark = resumes === undefined ? 'agent.prepared' : 'agent.resumed';
    if (told.some(({ type }) => type === mark)) id = next;
    if (told.at(-1)?.type === 'run.stopped') break;
    running = again();
  }
  const last = await running.done;
  // The next start closes what a kill left open, also between a run's last record and its row.
  expect(site.run(project, 'true').status).toBe(0);
  const [, result] = JSON.parse(site.cordon('runs', 'list', '--json').stdout).runs;
  // A kill between the delivery and the end of its run leaves a lost one whose work is there, and is not done again.
  const delivered = /has delivered its change to refs\/heads\/(\S+),/.exec(last.stderr)?.[1];
  expect(result.state, last.stderr).toBe(delivered === undefined ? 'succeeded' : 'lost');
  const branch = delivered ?? result.branch;
  for (let i = 0; i < steps; i++) expect(project.git('show', `${branch}:f${i}`)).toBe(`f${i}`);
  expect(site.cordon('verify', '-w', project.dir, branch).status).toBe(0);
  expect(site.verify()).toEqual([]);
}, 300_000);

describe('refused, with the reason:', () => {
  let lost: string;
  beforeAll(async () => {
    upstream.heard.length = 0;
    const asked = untilAsked([edit('x.txt', 'x\n')]);
    const running = site.ask('do it', '--timeout', '20m');
    await asked;
    lost = await kill(running);
  }, 60_000);

  test('a run that is no lost one, of another agent, or kept nothing', async () => {
    const { result } = site.run(project, 'true');
    const ended = await resume(result.runId);
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain('was not lost: succeeded');

    const nap = `6022${process.pid}`;
    const command = site.start(project, `sleep ${nap}`);
    await expect.poll(() => processesWith(`sleep\0${nap}`).length, { timeout: 30_000 }).toBe(1);
    const other = await kill(command);
    expect((await resume(other)).stderr).toContain('is one of command');

    upstream.heard.length = 0;
    const asked = untilAsked([]);
    const running = site.ask('do it', '--no-record');
    await asked;
    expect((await resume(await kill(running))).stderr).toContain('kept nothing');
  }, 120_000);

  test('another requester', async () => {
    const folder = join(site.root, '.config/cordon');
    spawnSync('mkdir', ['-p', folder]);
    const file = join(folder, 'config.yaml');
    writeFileSync(file, 'version: 1\nrequester: user:somebody-else\n');
    const { status, stderr } = await resume(lost);
    spawnSync('rm', [file]);
    expect(status, stderr).toBe(2);
    expect(stderr).toContain('you are user:somebody-else');
  }, 60_000);
});

test('the policy of now may be wider than the one it began under, and must not be stricter', async () => {
  upstream.heard.length = 0;
  const file = join(site.root, 'policy.yaml');
  const write = (models: string, more = '') =>
    writeFileSync(file, `version: 1\nllm_policy: {allowed_providers: [acme], models: [${models}]}\n${more}`);
  write('"small-*"');
  const asked = untilAsked([edit('x.txt', 'x\n')]);
  const running = site.ask('do it', '--policy', file);
  await asked;
  const lost = await kill(running);
  write('"small-*"', 'limits: {wall_clock: 5m}\n');
  const narrow = await resume(lost);
  expect(narrow.status, narrow.stderr).toBe(3);
  expect(narrow.stderr).toMatch(/stricter than the one it ran under: .*limits\.wall_clock/);
  write(
    '"small-*"',
    'rules: |\n  forbid (principal, action == Action::"tool.call", resource == Tool::"builtin/edit");\n',
  );
  const forbidden = await resume(lost);
  expect(forbidden.stderr).toMatch(/builtin\/edit: permit then, deny now/);
  write('"small-*", "large-*"');
  upstream.heard.length = 0;
  site.script = () => finish('done');
  const { status, stderr } = await resume(lost);
  expect(status, stderr).toBe(0);
}, 120_000);
