/**
 * Each enforcing part taken away in turn: the run must not start, must end with exit code 6, and must name what is
 * missing. The parts are hidden in a mount namespace of the test's own, so that nothing of Cordon knows of the test.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EnforcementError } from '../../src/base/errors.ts';
import { defaultLimits } from '../../src/policy/limits.ts';
import { planLimits } from '../../src/sandbox/limits.ts';
import { Installation, Project } from '../fakes/project.ts';
import { perl } from './guest.ts';

const root = process.geteuid?.() === 0;
const here = join(import.meta.dirname, '../..');
const main = join(here, 'src/main.ts');
const helper = join(here, 'src/guest/bin', process.arch === 'arm64' ? 'cordon-init-arm64' : 'cordon-init-x86_64');
const installation = new Installation();
let project: Project;

beforeAll(() => {
  project = new Project(join(installation.root, 'project')).write('a', 'x\n').commit();
  execFileSync('chown', ['-R', `${process.geteuid?.()}`, installation.root]);
});
afterAll(() => installation.dispose());

/** Runs an agent that would leave a file, after shell commands as root of a mount namespace. */
function runWithout(preparation: string, own: readonly string[] = ['-m']) {
  const command = [
    process.execPath,
    main,
    'run',
    '--json',
    '-w',
    project.dir,
    '--',
    'sh',
    '-c',
    'echo ran > /workspace/ran; echo agent-was-here',
  ];
  const { status, stdout, stderr } = spawnSync(
    '/usr/bin/unshare',
    [...own, '--', '/bin/sh', '-c', `set -e; ${preparation}\nexec "$@"`, 'x', ...command],
    { env: installation.env, cwd: installation.root, encoding: 'utf8', timeout: 50_000 },
  );
  return { status, stdout, stderr, branches: project.git('branch', '--list', 'cordon/*') };
}

function file(name: string, content: string | Buffer): string {
  const path = join(installation.root, name);
  writeFileSync(path, content, { mode: 0o644 });
  return path;
}

/** A source file of Cordon's with something else in its place. */
function instead(source: string, change: (text: string) => string): string {
  const path = join(here, source);
  const text = readFileSync(path, 'utf8');
  const changed = change(text);
  expect(changed, `${source} has changed`).not.toBe(text);
  return `mount --bind ${file(source.replaceAll('/', '-'), changed)} ${path}`;
}

function expectRefused(result: ReturnType<typeof runWithout>, control: RegExp) {
  expect({ status: result.status, stderr: result.stderr, stdout: result.stdout }).toMatchObject({ status: 6 });
  expect(`${result.stdout}${result.stderr}`).toMatch(control);
  expect(result.stderr).not.toContain('agent-was-here');
  expect(result.branches).toBe('');
}

test.runIf(root)('the control: with everything in place the same run starts and delivers', () => {
  const { status, branches, stderr } = runWithout('true');
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(branches).toContain('cordon/');
  project.git('branch', '-D', ...branches.split('\n').map((line) => line.trim()));
});

describe.runIf(root)('a run is refused', () => {
  test('without bubblewrap', () => {
    expectRefused(runWithout(`mount --bind ${file('none', '')} /usr/bin/bwrap`), /bubblewrap/);
  });

  test('with another program in the place of bubblewrap', () => {
    expectRefused(runWithout('mount --bind /usr/bin/true /usr/bin/bwrap'), /bubblewrap/);
  });

  test('with a helper that is not the one released', () => {
    const bytes = readFileSync(helper);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    const changed = file('helper', bytes);
    chmodSync(changed, 0o755);
    expectRefused(runWithout(`mount --bind ${changed} ${helper}`), /helper|is not the program that was released/);
  });

  test('with a system call filter that the kernel does not take', () => {
    const broken = instead('src/sandbox/seccomp.ts', (text) =>
      text.replace('  return encode(program);', '  return new Uint8Array(64).fill(255);'),
    );
    expectRefused(runWithout(broken), /seccomp|filter/);
  });

  test('with a filter that loads and has no listener', () => {
    const broken = instead('src/sandbox/cell.ts', (text) => text.replace('const LISTENER = 8;', 'const LISTENER = 0;'));
    expectRefused(runWithout(broken), /seccomp|filter|recorder|listener/);
  });

  test('without the recorder', () => {
    const broken = instead('src/sandbox/supervisor.ts', (text) => `throw new Error('no recorder');\n${text}`);
    expectRefused(runWithout(broken), /recorder/);
  });

  test('without user namespaces', () => {
    expectRefused(runWithout('echo 0 > /proc/sys/user/max_user_namespaces', ['-U', '-r', '-m']), /namespaces/);
  });

  test('with a log that cannot be written', () => {
    const audit = join(installation.home, 'audit');
    expectRefused(runWithout(`mount --bind ${audit} ${audit}; mount -o remount,ro,bind ${audit}`), /audit|log/);
  });
});

