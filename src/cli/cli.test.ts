import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { AuditEvent } from '../audit/event.ts';
import { DocumentError, ExitCode, PolicyDeniedError, UsageError } from '../base/errors.ts';
import { palette } from '../base/term.ts';
import type { RunStatus } from '../runs/request.ts';
import { diffText } from './diff-text.ts';
import { render } from './doctor.ts';
import { eventLine } from './event-line.ts';
import { INTERNAL_ERROR, reportFailure } from './failure.ts';
import { GuestOutput } from './guest-output.ts';
import { OutputStreams } from './output.ts';
import { type RunOptions, requester, toRunRequest } from './run-request.ts';
import { readStory } from './run-story.ts';
import { exitCodeOf } from './run-summary.ts';
import { commandLines, refusals } from './runs-show.ts';

/** Streams that keep what was written. */
function captured(env: Record<string, string> = {}, tty = false) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  if (tty) for (const stream of [stdout, stderr]) Object.assign(stream, { isTTY: true });
  const text = (stream: PassThrough) => stream.read()?.toString() ?? '';
  return { streams: new OutputStreams(stdout, stderr, env), out: () => text(stdout), err: () => text(stderr) };
}

describe('errors', () => {
  test('what, where, the rule, the remedy, and the exit code of their kind', () => {
    const { streams, err, out } = captured();
    const error = new PolicyDeniedError('push to main is not allowed', ['.cordon/policy.yaml:7 git.push.branches'], {
      remedy: 'use cordon/x',
    });
    expect(reportFailure(error, streams, {}, false)).toBe(ExitCode.policy);
    expect(err()).toBe(
      'cordon: push to main is not allowed\n  rule .cordon/policy.yaml:7 git.push.branches\n  → use cordon/x\n',
    );
    expect(out()).toBe('');
  });

  test('all problems of a document at once, each with its place', () => {
    const { streams, err } = captured();
    const problem = { file: 'p.yaml', line: 2, column: 3, message: 'unknown key "x"', remedy: 'write "y"' };
    reportFailure(new DocumentError([problem, { ...problem, line: 9 }]), streams, {}, false);
    expect(err()).toContain('p.yaml:2:3: unknown key "x"');
    expect(err()).not.toContain('undefined');
  });

  test('what a guest put into a message stays text', () => {
    const { streams, err } = captured();
    reportFailure(new UsageError('bad \x1b]0;pwned\x07 name'), streams, {}, false);
    expect(err()).toContain('bad \\x1b]0;pwned\\x07 name');
  });

  test('the unforeseen has an exit code of its own, and its stack only when asked for', () => {
    const { streams, err } = captured();
    expect(reportFailure(new TypeError('x is undefined'), streams, {}, false)).toBe(INTERNAL_ERROR);
    expect(err()).not.toContain('cli.test.ts');
    reportFailure(new TypeError('x', { cause: new Error('deep') }), streams, { CORDON_DEBUG: '1' }, false);
    expect(err()).toMatch(/TypeError: x[\s\S]*caused by Error: deep/);
  });

  test('with --json they are a document too', () => {
    const { streams, out } = captured();
    reportFailure(new UsageError('no', { remedy: 'yes' }), streams, {}, true);
    expect(JSON.parse(out())).toEqual({ error: { code: 'usage', message: 'no', remedy: 'yes' } });
  });
});

