import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { KEY, ModelSite } from '../fakes/models/site.ts';
import type { Turn } from '../fakes/models/turn.ts';
import { processesWith } from '../fakes/sandbox-scene.ts';

const site = new ModelSite();
const { upstream, project } = site;

const call = (name: string, input: Record<string, unknown>, id = `c${Math.abs(JSON.stringify(input).length)}`) => ({
  id,
  name,
  arguments: input,
});
const shell = (command: string): Turn => ({ tools: [call('shell', { command })] });
const finish = (summary: string, success = true): Turn => ({ tools: [call('finish', { summary, success })] });
const play = (...turns: Turn[]) => {
  site.script = (_heard, index) => turns[index] ?? finish('nothing more');
};

beforeAll(async () => {
  project
    .write('sum.sh', '#!/bin/sh\necho $(($1 - $2))\n', 0o755)
    .write('test.sh', '#!/bin/sh\n[ "$(./sum.sh 2 3)" = 5 ] && echo ok || { echo wrong; exit 1; }\n', 0o755)
    .write('AGENTS.md', 'Run ./test.sh before you finish.\n');
  await site.open('--model', 'large-1', '--price', '2/8');
}, 60_000);
afterAll(() => site.close());
beforeEach(() => {
  upstream.heard.length = 0;
});

const run = (task: string, ...options: string[]) => site.ask(task, ...options).done;
const policy = (text: string) => ['--policy', site.policy(text)];

/** What the record says of how far it came, without what differs by model. */
// biome-ignore lint/suspicious/noExplicitAny: events of all types
const ended = (told: any[]) =>
  told
    .filter(({ type }) => type === 'agent.ended')
    .map(({ resource: { ok, reason, steps, toolCalls } }) => ({ ok, reason, steps, toolCalls }));

test('a task becomes a change: looked at, made, checked, delivered and proved', async () => {
  play(
    { ...shell('./test.sh'), text: 'I look at what fails.' },
    { tools: [call('read', { path: 'sum.sh' })] },
    { tools: [call('edit', { path: 'sum.sh', old: '$1 - $2', new: '$1 + $2' })] },
    shell('./test.sh'),
    finish('sum.sh adds now; test.sh passes'),
  );
  const { status, stderr, result } = await run('make the test pass');
  expect(status, stderr).toBe(0);
  expect(result.agent).toEqual({ steps: 5, summary: 'sum.sh adds now; test.sh passes', success: true });
  expect(project.git('show', `${result.branch}:sum.sh`)).toContain('$1 + $2');
  expect(project.git('diff', '--stat', result.base, result.head ?? '')).toContain('1 file changed');
  expect(result.usage.models.requests).toBe(5);
  expect(site.cordon('verify', '-w', project.dir, result.branch ?? '').status).toBe(0);
  for (const line of ['I look at what fails.', '✗ shell ./test.sh — [exit code 1]', '✓ read sum.sh', '✓ finish done'])
    expect(stderr).toContain(line);

  const told = site.events(result.runId);
  const calls = told.filter(({ type }) => type === 'tool.requested');
  expect(calls.map(({ resource }) => resource.tool)).toEqual(['shell', 'read', 'edit', 'shell', 'finish']);
  expect(calls.every(({ decision }) => decision.effect === 'permit' && /built-in/.test(decision.rules[0]))).toBe(true);
  const ends = told.filter(({ type }) => type === 'tool.ended');
  expect(ends.map(({ cause }) => cause)).toEqual(calls.map(({ seq }) => seq));
  expect(ends.map(({ outcome }) => outcome.result)).toEqual(['failed', 'done', 'done', 'done', 'done']);
  expect(told.find(({ type }) => type === 'agent.prepared').resource).toMatchObject({
    agent: 'builtin',
    model: 'small-1',
    prompt: [{ from: 'requester' }, { from: expect.stringContaining('AGENTS.md at') }],
  });
  expect(told.filter(({ type, content }) => type === 'agent.message' && content !== undefined)).toHaveLength(5);
  expect(site.cordon('runs', 'logs', result.runId).stdout).toContain('✗ shell ./test.sh');
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
  expect(JSON.stringify(told) + stderr).not.toContain(KEY);
}, 60_000);

test('the model is told whose word is whose', async () => {
  play(finish('seen'));
  await run('look around');
  const [system, first] = upstream.heard[0]?.body.messages ?? [];
  expect(system.role).toBe('system');
  const [task, notes] = first.content.split('end ---');
  expect(task).toMatch(/begin: the task, from user:\S+ ---\nThis is the task\.\n\nlook around/);
  expect(notes).toMatch(
    /begin: a file, at "AGENTS.md at [0-9a-f]{12}" ---\nNotes of the repository[\s\S]*Run .\/test.sh/,
  );
}, 60_000);

