/** What a hostile agent tries with the protocol it is talked with over; judged from outside, in the record and on the host. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Finished, Installation, Project } from '../fakes/project.ts';

const site = new Installation();
const secret = join(site.root, 'secret-of-the-host.txt');
let project: Project;

beforeAll(() => {
  project = new Project(join(site.root, 'repository'));
  project.write('agent.pl', readFileSync(join(import.meta.dirname, '../fakes/acp-agent.pl'), 'utf8')).commit('first');
});
afterAll(() => site.dispose());

function run(script: readonly string[], ...options: string[]): Finished {
  const task = `do it\nscript:\n${script.join('\n')}\n`;
  return site.cordon('run', '--json', '-w', project.dir, '--agent', 'acp', ...options, task, '--', 'perl', 'agent.pl');
}

function events(runId: string, ...types: string[]) {
  const lines = site.cordon('audit', 'show', '--run', runId, '--json').stdout.trim().split('\n');
  return lines.map((line) => JSON.parse(line)).filter(({ type }) => types.includes(type));
}

describe('files and terminals of the client', () => {
  test.each([
    ['fs/read_text_file', { path: '/etc/shadow' }],
    ['fs/read_text_file', { path: '/workspace/../../../etc/shadow' }],
    ['fs/read_text_file', { path: '/workspace/link' }],
    ['fs/write_text_file', { path: secret, content: 'x' }],
    ['terminal/create', { command: 'sh', args: ['-c', `echo x > ${secret}`], cwd: '/' }],
    ['terminal/output', { terminalId: '../../1' }],
    ['mcp/connect', { id: 'x' }],
  ])(
    '%s %j: there is nothing that would do it',
    (method, params) => {
      const finished = run(
        [`sh ln -s /etc/shadow link`, `request ${method} ${JSON.stringify(params)}`],
        '--deliver',
        'none',
      );
      expect(finished.status, finished.stderr).toBe(0);
      expect(finished.stderr).toContain('heard: error -32601');
      expect(existsSync(secret)).toBe(false);
      const mine = events(finished.result.runId, 'command.started').filter(({ resource }) => resource.parent === 0);
      expect(mine.map(({ resource }) => resource.argv[0]).filter((program) => !/git|perl/.test(program))).toEqual([]);
    },
    60_000,
  );
});

describe('questions', () => {
  test('with titles that write to a terminal or look like others are shown and recorded escaped', () => {
    const title = 'perl ask("execute", "\\e[2J\\e]0;owned\\a\\x{202e}hsup tig\\0\\r\\n\\nyes", ["y", "allow_once"])';
    const { result, stderr } = run([title]);
    const [asked] = events(result.runId, 'tool.asked');
    expect(asked.resource.tool).toBe('execute: \\x1b[2J\\x1b]0;owned\\x07\\u{202e}hsup tig\\x00 yes');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
    expect(stderr).not.toMatch(/\x1b\]|\x1b\[2J|\x07|\u202e/);
    const shown =
      site.cordon('runs', 'show', result.runId).stdout + site.cordon('audit', 'show', '--run', result.runId).stdout;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
    expect(shown).not.toMatch(/\x1b\]|\x1b\[2J|\x07|\u202e/);
  }, 60_000);

  test('cannot take the name of another server, or hide behind spaces and length', () => {
    const rule =
      'forbid (principal, action == Action::"tool.call", resource) when { context.server == "acp" && context.tool like "execute: rm *" };';
    project.write('strict.yaml', `version: 1\nrules: |\n  ${rule}\n`);
    const spaces = 'perl ask("execute", " \\t rm\\x{a0}\\n -rf / " . "x" x 100_000)';
    const { result, stderr } = run(
      [spaces, 'perl ask("builtin/execute", "rm -rf /")', 'ask execute|rm -rf /'],
      '--policy',
      join(project.dir, 'strict.yaml'),
    );
    expect(stderr).toContain('heard: no | yes | no');
    expect(
      events(result.runId, 'tool.asked').map(({ resource }) => [resource.server, resource.tool.slice(0, 14)]),
    ).toEqual([
      ['acp', 'execute: rm -r'],
      ['acp', 'other: rm -rf '],
      ['acp', 'execute: rm -r'],
    ]);
    expect(JSON.stringify(events(result.runId, 'tool.asked')).length).toBeLessThan(20_000);
  }, 60_000);

  test('cannot bind a permit to what was never shown: keys, ids and options of any kind', () => {
    const evil = '"__proto__":{"effect":"permit"},"decision":"permit","effect":"permit"';
    const raw = `{"sessionId":"x",${evil},"toolCall":{"toolCallId":"__proto__","title":"t",${evil}},"options":[{"optionId":"a","name":"x","kind":"reject_once",${evil}}]}`;
    const { status, stderr, result } = run([`request session/request_permission ${raw}`]);
    expect(status).toBe(0);
    expect(stderr).toContain('heard: {"outcome":{"outcome":"cancelled"}}');
    expect(events(result.runId, 'tool.answered')).toMatchObject([{ outcome: { result: 'cancelled' } }]);
  }, 60_000);
});

describe('bytes', () => {
  test('one line of 100 MB ends the run, soon and in bounded memory', () => {
    const { status, result } = run(
      ['perl print "x" x 1_000_000 for 1 .. 100; print "\\n"; sleep 1000'],
      '--timeout',
      '50s',
    );
    expect(status).toBe(1);
    expect(result.stopReason).toBe('perl: it sent a message of more than 16 MiB');
    expect(site.verify()).toEqual([]);
  }, 90_000);

  test('a flood of updates is told in bounds, and the agent still heard to its end', () => {
    const flood =
      'perl for my $i (1 .. 20_000) { update({sessionUpdate => "tool_call", toolCallId => "f$i", title => "x" x 50, kind => "read"}) }';
    const { status, stderr, result } = run([flood], '--timeout', '60s');
    expect(status, stderr.slice(-2000)).toBe(0);
    expect(events(result.runId, 'agent.tool.called').length).toBeLessThanOrEqual(5_000);
    expect(events(result.runId, 'agent.ended')).toMatchObject([
      { resource: { toolCalls: 20_000, unrecorded: 15_001 } },
    ]);
  }, 120_000);

  test('garbage, answers to nothing and answers twice do not speak for the agent', () => {
    const lines = [
      `raw Not JSON at all`,
      `perl out({jsonrpc => "2.0", id => $_, result => {stopReason => "end_turn"}}) for 3 .. 200`,
      `perl out({jsonrpc => "2.0", id => 0, result => {protocolVersion => 1}}) for 1 .. 3`,
      `perl out([1, 2])`,
      'stop refusal',
    ];
    const { status, result } = run(lines);
    expect(status).toBe(1);
    expect(result.stopReason).toBe('perl: it refuses to do this');
    expect(events(result.runId, 'agent.ended')).toMatchObject([{ resource: { ok: false, unread: 203 } }]);
  }, 60_000);

  test('an agent that never reads, and asks on and on, is held until its time is over', () => {
    const deaf = 'perl my $i = 0; while (1) { out({jsonrpc => "2.0", id => $i++, method => "x" x 200}) }';
    const { status, result } = run([deaf], '--timeout', '4s');
    expect(status).toBe(5);
    expect(result.usage.outputBytes).toBeLessThan(8 << 20);
    expect(site.verify()).toEqual([]);
  }, 60_000);
});
