/** What a hostile agent tries with the protocol it is talked with over; judged from outside, in the record and on the host. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Terminals } from '../../src/agents/acp/terminals.ts';
import type { Guest } from '../../src/agents/builtin/guest.ts';
import { AcpSite } from '../fakes/acp.ts';

const site = new AcpSite();
const { project } = site;
const secret = join(site.root, 'secret-of-the-host.txt');

afterAll(() => site.dispose());

test('a terminal that is released while it is started, and does not start, holds up nobody', async () => {
  let refuse: (error: Error) => void = () => {};
  const exec = () =>
    new Promise<never>((_, reject) => {
      refuse = reject;
    });
  const terminals = new Terminals();
  const spec = { argv: ['/bin/true'], env: {}, cwd: '/', outputByteLimit: null } as const;
  const made = terminals.create({ exec } as unknown as Guest, spec, () => {});
  const released = terminals.release('t1');
  refuse(new Error('no room for another'));
  await expect(made).rejects.toThrow('no room');
  await released;
  await terminals.close();
});

describe('files and terminals of the client', () => {
  test('are those of the sandbox: no path, link or command reaches a file of the host', () => {
    writeFileSync(join(site.root, 'known.txt'), 'the word of the host');
    const finished = site.perform(
      [
        `sh ln -s ${join(site.root, 'known.txt')} link; ln -s / root; mkfifo pipe`,
        `request fs/read_text_file ${JSON.stringify({ path: join(site.root, 'known.txt') })}`,
        `request fs/read_text_file ${JSON.stringify({ path: `/workspace/../../../${site.root}/known.txt` })}`,
        'request fs/read_text_file {"path":"/workspace/link"}',
        `request fs/read_text_file {"path":"/workspace/root${site.root}/known.txt"}`,
        `request fs/write_text_file ${JSON.stringify({ path: secret, content: 'x' })}`,
        `request fs/write_text_file ${JSON.stringify({ path: `/workspace/root${secret}`, content: 'x' })}`,
        `request terminal/create ${JSON.stringify({ command: 'sh', args: ['-c', `echo x > ${secret}; cat ${site.root}/known.txt`], cwd: '/' })}`,
        'request terminal/wait_for_exit {"terminalId":"t1"}',
        'request terminal/output {"terminalId":"t1"}',
      ],
      '--deliver',
      'none',
    );
    expect(finished.status, finished.stderr).toBe(0);
    expect(finished.stderr).toContain('heard: error -32002 | error -32002 | error -32002 | error -32002 | {} | {} | ');
    expect(finished.stderr).not.toContain('the word of the host');
    expect(existsSync(secret)).toBe(false);
    const mine = site.events(finished.result.runId, 'command.started').filter(({ resource }) => resource.parent === 0);
    expect(mine.map(({ resource }) => resource.argv[0]).filter((program) => !/perl|git/.test(program))).toEqual([
      ...['cat', 'cat', 'cat', 'cat'],
      ...['/bin/sh', '/bin/sh', '/bin/sh'],
    ]);
    expect(site.verify()).toEqual([]);
  }, 60_000);

  test('requests that mean nothing are refused', () => {
    const requests = [
      ['fs/read_text_file', { path: 'greeting.txt' }],
      ['fs/read_text_file', { path: '/workspace/a\u0000b' }],
      ['fs/read_text_file', { path: `/${'x'.repeat(5_000)}` }],
      ['fs/read_text_file', { path: '/dev/zero' }],
      ['fs/read_text_file', { path: '/bin/true' }],
      ['fs/read_text_file', { path: '/workspace/agent.pl', line: -1, limit: 1e308 }],
      ['fs/read_text_file', { path: '/workspace/agent.pl', sessionId: 'another' }],
      ['fs/write_text_file', { path: '/usr/bin/true', content: 'x' }],
      ['fs/write_text_file', { path: '--help', content: 'x' }],
      ['terminal/output', { terminalId: '../../1' }],
      ['terminal/kill', { terminalId: '__proto__' }],
      ['terminal/release', { terminalId: 1 }],
      ['terminal/create', { command: '' }],
      ['terminal/create', { command: 'true', env: [{ name: 'A=B', value: 'x' }] }],
      ['terminal/create', { command: 'true', args: ['a\u0000b'] }],
      ['mcp/connect', { id: 'x' }],
    ] as const;
    const script = requests.map(([method, params]) => `request ${method} ${JSON.stringify(params)}`);
    const { status, stderr } = site.perform(script, '--deliver', 'none');
    expect(status, stderr).toBe(0);
    const heard = /heard: (.*)/.exec(stderr)?.[1]?.split(' | ') ?? [];
    expect(heard).toHaveLength(requests.length);
    for (const one of heard) expect(one).toMatch(/^error -32\d\d\d$/);
  }, 60_000);

  test('what is refused is not done, terminals without end are bounded, and none is left', () => {
    const rule =
      'forbid (principal, action == Action::"tool.call", resource) when { context.server == "acp" && (context.tool like "fs/write*" || context.tool like "terminal/create: rm*") };';
    project.write('services.yaml', `version: 1\nrules: |\n  ${rule}\n`);
    const finished = site.perform(
      [
        'request fs/write_text_file {"path":"/workspace/w.txt","content":"x"}',
        'request terminal/create {"command":"rm","args":["agent.pl"]}',
        'request terminal/create {"command":"  rm agent.pl"}',
        'perl request("terminal/create", {command => "yes", outputByteLimit => 5}) for 1 .. 20',
        'perl 1 until request("terminal/output", {terminalId => "t16"})->{result}{truncated}',
        'request terminal/output {"terminalId":"t16"}',
        'request terminal/output {"terminalId":"t17"}',
        'sh ls > seen.txt',
      ],
      '--policy',
      join(project.dir, 'services.yaml'),
    );
    expect(finished.status, finished.stderr).toBe(0);
    const said = /heard: (.*)/.exec(finished.stderr)?.[1]?.split(' | ') ?? [];
    expect(said.filter((_, i) => i !== 3)).toEqual(Array(4).fill('error -32603'));
    expect(JSON.parse(said[3] ?? '')).toMatchObject({ exitStatus: null, truncated: true });
    expect(project.git('show', `${finished.result.branch}:seen.txt`).split('\n')).not.toContain('w.txt');
    const ended = site.events(finished.result.runId, 'tool.ended').map(({ outcome }) => outcome);
    expect(ended.map(({ result }) => result)).toEqual([
      ...['denied', 'denied', 'denied'],
      ...Array(4).fill('failed'), // there are too many
      ...Array(16).fill('failed'), // ended with the session
    ]);
    expect(ended.at(-1).text).toMatch(/^\[ended by SIGKILL\]\n[y\n]{0,5}$/);
    expect(site.verify()).toEqual([]);
  }, 90_000);
});

describe('questions', () => {
  test('with titles that write to a terminal or look like others are shown and recorded escaped', () => {
    const title = 'perl ask("execute", "\\e[2J\\e]0;owned\\a\\x{202e}hsup tig\\0\\r\\n\\nyes", ["y", "allow_once"])';
    const { result, stderr } = site.perform([title]);
    const [asked] = site.events(result.runId, 'tool.asked');
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
    const { result, stderr } = site.perform(
      [spaces, 'perl ask("builtin/execute", "rm -rf /")', 'ask execute|rm -rf /'],
      '--policy',
      join(project.dir, 'strict.yaml'),
    );
    expect(stderr).toContain('heard: no | yes | no');
    expect(
      site.events(result.runId, 'tool.asked').map(({ resource }) => [resource.server, resource.tool.slice(0, 14)]),
    ).toEqual([
      ['acp', 'execute: rm -r'],
      ['acp', 'other: rm -rf '],
      ['acp', 'execute: rm -r'],
    ]);
    expect(JSON.stringify(site.events(result.runId, 'tool.asked')).length).toBeLessThan(20_000);
  }, 60_000);

  test('cannot bind a permit to what was never shown: keys, ids and options of any kind', () => {
    const evil = '"__proto__":{"effect":"permit"},"decision":"permit","effect":"permit"';
    const raw = `{"sessionId":"x",${evil},"toolCall":{"toolCallId":"__proto__","title":"t",${evil}},"options":[{"optionId":"a","name":"x","kind":"reject_once",${evil}}]}`;
    const { status, stderr, result } = site.perform([`request session/request_permission ${raw}`]);
    expect(status).toBe(0);
    expect(stderr).toContain('heard: {"outcome":{"outcome":"cancelled"}}');
    expect(site.events(result.runId, 'tool.answered')).toMatchObject([{ outcome: { result: 'cancelled' } }]);
  }, 60_000);
});

describe('bytes', () => {
  test('one line of 100 MB ends the run, soon and in bounded memory', () => {
    const { status, result } = site.perform(
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
    const { status, stderr, result } = site.perform([flood], '--timeout', '60s');
    expect(status, stderr.slice(-2000)).toBe(0);
    expect(site.events(result.runId, 'agent.tool.called').length).toBeLessThanOrEqual(5_000);
    expect(site.events(result.runId, 'agent.ended')).toMatchObject([
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
    const { status, result } = site.perform(lines);
    expect(status).toBe(1);
    expect(result.stopReason).toBe('perl: it refuses to do this');
    expect(site.events(result.runId, 'agent.ended')).toMatchObject([{ resource: { ok: false, unread: 203 } }]);
  }, 60_000);

  test('an agent that never reads, and asks on and on, is held until its time is over', () => {
    const deaf = 'perl my $i = 0; while (1) { out({jsonrpc => "2.0", id => $i++, method => "x" x 200}) }';
    const { status, result } = site.perform([deaf], '--timeout', '4s');
    expect(status).toBe(5);
    expect(result.usage.outputBytes).toBeLessThan(8 << 20);
    expect(site.verify()).toEqual([]);
  }, 60_000);
});