test('a call that the policy forbids is told to the model, and the run goes on', async () => {
  play(
    shell('echo forbidden > planted'),
    { tools: [call('edit', { path: 'new.txt', old: '', new: 'x\n' })] },
    finish('done'),
  );
  const rules =
    '}\nrules: |\n  forbid (principal, action == Action::"tool.call", resource == Tool::"builtin/shell");\n';
  const { status, stderr, result } = await run('do it', ...policy(rules));
  expect(status, stderr).toBe(0);
  expect(upstream.heard[1]?.body.messages.at(-1).content).toContain('This call is not permitted');
  expect(project.git('ls-tree', '--name-only', result.branch ?? '').split('\n')).toEqual(
    expect.arrayContaining(['new.txt']),
  );
  expect(project.git('ls-tree', '--name-only', result.branch ?? '')).not.toContain('planted');
  const denied = site
    .events(result.runId)
    .filter(({ type, outcome }) => type === 'tool.ended' && outcome.result === 'denied');
  expect(denied).toHaveLength(1);
  expect(result.decisions.deny).toBe(1);
}, 60_000);

test('where the policy asks and nobody is there, a call is denied', async () => {
  play(shell('true'), shell('true; echo $HOME'), finish('could not', false));
  const rules =
    '}\nrules: |\n  @ask forbid (principal, action == Action::"tool.call", resource == Tool::"builtin/shell");\n';
  const { status, result } = await run('do it', '--approvals', 'deny', ...policy(rules));
  expect(status).toBe(1);
  expect(result).toMatchObject({ status: 'failed', head: null, agent: { success: false } });
  expect(site.events(result.runId).map(({ type }) => type)).toEqual(
    expect.arrayContaining(['approval.requested', 'approval.decided', 'tool.requested', 'tool.ended']),
  );
  // A person would read the call, and say yes to it and to no other.
  const asked = site.events(result.runId).filter(({ type }) => type === 'approval.requested');
  expect(asked.map(({ resource }) => resource.summary)).toEqual([
    'tool.call of builtin/shell {"command":"true"}',
    'tool.call of builtin/shell {"command":"true; echo $HOME"}',
  ]);
  expect(new Set(asked.map(({ resource }) => resource.approval)).size).toBe(2);
  expect(site.verify()).toEqual([]);
}, 60_000);

test('where the policy lists programs, tools need theirs on it, and say what is missing', async () => {
  const turn: Turn = {
    tools: [
      call('shell', { command: 'true' }, 'a'),
      call('read', { path: 'sum.sh' }, 'b'),
      call('edit', { path: 'new.txt', old: '', new: 'x' }, 'c'),
      call('search', { pattern: 'echo' }, 'd'),
    ],
  };
  const results = () => upstream.heard[1]?.body.messages.slice(-4).map(({ content }: { content: string }) => content);
  play(turn, finish('so far'));
  await run('do it', ...policy('}\nsecurity: {allowed_commands: [/usr/bin/cat]}\n'));
  expect(results()).toEqual([
    expect.stringContaining('/bin/sh could not be started in the sandbox'),
    expect.stringContaining('1\t#!/bin/sh'),
    expect.stringContaining('new.txt was not written: /bin/sh could not be started'),
    expect.stringContaining('grep could not be started in the sandbox'),
  ]);
  upstream.heard.length = 0;
  const all = ['sh', 'cat', 'grep', 'mkdir'].map((name) => `/usr/bin/${name}`).join(', ');
  const { result } = await run('do it', ...policy(`}\nsecurity: {allowed_commands: [${all}]}\n`));
  expect(results()).toEqual([
    '[exit code 0]',
    expect.stringContaining('1\t#!/bin/sh'),
    expect.stringContaining('new.txt: made'),
    expect.stringContaining('sum.sh:2:echo'),
  ]);
  expect(result.decisions.deny).toBe(0);
}, 60_000);

test('without a model named, it is the first that the policy permits', async () => {
  play(finish('seen'));
  const { status } = await site.type('run', '--json', '-w', project.dir, '--agent', 'builtin', 'look').done;
  expect(status).toBe(0);
  expect(upstream.heard[0]?.model).toBe('small-1');
}, 60_000);

test('an agent that goes round in circles is stopped, and nothing is delivered', async () => {
  site.script = () => shell('echo x >> same; cat /etc/hostname');
  const { status, result } = await run('go on');
  expect(status).toBe(1);
  expect(result.stopReason).toContain('went round in circles');
  expect(result.head).toBeNull();
  expect(upstream.heard).toHaveLength(4);
}, 60_000);

test('steps have an end', async () => {
  site.script = (_heard, index) => shell(`echo ${index}`);
  const { status, result } = await run('go on', '--max-steps', '3');
  expect(status).toBe(1);
  expect(result.remedy).toContain('--max-steps');
  expect(upstream.heard).toHaveLength(3);
}, 60_000);

test('a budget that is spent ends it with exit code 5', async () => {
  site.script = (_heard, index) => shell(`echo ${index}`);
  const { status, result } = await run('go on', ...policy(', budget: {requests: 2}}\n'));
  expect(status).toBe(5);
  expect(result.stopReason).toContain('the budget of this run is 2 requests');
  const end = { ok: false, reason: expect.stringContaining('the budget of this run'), steps: 2, toolCalls: 2 };
  expect(ended(site.events(result.runId))).toEqual([end]);
  expect(upstream.heard).toHaveLength(2);
}, 60_000);

