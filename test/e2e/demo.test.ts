/** The command that everybody types first, and how a run ends when it is stopped from outside. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const cordon = join(import.meta.dirname, '../../cordon');
const scratch = mkdtempSync(join(tmpdir(), 'cordon-demo-test-'));
const env = { PATH: process.env.PATH ?? '', HOME: scratch, CORDON_HOME: join(scratch, 'home'), TMPDIR: scratch };
afterAll(() => rmSync(scratch, { recursive: true }));

const run = (...args: string[]) => spawnSync(cordon, args, { env, cwd: scratch, encoding: 'utf8' });

describe('cordon demo', () => {
  test('repairs, delivers, denies twice by rule, and the log holds: in a screen and a half', () => {
    const dir = join(scratch, 'invoices');
    const { status, stdout, stderr } = run('demo', '--dir', dir);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const branch = /branch (cordon\/\w{16})/.exec(stdout)?.[1] ?? '';
    expect(stdout).toContain('+    vat = int(net * $3 / 100 + 0.5)');
    expect(stdout).toMatch(/ok +git commit -qam 'Round VAT half up for each line'/);
    expect(stdout).toMatch(/✗ command\.execute \/usr\/bin\/perl\n +rule \.cordon\/policy\.yaml:\d+ forbid/);
    expect(stdout).toMatch(/✗ git\.push refs\/heads\/main .*\n +rule \.cordon\/policy\.yaml:\d+ forbid/);
    expect(stdout).toMatch(/✓ the log holds: \d+ records/);
    expect(`${stderr}${stdout}`.split('\n').length).toBeLessThanOrEqual(62);

    // Judged by git and by the project's own test, not by what Cordon says.
    const git = (...args: string[]) => execFileSync('git', ['-C', dir, ...args], { encoding: 'utf8' }).trim();
    expect(git('diff', '--name-only', `main..${branch}`)).toBe('lib/invoice.awk');
    expect(git('status', '--porcelain')).toBe('');
    expect(git('rev-list', '--count', 'main')).toBe('1');
    expect(spawnSync('sh', [join(dir, 'test/run.sh')]).status).toBe(1);
    git('checkout', '-q', branch);
    expect(spawnSync('sh', [join(dir, 'test/run.sh')]).status).toBe(0);
  });

  test('--json is one document; a folder that holds something is refused', () => {
    const { status, stdout } = run('demo', '--json', '--quiet');
    expect(status).toBe(0);
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({ run: { status: 'succeeded', changedFiles: 1 }, verified: true });
    expect(document.denied.map((denial: { action: string }) => denial.action)).toEqual(['command.execute', 'git.push']);
    const again = run('demo', '--dir', document.repository);
    expect(again.status).toBe(2);
    expect(again.stderr).toContain('is not empty');
  });
});

describe('a run that is stopped from outside', () => {
  const repository = join(scratch, 'repository');
  execFileSync('git', ['init', '-q', repository]);
  execFileSync('git', [
    '-C',
    repository,
    '-c',
    'user.name=t',
    '-c',
    'user.email=t@acme.example',
    'commit',
    '-qm',
    'x',
    '--allow-empty',
  ]);

  /** Seconds that no other sleep on this machine has. */
  const NAP = `${1_000_000 + process.pid}`;

  /** Starts one whose agent says that it is there and then waits, and resolves when it has said so. */
  async function started(mark: string): Promise<ChildProcess> {
    const child = spawn(cordon, ['run', '-w', repository, '--', 'sh', '-c', `echo ${mark}; exec sleep ${NAP}`], {
      env,
    });
    let text = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (chunk) => {
        text += chunk;
        if (text.includes(`│ ${mark}`)) resolve();
      });
      child.on('exit', (code) => reject(new Error(`ended with ${code}: ${text}`)));
    });
    return child;
  }

  const states = () =>
    (JSON.parse(run('runs', 'list', '--json').stdout).runs as { state: string }[]).map((one) => one.state);

  test('Ctrl-C: exit code 130, recorded as cancelled', async () => {
    const child = await started('waiting-one');
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');
    expect(code).toBe(130);
    expect(states()[0]).toBe('cancelled');
  });

  test('cordon runs cancel does the same from elsewhere', async () => {
    const child = await started('waiting-two');
    const { runs } = JSON.parse(run('runs', 'list', '--json', '--limit', '1').stdout);
    expect(run('runs', 'cancel', runs[0].id).status).toBe(0);
    expect(await once(child, 'exit')).toEqual([130, null]);
    expect(states()[0]).toBe('cancelled');
  });

  test('kill -9: its processes are gone, the next start closes it as lost, and the log holds', async () => {
    const child = await started('waiting-three');
    const inside = spawnSync('pgrep', ['-f', `^sleep ${NAP}$`], { encoding: 'utf8' });
    expect(inside.stdout).toMatch(/\d/);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(states()[0]).toBe('lost');
    expect(run('run', '-w', repository, '-q', '--', 'true').status).toBe(0);
    const { stdout, status } = run('audit', 'verify');
    expect({ status, stdout }).toMatchObject({ status: 0 });
    expect(run('audit', 'tail', '--no-follow', '--type', 'run.lost').stdout).toContain('run.lost');
    for (const pid of inside.stdout.trim().split('\n').filter(Boolean)) {
      expect(spawnSync('kill', ['-0', pid]).status).not.toBe(0);
    }
  });
});