describe('a run is refused', () => {
  const cordon = () => installation.run(project, 'echo agent-was-here');

  test.each([
    ['keys that others can read', 'keys/audit.key', 0o644, 0o600],
    ['a key that others can write', 'keys/audit.vkey', 0o666, 0o644],
    ['a folder of keys that others can enter', 'keys', 0o711, 0o700],
    ['a log that others can write', 'audit', 0o777, 0o700],
    ['a data folder that others can write', '.', 0o770, 0o700],
  ])('with %s', (_, name, wrong, right) => {
    installation.cordon('runs', 'list'); // makes the data folder
    installation.run(project, 'true', '--deliver', 'none');
    const path = join(installation.home, name);
    chmodSync(path, wrong);
    const { status, stderr, stdout } = cordon();
    chmodSync(path, right);
    expect({ status, stderr }).toMatchObject({ status: 6 });
    expect(stderr).toContain('chmod');
    expect(stdout + stderr).not.toContain('agent-was-here');
  });

  test('with a key that is another', () => {
    const key = join(installation.home, 'keys/audit.key');
    copyFileSync(key, `${key}.kept`);
    const other = new Installation();
    other.run(project, 'true', '--deliver', 'none');
    copyFileSync(join(other.home, 'keys/audit.key'), key);
    const { status, stdout, stderr } = cordon();
    copyFileSync(`${key}.kept`, key);
    execFileSync('rm', [`${key}.kept`]);
    other.dispose();
    expect(status, stderr).toBe(6);
    expect(stderr).toMatch(/checkpoint|key/);
    expect(stdout + stderr).not.toContain('agent-was-here');
  });

  test('where the number of processes cannot be limited by anything', async () => {
    const host = { proc: '/proc', cgroups: null, kernel: '5.10.0-8-amd64', processors: 2, userSystemd: false };
    await expect(planLimits(defaultLimits, host)).rejects.toBeInstanceOf(EnforcementError);
    await expect(planLimits(defaultLimits, host)).rejects.toMatchObject({ control: 'limit.pids', exitCode: 6 });
  });
});

test.runIf(root)('without control groups the fallback is what the record names', () => {
  const { status, stdout } = runWithout('mount -t tmpfs none /sys/fs/cgroup');
  expect(status).toBe(0);
  const { runId } = JSON.parse(stdout) as { runId: string };
  const shown = installation.cordon('audit', 'show', '--run', runId, '--json').stdout;
  expect(shown).toMatch(/limit\.memory[^}]*fallback/);
});

test.runIf(root)('without control groups shared memory counts too', () => {
  const bomb = `open my $f, '<', '/dev/urandom'; for (1 .. 60) { my $a = S('mmap', 0, 8 << 20, 3, 0x21, -1, 0); S('read', fileno($f), $a, 8 << 20) } sleep 45`;
  const command = ['run', '--json', '-w', project.dir, '--memory', '128m', '--disk', '64m', '--', ...perl(bomb)];
  const hidden = 'mount -t tmpfs none /sys/fs/cgroup; exec "$@"';
  const { status } = spawnSync(
    '/usr/bin/unshare',
    ['-m', '--', '/bin/sh', '-c', hidden, 'x', process.execPath, main, ...command],
    {
      env: installation.env,
      cwd: installation.root,
    },
  );
  expect(status).toBe(5);
});