test('a model that the policy does not name ends it with exit code 3', async () => {
  const { status, result } = await site.type(
    'run',
    '--json',
    '-w',
    project.dir,
    '--agent',
    'builtin',
    '--model',
    'acme/large-1',
    'do it',
  ).done;
  expect(status, result.stopReason).toBe(3);
}, 60_000);

test('a weak model that writes its calls as text, in an old repository without notes', async () => {
  site.script = (_heard, index) =>
    [
      { text: 'Sure!\n```json\n{"tool": "edit", "arguments": {"path": "weak.txt", "old": "", "new": "made"}}\n```' },
      { text: '```json\n{"tool": "finish", "arguments": {"summary": "made it"}}\n```' },
    ][index] ?? finish('x');
  const { status, stderr, result } = await run('make weak.txt');
  expect(status, stderr).toBe(0);
  expect(project.git('show', `${result.branch}:weak.txt`)).toBe('made');
}, 60_000);

test('an interruption ends it, in the middle of a command', async () => {
  const nap = `8642${process.pid}`;
  play(shell(`echo begun > begun; sleep ${nap}`));
  const running = site.ask('wait');
  await expect.poll(() => upstream.heard.length, { timeout: 20_000 }).toBe(1);
  await expect.poll(() => processesWith(`sleep\0${nap}`).length, { timeout: 20_000 }).toBe(1);
  running.child.kill('SIGINT');
  const { status, result } = await running.done;
  expect(status).toBe(130);
  expect(processesWith(`sleep\0${nap}`)).toEqual([]);
  expect(result.status).toBe('cancelled');
  const told = site.events(result.runId);
  expect(told.filter(({ type }) => type === 'tool.ended').length).toBe(
    told.filter(({ type }) => type === 'tool.requested').length,
  );
  expect(ended(told)).toEqual([{ ok: false, reason: 'cancelled by the requester', steps: 1, toolCalls: 1 }]);
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
}, 60_000);

test('what it did until its process was killed is in the record', async () => {
  play({ ...shell('echo so far'), text: 'I begin.' }, shell('sleep 300'));
  const running = site.ask('wait');
  await expect.poll(() => upstream.heard.length, { timeout: 20_000 }).toBe(2);
  running.child.kill('SIGKILL');
  await running.done;
  const [{ id }] = JSON.parse(site.cordon('runs', 'list', '--json').stdout).runs;
  expect(site.run(project, 'true').status).toBe(0); // the next one closes what was left
  const told = site.events(id);
  expect(told.at(-1)?.type).toBe('run.lost');
  expect(told.find(({ type }) => type === 'agent.message').resource.text).toBe('I begin.');
  expect(told.find(({ type }) => type === 'tool.ended').outcome).toMatchObject({
    result: 'done',
    text: 'so far\n[exit code 0]',
  });
  expect(site.verify()).toEqual([]);
}, 60_000);

test('with --no-record only the beginnings are kept', async () => {
  play(shell(`echo ${'x'.repeat(2000)}`), finish('done'));
  const { result } = await run('do it', '--no-record');
  const told = site.events(result.runId);
  expect(told.filter(({ content }) => content !== undefined)).toEqual([]);
  const [asked] = told.filter(({ type }) => type === 'tool.requested');
  expect(asked.resource.input.length).toBeLessThan(300);
  expect(asked.resource.characters).toBeGreaterThan(2000);
}, 60_000);

test('a time limit ends it while the model thinks', async () => {
  site.script = () => ({ text: 'slow', drip: 30_000 });
  const { status, result } = await run('think', '--timeout', '1s');
  expect(status).toBe(5);
  expect(result.stopReason).toContain('ran longer than');
  const end = { ok: false, reason: expect.stringContaining('ran longer than'), steps: 0, toolCalls: 0 };
  expect(ended(site.events(result.runId))).toEqual([end]);
  expect(site.verify()).toEqual([]);
}, 60_000);

test('what cannot be is said before anything starts', () => {
  for (const args of [
    ['--agent', 'builtin'],
    ['--agent', 'builtin', 'task', '--', 'ls'],
    ['--max-steps', '3', 'task', '--', 'ls'],
    ['task'],
  ]) {
    const { status, stderr } = site.cordon('run', '-w', project.dir, ...args);
    expect(status, stderr).toBe(2);
  }
});

test('a run of it is run again from its recording, exactly, without asking a model', async () => {
  play(
    shell('cat sum.sh; ./test.sh'),
    { tools: [call('edit', { path: 'sum.sh', old: '$1 - $2', new: '$1 + $2' })] },
    shell('./test.sh'),
    finish('it adds'),
  );
  const { status, stderr, result } = await run('make the test pass again');
  expect(status, stderr).toBe(0);
  upstream.heard.length = 0;
  const replayed = await site.type('runs', 'replay', '--json', result.runId).done;
  expect(JSON.parse(replayed.stdout), replayed.stderr).toMatchObject({ verdict: 'exact' });
  expect(upstream.heard).toEqual([]);
}, 60_000);