describe('output', () => {
  test('colour only on a terminal, and never with NO_COLOR or for JSON', () => {
    expect(captured({}, true).streams.with({}).style.red('x')).toBe('\x1b[31mx\x1b[39m');
    expect(captured({}, false).streams.with({}).style.red('x')).toBe('x');
    expect(captured({ NO_COLOR: '1' }, true).streams.with({}).style.red('x')).toBe('x');
    expect(captured({ NO_COLOR: '' }, true).streams.with({}).style.red('x')).toBe('\x1b[31mx\x1b[39m');
    expect(captured({}, true).streams.with({ json: true }).style.red('x')).toBe('x');
  });

  test('JSON for a terminal holds nothing that the terminal acts upon, and means the same', () => {
    const { streams, out } = captured();
    const value = { name: 'a\x9b2J\u202eb\x1b' };
    streams.with({}).document(value);
    const text = out();
    for (const character of '\x1b\x9b\u202e') expect(text).not.toContain(character);
    expect(JSON.parse(text)).toEqual(value);
  });

  test('the agent’s output comes in whole lines, escaped, without its colours; --quiet drops it', () => {
    const { streams, err } = captured();
    const guest = new GuestOutput(streams.with({}));
    const euro = Buffer.from('€');
    guest.write('stdout', Buffer.concat([Buffer.from('\x1b[32mok\x1b[0m\r\nhalf '), euro.subarray(0, 1)]));
    guest.write('stderr', Buffer.from('\x1b[2Jgone\n'));
    guest.write('stdout', euro.subarray(1));
    guest.end();
    expect(err()).toBe('│ ok\n│ \\x1b[2Jgone\n│ half €\n');
    const quiet = captured();
    new GuestOutput(quiet.streams.with({ quiet: true })).write('stdout', Buffer.from('x\n'));
    expect(quiet.err()).toBe('');
  });

  test('a diff has colours of its own alone: those that a file holds could hide a line', () => {
    const diff = 'diff --git a/x b/x\n@@ -1 +1,2 @@\n-a\n+\x1b[8mhidden\x1b[m\n+++ b\n \x1b]0;t\x07\tb\n';
    expect(diffText(diff, palette(true)).split('\n')).toEqual([
      '\x1b[1mdiff --git a/x b/x\x1b[22m',
      '\x1b[33m@@ -1 +1,2 @@\x1b[39m',
      '\x1b[31m-a\x1b[39m',
      '\x1b[32m+\\x1b[8mhidden\\x1b[m\x1b[39m',
      '\x1b[32m+++ b\x1b[39m',
      ' \\x1b]0;t\\x07\tb',
      '',
    ]);
    expect(diffText(' a | 3 ++-\n', palette(true))).toBe(' a | 3 \x1b[32m++\x1b[39m\x1b[31m-\x1b[39m\n');
  });
});

describe('the request of cordon run', () => {
  const options: RunOptions = { base: 'HEAD', path: [], allowNet: [], allowCommand: [], secret: [] };
  const around = { cwd: '/work/app', interactive: false, settings: { version: 1, run: {} } as const, login: 'Ann Ö' };

  test('has what was asked for and safe defaults for the rest', () => {
    expect(toRunRequest('fix it', ['make', 'test'], { ...options, memory: 5, workspace: '../other' }, around)).toEqual({
      requester: { id: 'user:ann--', kind: 'user' },
      workspace: '/work/other',
      repo: null,
      base: 'HEAD',
      branch: null,
      paths: [],
      agent: { kind: 'command', argv: ['make', 'test'] },
      task: 'fix it',
      model: null,
      policyFile: null,
      grants: { net: [], commands: [], secrets: [] },
      approvals: 'deny',
      deliver: 'branch',
      readOnly: false,
      limits: { memory: 5 },
      record: true,
    });
  });

  test('the command line goes before the settings, and a person at a terminal is asked', () => {
    const settings = { version: 1, run: { memory: 1, disk: 2, deliver: 'patch', record: false } } as const;
    const request = toRunRequest(
      undefined,
      ['x'],
      { ...options, memory: 9, record: true },
      { ...around, settings, interactive: true },
    );
    expect(request).toMatchObject({
      limits: { memory: 9, disk: 2 },
      deliver: 'patch',
      record: true,
      approvals: 'prompt',
    });
    expect(requester({ ...settings, requester: 'user:bob' }, 'ann').id).toBe('user:bob');
  });

  test('an analysis delivers nothing, and cannot be asked to', () => {
    expect(toRunRequest(undefined, ['x'], { ...options, readOnly: true }, around).deliver).toBe('none');
    expect(() => toRunRequest(undefined, ['x'], { ...options, readOnly: true, deliver: 'branch' }, around)).toThrow(
      UsageError,
    );
  });

  test.each([{ model: 'gpt-5' }, { model: 'a b/c' }, { agent: 'codex' }, { approvals: 'queue' }])(
    '%j is refused, not passed over',
    (more) => {
      expect(() => toRunRequest(undefined, ['x'], { ...options, ...more }, around)).toThrow(UsageError);
    },
  );

  test('every status has an exit code', () => {
    const statuses: RunStatus[] = [
      'succeeded',
      'failed',
      'denied',
      'approval_denied',
      'limit',
      'enforcement',
      'outside',
      'cancelled',
      'lost',
    ];
    expect(statuses.map(exitCodeOf)).toEqual([0, 1, 3, 4, 5, 6, 7, 130, 7]);
  });
});

