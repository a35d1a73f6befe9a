/** The verbs that look (`runs`, `audit`, `init`) over one run as the pipeline leaves it: store, log, content, repository. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openContentStore } from '../../src/audit/content.ts';
import { type NewEvent, openAuditLog } from '../../src/audit/log.ts';
import { currentProcess } from '../../src/base/process-identity.ts';
import type { Context } from '../../src/cli/context.ts';
import { OutputStreams } from '../../src/cli/output.ts';
import { execute } from '../../src/cli/program.ts';
import { prepareHome } from '../../src/config/home.ts';
import { resolvePaths } from '../../src/config/paths.ts';
import { openStore } from '../../src/store/index.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cordon-look-'));
const repository = join(scratch, 'repository');
const env = { CORDON_HOME: join(scratch, 'home'), HOME: scratch };
const paths = resolvePaths(env);
const runId = '0123456789abcdef';
const digest = `sha256:${'a'.repeat(64)}`;
let commits: readonly [string, string];

const git = (...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@acme.example', '-C', repository, ...args], {
    encoding: 'utf8',
  }).trim();

beforeAll(async () => {
  execFileSync('git', ['init', '-q', '-b', 'main', repository]);
  writeFileSync(join(repository, 'a.txt'), 'one\n');
  git('add', '-A');
  git('commit', '-qm', 'first');
  writeFileSync(join(repository, 'a.txt'), 'one\n\x1b]0;pwned\x07two\n');
  git('commit', '-qam', 'second');
  commits = [git('rev-parse', 'HEAD~'), git('rev-parse', 'HEAD')];
  await prepareHome(paths);
  await recordRun();
});
afterAll(() => rmSync(scratch, { recursive: true }));

async function recordRun(): Promise<void> {
  const content = openContentStore({ dir: join(paths.audit, 'content'), keys: paths.keys });
  const lines = [
    { t: 1, s: 'out', d: 'hello \x1b[2J\nwo' },
    { t: 2, s: 'err', d: 'oops\n' },
    { t: 3, s: 'out', b: Buffer.from('rld').toString('base64') },
  ];
  const output = await content.put(
    runId,
    lines.map((line) => Buffer.from(`${JSON.stringify(line)}\n`)),
    {
      mediaType: 'text/plain',
      maxBytes: 1_000,
    },
  );
  const log = await openAuditLog({ dir: paths.audit, keys: paths.keys });
  const common = { run: runId, principal: { id: 'system:cordon', kind: 'system' }, action: null } as const;
  const at = '2026-01-02T03:04:05.678Z';
  const [base] = commits;
  const append = async (event: NewEvent) => (await log.append(event)).seq;
  const started = await append({
    ...common,
    type: 'run.started',
    resource: {
      base,
      policyDigest: digest,
      toolboxDigest: null,
      driver: 'bubblewrap',
      controls: [{ name: 'seccomp', state: 'enforced', mechanism: 'filter' }],
    },
  });
  const command = await append({
    ...common,
    type: 'command.started',
    resource: {
      id: 1,
      pid: 2,
      parent: 0,
      argv: ['sh', '-c', 'echo "hi"'],
      argvCut: false,
      cwd: '/workspace',
      requested: 'sh',
      at,
    },
  });
  await append({
    ...common,
    type: 'command.exited',
    cause: command,
    resource: { id: 1, path: '/usr/bin/dash', sha256: 'b'.repeat(64) },
    outcome: { identity: 'kernel', how: { kind: 'exited', code: 3 }, durationMs: 12, at },
  });
  await append({
    ...common,
    type: 'command.decided',
    action: 'command.execute',
    resource: { requested: 'perl', path: '/usr/bin/perl', sha256: null },
    decision: {
      effect: 'deny',
      rules: ['.cordon/policy.yaml:3 security.allowed_commands'],
      policyDigest: digest,
      subjectDigest: digest,
      reason: 'not listed',
    },
  });
  await append({
    ...common,
    type: 'file.changed',
    resource: { path: 'a.txt', change: 'modified', kind: 'file', before: null, after: null },
  });
  await append({
    ...common,
    type: 'output.kept',
    resource: { stream: 'both', bytes: 17, cut: false },
    content: output,
  });
  const counts = {
    commands: 1,
    changedFiles: 1,
    outputBytes: 17,
    recordsLost: 0,
    decisions: { permit: 1, deny: 1, ask: 0 },
  };
  const last = await append({
    ...common,
    type: 'run.stopped',
    cause: started,
    resource: {},
    outcome: { status: 'succeeded', reason: 'the command ended with 0', head: commits[1], branch: 'cordon/x', counts },
  });
  await log.close();
  await storeRun(started, last);
}

async function storeRun(firstAuditSeq: number, lastAuditSeq: number): Promise<void> {
  const store = await openStore('sqlite', { path: paths.database });
  const request = {
    task: 'greet',
    agent: { kind: 'command', argv: ['sh', '-c', 'echo "hi"'] },
    grants: { net: [], commands: [], secrets: [] },
  };
  const result = { stopReason: 'the command ended with 0', usage: { wallMs: 1_234, outputBytes: 17 } };
  const [base, head] = commits;
  const owner = currentProcess();
  await store.createRun({
    id: runId,
    created: 1_700_000_000_000,
    state: 'delivering',
    requester: 'user:ann',
    repository,
    request,
    owner,
    base,
    policyDigest: digest,
    firstAuditSeq,
  });
  await store.updateRun(runId, 'delivering', {
    at: 1_700_000_001_000,
    state: 'succeeded',
    head,
    branch: 'cordon/x',
    result,
    lastAuditSeq,
  });
  await store.createRun({
    id: '0zzzzzzzzzzzzzzz',
    created: 1,
    state: 'running',
    requester: 'user:ann',
    repository,
    request,
    owner: { ...owner, startTime: '1' },
  });
  await store.close();
}

async function cordon(...args: string[]): Promise<{ out: string; err: string; exitCode: number }> {
  const [stdout, stderr] = [new PassThrough({ highWaterMark: 1 << 24 }), new PassThrough()];
  const context: Context = {
    env,
    cwd: repository,
    signal: new AbortController().signal,
    interactive: false,
    streams: new OutputStreams(stdout, stderr, env),
    rest: [],
    exitCode: 0,
  };
  await execute(args, '0.0.0', context);
  return { out: String(stdout.read() ?? ''), err: String(stderr.read() ?? ''), exitCode: context.exitCode };
}

describe('runs', () => {
  test('list: newest first; a run whose process is gone is shown as lost', async () => {
    const { out } = await cordon('runs', 'list');
    const [, lost = '', succeeded = ''] = out.split('\n');
    expect(lost).toMatch(/^0zzzzzzzzzzzzzzz .* lost/);
    expect(succeeded).toMatch(/^0123456789abcdef {2}2023-11-14 22:13 {2}succeeded {2}cordon\/x {2}greet$/);
    expect(JSON.parse((await cordon('runs', 'list', '--json', '--limit', '1')).out)).toMatchObject({
      runs: [{ state: 'lost' }],
      next: '0zzzzzzzzzzzzzzz',
    });
  });

  test('show answers who, what, why, by which rule, enforced how', async () => {
    const { out } = await cordon('runs', 'show', '0123');
    for (const text of [
      'succeeded the command ended with 0',
      'user:ann',
      `${repository} at ${commits[0].slice(0, 12)}`,
      'greet',
      'none granted',
      `branch cordon/x at ${commits[1].slice(0, 12)}`,
      '✗ command.execute /usr/bin/perl',
      'rule .cordon/policy.yaml:3 security.allowed_commands',
      `exit 3  sh -c 'echo "hi"'`,
      '~ a.txt',
      'seccomp',
      'events 0 to 6',
    ]) {
      expect(out).toContain(text);
    }
    const json = JSON.parse((await cordon('runs', 'show', '0123', '--json')).out);
    expect(json).toMatchObject({
      id: runId,
      story: {
        commands: [{ argv: ['sh', '-c', 'echo "hi"'], how: { code: 3 } }],
        denied: [{ action: 'command.execute' }],
      },
    });
  });

  test('logs: escaped by default, the very bytes with --raw', async () => {
    expect((await cordon('runs', 'logs', '0123')).out).toBe('hello \\x1b[2J\noops\nworld\n');
    expect((await cordon('runs', 'logs', '0123', '--raw', '--stream', 'stdout')).out).toBe('hello \x1b[2J\nworld');
    const pieces = (await cordon('runs', 'logs', '0123', '--json')).out.trim().split('\n');
    expect(JSON.parse(pieces[1] ?? '')).toEqual({ time: 2, stream: 'stderr', text: 'oops\n' });
  });

  test('diff: git’s own', async () => {
    expect((await cordon('runs', 'diff', '0123')).out).toContain('+\x1b]0;pwned\x07two');
    expect((await cordon('runs', 'diff', '0123', '--stat')).out).toContain('1 file changed');
  });

  test('a run that has ended cannot be cancelled', async () => {
    await expect(cordon('runs', 'cancel', '0123')).rejects.toThrow('has ended: succeeded');
    await expect(cordon('runs', 'cancel', '0zzz')).rejects.toThrow('has ended: lost');
  });
});

describe('audit', () => {
  test('tail and show', async () => {
    const { out } = await cordon('audit', 'tail', '-n', '2');
    expect(out.split('\n')[1]).toContain('succeeded: the command ended with 0');
    expect((await cordon('audit', 'show', '3')).out).toMatch(/decision\.effect +deny/);
    const lines = (await cordon('audit', 'show', '--run', '0123', '--type', 'command.started', '--json')).out
      .trim()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line).seq)).toEqual([1]);
    await expect(cordon('audit', 'show', '99')).rejects.toThrow('its last is 6');
    expect((await cordon('audit', 'show', '5', '--content')).out).toContain('"d":"oops\\n"');
    await expect(cordon('audit', 'show', '3', '--content')).rejects.toThrow('nothing is kept beside event 3');
    await expect(cordon('audit', 'show', '--content')).rejects.toThrow('name it by its number');
    await expect(cordon('audit', 'show', '5', '--content', '--json')).rejects.toThrow('never as JSON');
    await expect(cordon('audit', 'show', '--run', '0123', '--type', 'nonsense')).rejects.toThrow('no type of event');
  });

  test('verify holds; an export and a proof hold with the public key alone; a changed export does not', async () => {
    expect(await cordon('audit', 'verify')).toMatchObject({ exitCode: 0, out: expect.stringContaining('7 records') });
    const key = readFileSync(join(paths.keys, 'audit.vkey'), 'utf8').trim();
    const file = join(scratch, 'run.export');
    await cordon('audit', 'export', file, '--run', '0123');
    expect((await cordon('audit', 'verify', file, '--key', key)).exitCode).toBe(0);
    await cordon('audit', 'prove', '3', '--output', join(scratch, 'proof.json'));
    expect((await cordon('audit', 'verify', join(scratch, 'proof.json'), '--key', key)).out).toContain(
      'the proof holds',
    );
    writeFileSync(file, readFileSync(file, 'utf8').replace('exited', 'Exited').replace('perl', 'ruby'));
    const changed = await cordon('audit', 'verify', file, '--key', key, '--json');
    expect(changed.exitCode).toBe(1);
    expect(JSON.parse(changed.out).ok).toBe(false);
    await expect(cordon('audit', 'export', file)).rejects.toThrow('already');
    const nowhere = join(scratch, 'nowhere/log');
    for (const form of [[], ['--run', '0123'], ['--folder']])
      await expect(cordon('audit', 'export', nowhere, ...form)).rejects.toThrow('could not be written');
    await expect(cordon('audit', 'verify', paths.home)).rejects.toMatchObject({
      remedy: `cordon audit verify ${paths.audit}`,
    });
    expect((await cordon('audit', 'tail', '--no-follow', '-n', '1')).out).toContain('audit.exported');
  });
});

describe('a copy that nothing can be written to', () => {
  const copy = join(scratch, 'copy');
  const key = () => readFileSync(join(paths.keys, 'audit.vkey'), 'utf8').trim();
  beforeEach(() => void execFileSync('cp', ['-a', paths.home, copy]));
  afterEach(() => {
    execFileSync('chmod', ['-R', 'u+w', copy]);
    rmSync(copy, { recursive: true });
  });

  /** As root for whom modes mean nothing, on a read-only mount. */
  function typed(...args: string[]) {
    const root = process.geteuid?.() === 0;
    const mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';
    const program = [join(import.meta.dirname, '../../cordon'), ...args];
    if (!root) execFileSync('chmod', ['-R', 'a-w', copy]);
    const [file = '', ...rest] = root ? ['unshare', '-m', 'sh', '-c', mount, copy, ...program] : program;
    const surroundings = { PATH: process.env.PATH ?? '', HOME: scratch, CORDON_HOME: copy };
    const { status, stdout, stderr } = spawnSync(file, rest, { env: surroundings, cwd: scratch, encoding: 'utf8' });
    return { status, stdout, stderr };
  }

  test.each([
    [['audit', 'verify'], 'the log holds'],
    [['runs', 'list'], 'succeeded'],
    [['runs', 'show', '0123'], 'the command ended with 0'],
    [['audit', 'show', '--run', '0123'], 'command.started'],
  ])('%j', (args, text) => {
    expect(typed(...args)).toMatchObject({ status: 0, stdout: expect.stringContaining(text), stderr: '' });
  });

  test('of the log alone: verified with the key, and what is not known is said', () => {
    for (const part of ['cordon.db', 'runs', 'mirrors', 'keys'])
      rmSync(join(copy, part), { recursive: true, force: true });
    const { status, stdout, stderr } = typed('audit', 'verify', '--key', key());
    expect(stderr).toContain('which runs go on is not known');
    expect(stdout).toContain('the log holds');
    expect(status).toBe(0);
  });

  test('one that was changed does not hold', () => {
    const [segment = ''] = readdirSync(join(copy, 'audit/journal'));
    const file = join(copy, 'audit/journal', segment);
    writeFileSync(file, readFileSync(file, 'latin1').replace('"perl"', '"ruby"'), 'latin1');
    expect(typed('audit', 'verify')).toMatchObject({ status: 1, stdout: expect.stringContaining('does not hold') });
  });
});

describe('init', () => {
  test('writes a policy that says what it does, once', async () => {
    const { out } = await cordon('init');
    expect(out).toContain('.cordon/policy.yaml');
    expect(readFileSync(join(repository, '.cordon/policy.yaml'), 'utf8')).toContain('version: 1');
    await expect(cordon('init')).rejects.toThrow('already');
    await expect(cordon('init', scratch)).rejects.toThrow('not the top folder');
  });
});
