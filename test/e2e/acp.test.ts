/** Agents that are talked with: a real sandbox, an agent of a few lines of Perl inside. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { composeSystem } from '../../src/compose.ts';
import { executeRun } from '../../src/runs/pipeline.ts';
import type { RunRequest } from '../../src/runs/request.ts';
import type { RunIo } from '../../src/runs/system.ts';
import { AcpSite } from '../fakes/acp.ts';
import type { Finished } from '../fakes/project.ts';

const site = new AcpSite();
const { project } = site;

afterAll(() => site.dispose());

function policy(text: string): string {
  const file = join(site.root, `policy-${Math.random()}.yaml`);
  writeFileSync(file, `version: 1\n${text}`);
  return file;
}

test('a change is made, delivered and recorded as it was told', () => {
  const { status, stderr, result } = site.perform([
    'text hel',
    'text lo',
    'plan one',
    'run echo 42 > answer.txt; cat answer.txt',
    'think hm',
  ]);
  expect(status, stderr).toBe(0);
  expect(project.git('show', `${result.branch}:answer.txt`)).toBe('42');
  expect(stderr).toContain('│ → execute echo 42 > answer.txt; cat answer.txt');
  expect(stderr).toContain('│   42');
  expect(stderr).not.toContain('jsonrpc');
  const told = site.events(
    result.runId,
    'agent.prompted',
    'agent.message',
    'agent.tool.called',
    'agent.tool.returned',
    'agent.ended',
  );
  expect(told.map(({ type, resource }) => [type, resource])).toMatchObject([
    ['agent.prompted', { name: 'builtin', version: '1.2', prompt: [{ from: 'requester' }] }],
    ['agent.message', { kind: 'message', text: 'hello' }],
    ['agent.message', { kind: 'plan', text: '[>] one' }],
    ['agent.tool.called', { id: 'c0', tool: 'execute', input: 'echo 42 > answer.txt; cat answer.txt' }],
    ['agent.tool.returned', { id: 'c0', ok: true, text: '42\n' }],
    ['agent.message', { kind: 'reasoning', text: 'hm' }],
    ['agent.message', { kind: 'message', text: 'heard: yes' }],
    ['agent.ended', { ok: true, toolCalls: 1, unread: 0 }],
  ]);
  const [decided, closed] = site.events(result.runId, 'tool.asked', 'tool.answered');
  const tool = 'execute: echo 42 > answer.txt; cat answer.txt';
  expect(decided).toMatchObject({ resource: { server: 'acp', tool, call: 'c0' }, decision: { effect: 'permit' } });
  expect(closed).toMatchObject({ cause: decided.seq, outcome: { result: 'allow_once', reason: null } });
  expect(site.verify()).toEqual([]);
}, 60_000);

describe('what it asks leave for is the policy’s to say', () => {
  const rules = (rule: string) => policy(`rules: |\n  ${rule}\n`);
  const said = (finished: Finished) =>
    site.events(finished.result.runId, 'tool.answered').map(({ outcome }) => outcome.result);

  test('a forbid is a no, whatever the agent calls itself', () => {
    const forbid =
      'forbid (principal, action == Action::"tool.call", resource) when { context.server == "acp" && context.tool like "execute: git*" };';
    const finished = site.perform(['run git   push', 'run echo 1 > a.txt'], '--policy', rules(forbid));
    expect(finished.status, finished.stderr).toBe(0);
    expect(finished.stderr).toContain('heard: no | yes');
    expect(said(finished)).toEqual(['reject_once', 'allow_once']);
    expect(site.events(finished.result.runId, 'tool.asked')[0].decision.rules.join()).toContain('git*');
  }, 60_000);

  test('a question with nobody there is a no', () => {
    const ask = '@ask forbid (principal, action == Action::"tool.call", resource);';
    const finished = site.perform(['run echo 1 > a.txt'], '--policy', rules(ask));
    expect(finished.stderr).toContain('heard: no');
    expect(site.events(finished.result.runId, 'approval.requested', 'approval.decided', 'tool.asked')).toMatchObject([
      { resource: { summary: 'tool.call of "acp/execute: echo 1 > a.txt"' } },
      { outcome: { answer: 'denied' } },
      { decision: { effect: 'deny' } },
    ]);
    expect(site.verify()).toEqual([]);
  }, 60_000);

  test('where an agent offers no fitting answer it gets none, and leave for ever is never given', () => {
    const finished = site.perform(['ask execute|a|allow_always', 'ask execute|b|allow_once|reject_always']);
    expect(finished.stderr).toContain('heard: cancelled | o-allow_once');
    expect(said(finished)).toEqual(['cancelled', 'allow_once']);
  }, 60_000);

  test('and what it does not ask for is held all the same', () => {
    const forbid = 'forbid (principal, action == Action::"tool.call", resource);';
    const finished = site.perform(['sh cat /etc/shadow; ls /root; echo 1 > b.txt'], '--policy', rules(forbid));
    expect(finished.status).toBe(0);
    expect(finished.stderr).not.toContain('root:');
    const commands = site
      .events(finished.result.runId, 'command.started')
      .map(({ resource }) => resource.argv.join(' '));
    expect(commands).toContain('cat /etc/shadow');
  }, 60_000);
});

describe('somebody who is asked', () => {
  async function asking(answer: RunIo['ask'], wallClock: number, script = 'run echo 1 > d.txt') {
    process.env.CORDON_HOME = site.home;
    const system = await composeSystem();
    const shown: string[] = [];
    const request: RunRequest = {
      requester: { id: 'user:ada', kind: 'user' },
      workspace: project.dir,
      repo: null,
      base: 'HEAD',
      branch: null,
      paths: [],
      agent: { kind: 'acp', argv: ['perl', 'agent.pl'] },
      task: `do it\nscript:\n${script}\n`,
      model: null,
      policyFile: policy(
        'rules: |\n  @ask forbid (principal, action == Action::"tool.call", resource);\nlimits: {wall_clock: 1h}\n',
      ),
      grants: { net: [], commands: [], secrets: [] },
      approvals: 'prompt',
      deliver: 'none',
      readOnly: false,
      limits: { wallClock },
      record: true,
    };
    const io: RunIo = {
      signal: new AbortController().signal,
      onProgress: () => {},
      notes: false,
      onOutput: (_, chunk) => shown.push(chunk.toString()),
      ...(answer === undefined ? {} : { ask: answer }),
    };
    try {
      return { result: await executeRun(system, request, io), shown: shown.join('') };
    } finally {
      await system.close();
      delete process.env.CORDON_HOME;
    }
  }

  test('says yes to exactly that', async () => {
    const questions: string[] = [];
    const { result, shown } = await asking(async ({ action }) => {
      questions.push(action);
      return true;
    }, 60_000);
    expect(result.status).toBe('succeeded');
    expect(questions).toEqual(['tool.call of "acp/execute: echo 1 > d.txt"']);
    expect(shown).toContain('heard: yes');
  }, 60_000);

  test('reads the whole call, and says yes to nothing but that: another input is another question', async () => {
    const questions: string[] = [];
    const call = (input: string) =>
      `request session/request_permission {"toolCall":{"toolCallId":"a","title":"clean up","kind":"execute","rawInput":{"command":"${input}"},"locations":[{"path":"/workspace/a"}]},"options":[]}`;
    const write = 'request fs/write_text_file {"path":"/workspace/d.txt","content":"the content"}';
    const script = [call('rm a'), call('rm b'), write].join('\n');
    const { result } = await asking(
      async ({ action }) => {
        questions.push(action);
        return !action.includes('rm b');
      },
      60_000,
      script,
    );
    expect(questions).toEqual([
      'tool.call of "acp/execute: clean up" · input {"command":"rm a"} · locations [{"path":"/workspace/a"}]',
      'tool.call of "acp/execute: clean up" · input {"command":"rm b"} · locations [{"path":"/workspace/a"}]',
      'tool.call of "acp/fs/write_text_file: /workspace/d.txt" · input {"path":"/workspace/d.txt","content":"the content"}',
    ]);
    const decided = site.events(result.runId, 'approval.decided');
    expect(decided.map(({ outcome }) => outcome.answer)).toEqual(['approved', 'denied', 'approved']);
    expect(new Set(decided.map(({ resource }) => resource.subjectDigest)).size).toBe(3);
    expect(site.events(result.runId, 'tool.asked').map(({ content }) => typeof content)).toEqual(['object', 'object']);
  }, 60_000);

  test('is asked no longer when the run’s time is over, and the record has no question without an answer', async () => {
    let takenBack = false;
    const { result } = await asking(
      ({ signal }) =>
        new Promise((_, reject) => {
          signal?.addEventListener('abort', () => {
            takenBack = true;
            reject(new Error('taken back'));
          });
        }),
      10_000,
    );
    expect(result.status).toBe('limit');
    expect(takenBack).toBe(true);
    expect(
      site
        .events(result.runId, 'approval.requested', 'approval.decided', 'tool.asked', 'tool.answered', 'run.stopped')
        .map(({ type, outcome, decision }) => [
          type,
          outcome?.answer ?? outcome?.result ?? outcome?.status ?? decision.effect,
        ]),
    ).toEqual([
      ['approval.requested', 'ask'],
      ['approval.decided', 'expired'],
      ['tool.asked', 'deny'],
      ['tool.answered', 'reject_once'],
      ['run.stopped', 'limit'],
    ]);
    expect(site.verify()).toEqual([]);
  }, 60_000);
});

describe('files and terminals of its client', () => {
  test('are those of the sandbox, each decided upon, recorded, and done by a command', () => {
    const { status, stderr, result } = site.perform([
      'request fs/write_text_file {"path":"/workspace/new/a.txt","content":"one\\ntwo\\nthr\u00e9e\\nfour"}',
      'request fs/read_text_file {"path":"/workspace/new/../new/a.txt","line":2,"limit":2}',
      'request fs/read_text_file {"path":"/workspace/new/a.txt"}',
      'request fs/read_text_file {"path":"/workspace/nowhere"}',
      'request terminal/create {"command":"printf \u00e9\u00e9\u00e9; echo $WORD >&2; pwd","env":[{"name":"WORD","value":"a word"}],"cwd":"/workspace/new","outputByteLimit":27}',
      'request terminal/wait_for_exit {"terminalId":"t1"}',
      'request terminal/output {"terminalId":"t1"}',
      'request terminal/release {"terminalId":"t1"}',
      'request terminal/output {"terminalId":"t1"}',
      'request terminal/create {"command":"sleep","args":["1000"]}',
      'request terminal/kill {"terminalId":"t2"}',
      'request terminal/wait_for_exit {"terminalId":"t2"}',
      'request terminal/create {"command":"/nowhere/program","args":["x"]}',
      'request terminal/wait_for_exit {"terminalId":"t3"}',
    ]);
    expect(status, stderr).toBe(0);
    const heard = /heard: (.*)/.exec(stderr)?.[1]?.split(' | ') ?? [];
    const parsed = heard.map((one) => (one.startsWith('{') ? JSON.parse(one) : one));
    expect(parsed).toMatchObject([
      {},
      { content: 'two\nthrée\n' },
      { content: 'one\ntwo\nthrée\nfour' },
      'error -32002',
      { terminalId: 't1' },
      { exitCode: 0, signal: null },
      { output: 'éé' + 'a word\n/workspace/new\n', truncated: true, exitStatus: { exitCode: 0 } },
      {},
      'error -32603',
      { terminalId: 't2' },
      {},
      { exitCode: null, signal: 'SIGTERM' },
      { terminalId: 't3' },
      { exitCode: 127, signal: null },
    ]);
    expect(project.git('show', `${result.branch}:new/a.txt`)).toBe('one\ntwo\nthrée\nfour');
    const asked = site.events(result.runId, 'tool.requested');
    expect(asked.map(({ resource }) => `${resource.server}/${resource.tool}`)).toEqual([
      'acp/fs/write_text_file: /workspace/new/a.txt',
      'acp/fs/read_text_file: /workspace/new/a.txt',
      'acp/fs/read_text_file: /workspace/new/a.txt',
      'acp/fs/read_text_file: /workspace/nowhere',
      'acp/terminal/create: printf ééé; echo $WORD >&2; pwd',
      'acp/terminal/create: sleep 1000',
      'acp/terminal/create: /nowhere/program x',
    ]);
    expect(asked.every(({ decision }) => decision.effect === 'permit')).toBe(true);
    const ended = new Map(site.events(result.runId, 'tool.ended').map(({ cause, outcome }) => [cause, outcome]));
    expect(asked.map(({ seq }) => ended.get(seq).result)).toEqual([
      ...['done', 'done', 'done', 'failed', 'done', 'failed', 'failed'],
    ]);
    const programs = site.events(result.runId, 'command.started').map(({ resource }) => resource.argv.join(' '));
    expect(programs).toContain('cat -- /workspace/new/a.txt');
    expect(programs).toContain('/bin/sh -c printf ééé; echo $WORD >&2; pwd');
    expect(site.verify()).toEqual([]);
  }, 60_000);

  test('are not offered where the list of commands has nothing to do them with', () => {
    const file = policy('security: {allowed_commands: [/usr/bin/perl, /usr/bin/cat]}\n');
    const script = [
      'request fs/read_text_file {"path":"/workspace/agent.pl","limit":1}',
      'request fs/write_text_file {"path":"/workspace/a","content":"x"}',
      'request terminal/create {"command":"true"}',
    ];
    const { status, stderr } = site.perform(script, '--policy', file, '--deliver', 'none');
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/heard: \{"content":"# An agent .*"\} \| error -32601 \| error -32601/);
  }, 60_000);
});

describe('how it ends', () => {
  test.each([
    ['stop refusal', 'perl: it refuses to do this'],
    ['stop max_tokens', 'perl: it ran into its limit of tokens'],
    ['stop nonsense', 'perl: it '],
    ['die 0', 'perl: it ended before it answered'],
  ])(
    '%s',
    (line, reason) => {
      const { status, result } = site.perform(['sh echo 1 > c.txt', line]);
      expect(status).toBe(1);
      expect(result.stopReason).toContain(reason);
      expect(result.head).toBeNull();
    },
    60_000,
  );

  test('one that ends with the answer needs no good exit code, and one that stays is ended', () => {
    const exits = site.perform(['perl say_it("bye"); answer($prompt, {stopReason => "end_turn"}); exit 3']);
    expect(exits.status, exits.stderr).toBe(0);
    const stays = site.perform(['perl say_it("bye"); answer($prompt, {stopReason => "end_turn"}); sleep 1000']);
    expect(stays.status, stays.stderr).toBe(0);
    expect(site.events(stays.result.runId, 'agent.ended')).toMatchObject([{ resource: { ok: true } }]);
  }, 60_000);

  test('one that does not come to an end is asked to stop, and stopped', () => {
    const hears =
      'my $m = in(); next if ($m->{method} // "") ne "session/cancel"; say_it("heard the cancel"); sleep 1000';
    const { status, result, stderr } = site.perform([`perl while (1) { ${hears} }`], '--timeout', '10s');
    expect(status, stderr).toBe(5);
    expect(result.stopReason).toContain('the agent ran longer than 10.0 s');
    expect(site.events(result.runId, 'agent.ended')).toMatchObject([
      { resource: { ok: false, reason: 'the agent ran longer than 10.0 s and was stopped' } },
    ]);
    expect(stderr).toContain('│ heard the cancel');
  }, 60_000);

  test('a program that is not there, or speaks something else', () => {
    const missing = site.cordon('run', '--json', '-w', project.dir, '--agent', 'acp', 'x', '--', '/nowhere/agent');
    expect(missing.status).toBe(1);
    expect(missing.result.stopReason).toContain('could not be started in the sandbox');
    const other = site.cordon(
      'run',
      '--json',
      '-w',
      project.dir,
      '--agent',
      'acp',
      'x',
      '--',
      'echo',
      'Hello! I am an agent.',
    );
    expect(other.status).toBe(1);
    expect(other.result.stopReason).toBe('echo: it ended before it answered');
    expect(other.stderr).toContain('│ Hello! I am an agent.');
    const nothing = site.cordon('run', '-w', project.dir, '--agent', 'acp', '--', 'perl', 'agent.pl');
    expect(nothing.status).toBe(2);
    expect(nothing.stderr).toContain('has nothing to do');
  }, 60_000);
});

test('one that does not speak the protocol is refused before it starts', () => {
  const { status, stderr } = site.cordon('run', '-w', project.dir, '--agent', 'acp', 'x', '--', 'pi');
  expect(status).toBe(2);
  expect(stderr).toContain('does not speak the Agent Client Protocol');
  const codex = site.cordon('run', '-w', project.dir, '--agent', 'acp', 'x', '--', 'codex');
  expect(codex.stderr).toContain('cordon run --agent acp … -- codex-acp');
}, 60_000);