describe('the story of a run', () => {
  const common = {
    time: '2026-01-02T03:04:05.678Z',
    run: '0123456789abcdef',
    principal: { id: 'system:cordon', kind: 'system' },
    action: null,
    cause: null,
  } as const;
  const started = (seq: number, id: number, parent: number, argv: string[]): AuditEvent => ({
    ...common,
    seq,
    type: 'command.started',
    resource: {
      id,
      pid: id,
      parent,
      argv,
      argvCut: false,
      cwd: '/workspace',
      requested: argv[0] ?? '',
      at: common.time,
    },
  });
  const exited = (seq: number, cause: number, code: number): AuditEvent => ({
    ...common,
    seq,
    cause,
    type: 'command.exited',
    resource: { id: 1, path: '/usr/bin/sh', sha256: null },
    outcome: { identity: 'kernel', how: { kind: 'exited', code }, durationMs: 5, at: common.time },
  });
  const denied = (seq: number): AuditEvent => ({
    ...common,
    seq,
    type: 'command.decided',
    action: 'command.execute',
    resource: { requested: 'perl\x1b[2J', path: '/usr/bin/perl', sha256: null },
    decision: {
      effect: 'deny',
      rules: ['.cordon/policy.yaml:3 security.allowed_commands'],
      policyDigest: `sha256:${'0'.repeat(64)}`,
      subjectDigest: `sha256:${'1'.repeat(64)}`,
      reason: 'not listed',
    },
  });

  test('commands are joined with their ends and shown under what started them', async () => {
    const story = await readStory([
      started(1, 1, 0, ['sh', '-c', 'x']),
      started(2, 2, 1, ['cat', 'a b']),
      exited(3, 2, 1),
      exited(4, 1, 0),
    ]);
    expect(story).toMatchObject({ firstSeq: 1, lastSeq: 4 });
    expect(commandLines(story.commands, captured().streams.with({}))).toEqual([
      '       5 ms  ok      sh -c x',
      "       5 ms  exit 1    cat 'a b'",
    ]);
  });

  test('a command without an end is not shown as a success', async () => {
    const story = await readStory([started(1, 1, 0, ['sh'])]);
    expect(commandLines(story.commands, captured().streams.with({})).join()).toContain('no end');
  });

  test('a denial names its rule; the same one again is counted', async () => {
    const story = await readStory([denied(1), denied(2)]);
    const lines = refusals(story, captured().streams.with({}));
    expect(lines).toEqual([
      '',
      'Denied (2)',
      '  ✗ command.execute /usr/bin/perl × 2',
      '    rule .cordon/policy.yaml:3 security.allowed_commands',
    ]);
  });

  test('an event is one line, whatever is in it', () => {
    const event = started(7, 1, 0, ['printf', 'a\nb\x1b[2J', 'x'.repeat(500)]);
    const line = eventLine(event, palette(false), 100);
    expect(line).toContain('command.started');
    for (const character of '\n\x1b') expect(line).not.toContain(character);
    expect(line.length).toBeLessThanOrEqual(100);
  });
});

describe('doctor', () => {
  const control = { name: 'seccomp', what: 'system calls', mechanism: 'filter', required: true } as const;
  test('names the remedy for what is not as it should be, and says whether runs can start', () => {
    const out = captured().streams.with({});
    expect(render([{ ...control, state: 'enforced' }], out).join('\n')).toMatch(/✓ {2}seccomp[\s\S]*Runs can start/);
    const missing = render([{ ...control, state: 'missing', remedy: 'apt-get install x' }], out).join('\n');
    expect(missing).toMatch(
      /✗ {2}seccomp[\s\S]*Remedies[\s\S]*apt-get install x[\s\S]*No run can start on this machine: seccomp/,
    );
    const fallback = render([{ ...control, required: false, state: 'missing' }], out).join('\n');
    expect(fallback).toContain('Runs can start');
  });
});
