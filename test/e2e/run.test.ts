/** `cordon run` as it is typed, in repositories of every kind; judged by git and by the file system. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { statusField } from '../attack/host.ts';
import { differences, Installation, Project, type Running } from '../fakes/project.ts';
import { descendants, processesWith, wake } from '../fakes/sandbox-scene.ts';

const site = new Installation();
afterAll(() => site.dispose());

let count = 0;
function project(
  files: Readonly<Record<string, string>> = { 'a.txt': 'one\n' },
  initArgs: readonly string[] = [],
): Project {
  const made = new Project(join(site.root, `repository-${++count}`), initArgs);
  for (const [path, content] of Object.entries(files)) made.write(path, content);
  return made.commit('first');
}

/** The one branch a run made. */
const delivered = (repository: Project) =>
  repository
    .git('for-each-ref', '--format=%(refname:short)', 'refs/heads/')
    .split('\n')
    .filter((ref) => ref !== 'main');

const isRoot = process.geteuid?.() === 0;

/** Stops the program of that name that this one starts; null where it ends unseen. */
async function stopped({ child, done }: Running, name: string): Promise<number | null> {
  let over = false;
  void done.then(() => {
    over = true;
  });
  for (; !over; await new Promise((resolve) => setTimeout(resolve, 1))) {
    const [own] = processesWith(name).filter((pid) => descendants(child.pid as number).includes(pid));
    if (own === undefined) continue;
    try {
      process.kill(own, 'SIGSTOP');
      for (;;) {
        // One that was on its way out when the signal came is never seen stopped.
        const state = statusField(own, 'State');
        if (/^T/.test(state)) return own;
        if (state === '' || /^[ZX]/.test(state)) break;
      }
    } catch {} // gone by now
  }
  return null;
}

describe('a change is delivered', () => {
  afterEach(() => {
    expect(site.verify()).toEqual([]);
    expect(site.leftovers()).toEqual([]);
  });

  test('as a new branch; working tree, index, configuration and hooks stay as they are, and none of it runs', () => {
    const user = project({ 'a.txt': 'one\n', 'dir/b.txt': 'b\n', '.gitattributes': '* filter=mark diff=mark\n' });
    const marks = join(site.root, 'marks');
    mkdirSync(marks);
    const hook = (name: string) => `#!/bin/sh\ntouch ${marks}/${name}\n`;
    const hooks =
      'applypatch-msg pre-commit prepare-commit-msg post-commit post-checkout post-merge pre-push pre-receive update proc-receive post-receive post-update reference-transaction push-to-checkout pre-auto-gc post-index-change fsmonitor-watchman';
    for (const name of hooks.split(' ')) user.write(`.git/hooks/${name}`, hook(name), 0o755);
    for (const name of ['fsmonitor', 'external', 'pager', 'gpg', 'ssh', 'clean', 'editor', 'alternates'])
      user.write(`.git/${name}.sh`, `${hook(name)}cat\n`, 0o755);
    const settings = {
      'core.fsmonitor': 'fsmonitor',
      'diff.external': 'external',
      'diff.mark.textconv': 'external',
      'core.pager': 'pager',
      'gpg.program': 'gpg',
      'core.sshCommand': 'ssh',
      'filter.mark.clean': 'clean',
      'filter.mark.smudge': 'clean',
      'core.editor': 'editor',
      'core.alternateRefsCommand': 'alternates',
    };
    for (const [key, file] of Object.entries(settings)) user.git('config', key, `${user.dir}/.git/${file}.sh`);
    user.git('config', 'commit.gpgSign', 'true');
    // Work in progress: staged, unstaged, untracked, and a stash of nobody's business.
    user.write('staged.txt', 'staged\n').write('a.txt', 'unstaged\n').write('untracked.txt', 'u\n');
    user.git(
      '-c',
      'filter.mark.clean=cat',
      '-c',
      'core.fsmonitor=false',
      '-c',
      'core.hooksPath=/dev/null',
      'add',
      'staged.txt',
    );
    rmSync(marks, { recursive: true });
    mkdirSync(marks);

    const before = user.snapshot();
    const { status, result, stderr } = site.run(
      user,
      'cat a.txt; ls; echo two >> dir/b.txt; mkdir new; echo n > new/file',
    );
    const after = user.snapshot();
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(readdirSync(marks)).toEqual([]);
    const branch = `cordon/${result.runId}`;
    const unexpected = differences(before, after).filter(
      (line) =>
        !/^\+ \.git\/(objects\/|refs\/(heads|attestations)\/cordon\/|refs\/attestations\/$|logs\/refs\/heads\/cordon\/)/.test(
          line,
        ),
    );
    expect(unexpected).toEqual([]);
    expect(stderr).toContain('│ one\n'); // the base commit, not the working tree
    expect(stderr).not.toContain('│ staged.txt');
    expect(stderr).toContain('not part of the run');

    const quiet = ['-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false', '-c', 'filter.mark.clean=cat'];
    expect(user.git(...quiet, 'diff-tree', '-r', '--name-status', 'main', branch)).toBe('M\tdir/b.txt\nA\tnew/file');
    expect(user.git(...quiet, 'fsck', '--strict')).not.toMatch(/error|missing/);
    expect(user.git(...quiet, 'log', '-1', '--format=%B', branch)).toContain(`Cordon-Run: ${result.runId}`);

    // The marks work: the same repository, used by plain git.
    const copy = join(site.root, 'copy');
    cpSync(user.dir, copy, { recursive: true });
    spawnSync('git', ['-c', 'safe.directory=*', '-C', copy, 'status']);
    spawnSync('git', ['-c', 'safe.directory=*', '-C', copy, 'branch', 'x']);
    expect(readdirSync(marks)).toEqual(expect.arrayContaining(['fsmonitor', 'reference-transaction']));
  });

  test('a policy that is not committed does not count, and that is said before anything else', () => {
    const user = project();
    const first = site.run(user, 'true').stderr.split('\n')[0];
    expect(first).not.toContain('policy');
    user.write('.cordon/policy.yml', 'version: 1\n');
    expect(site.run(user, 'true').stderr).toMatch(/^· note: .*policy\.yml does not count.*: rename it/);
    const opened = 'version: 1\nsecurity: {allowed_commands: [/usr/bin/sh]}\n';
    user.write('.cordon/policy.yaml', opened);
    expect(site.run(user, 'true').stderr).toMatch(/^· note: .*policy\.yaml is not committed and does not count/);
    expect(site.run(user, 'true').stderr).toContain(`--policy ${join(user.dir, '.cordon/policy.yaml')})`);
    expect(site.run(user, 'true', '--policy', join(user.dir, '.cordon/policy.yaml')).stderr).not.toContain(
      'not committed',
    );
    user.commit('a policy');
    expect(site.run(user, 'true').stderr).not.toContain('policy.yaml');
    user.write('.cordon/policy.yaml', `${opened}limits: {pids: 64}\n`);
    const changed = `policy.yaml was changed since, and the run goes by that of commit ${user.git('rev-parse', 'main').slice(0, 12)}`;
    expect(site.run(user, 'true').stderr).toContain(changed);
    expect(site.run(user, 'true', '--quiet').stderr).not.toContain(changed);
    rmSync(join(user.dir, '.cordon'), { recursive: true });
    const absent = site.run(user, 'true').stderr.split('\n')[0];
    expect(absent).toMatch(/policy\.yaml is not in the working tree, and the run goes by that of commit [0-9a-f]{12}$/);
  });

  test('a program that is not on the list: what to add', () => {
    const user = project({ '.cordon/policy.yaml': 'version: 1\nsecurity: {allowed_commands: [/usr/bin/sh]}\n' });
    const { status, stdout } = site.cordon('run', '-w', user.dir, '--', 'env');
    expect(status).toBe(1);
    expect(stdout).toMatch(/programs that \.cordon\/policy\.yaml lists .*--allow-command \/usr\/bin\/env/);
  });

  test('--json ends with one object of the documented shape', () => {
    const user = project();
    const { stdout, result } = site.run(user, 'echo two > a.txt; echo said');
    expect(stdout.trimEnd().split('\n').length).toBeGreaterThan(0);
    const promised =
      'runId status stopReason base head branch changedFiles commands decisions usage policyDigest auditCheckpoint attestation pullRequest';
    expect(Object.keys(result)).toEqual(expect.arrayContaining(promised.split(' ')));
    expect(result).toMatchObject({
      runId: expect.stringMatching(/^[0-9a-z]{16}$/),
      status: 'succeeded',
      base: user.git('rev-parse', 'main'),
      head: user.git('rev-parse', `cordon/${result.runId}`),
      branch: `cordon/${result.runId}`,
      changedFiles: 1,
      decisions: { permit: expect.any(Number), deny: 0, ask: 0 },
      policyDigest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      auditCheckpoint: expect.stringContaining('\n\n— '),
      attestation: {
        ref: `refs/attestations/cordon/${result.head}`,
        digest: expect.stringMatching(/^sha256:/),
        logIndex: expect.any(Number),
        file: expect.stringMatching(/proof\.json$/),
      },
      pullRequest: null,
    });
    expect(result.commands).toBeGreaterThan(0);
    expect(result.usage).toMatchObject({ outputBytes: 5 });
  });

  test('the agent’s own commits, with its author, and what it left uncommitted on top', () => {
    const user = project();
    const script = `git config user.name Robot; git config user.email robot@acme.example
      echo 1 > one; git add one; git commit -qm 'by the agent'; echo 2 > two; chmod +x a.txt`;
    const { status, result } = site.run(user, script);
    expect(status).toBe(0);
    const log = user.git('log', '--format=%an|%s', `main..${result.branch}`).split('\n');
    expect(log).toHaveLength(2);
    expect(log[1]).toBe('Robot|by the agent');
    expect(user.git('diff', '--name-only', 'main', `${result.branch}`)).toBe('a.txt\none\ntwo');
    expect(user.git('ls-tree', `${result.branch}`, 'a.txt')).toMatch(/^100755/);
  });

  test('a mode alone is a change', () => {
    const user = project();
    const { status, result } = site.run(user, 'chmod +x a.txt');
    expect(status).toBe(0);
    expect(result).toMatchObject({ changedFiles: 1, branch: expect.any(String) });
  });

  test('hooks and settings the agent plants in its repository run nowhere', () => {
    const user = project();
    const script = `for h in pre-commit commit-msg post-commit pre-push reference-transaction post-index-change; do
        printf '#!/bin/sh\\necho $0 >> /workspace/ran; exit 1\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done
      git config core.fsmonitor /workspace/.git/hooks/pre-commit
      git config core.hooksPath /workspace/.git/hooks
      git config commit.gpgSign true; git config gpg.program /workspace/.git/hooks/pre-commit
      git config core.editor /workspace/.git/hooks/pre-commit
      echo '* filter=evil' > .git/info/attributes
      git config filter.evil.clean 'sh -c "echo clean >> /workspace/ran; cat"'
      echo two > b.txt`;
    const { status, result, stderr } = site.run(user, script);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(user.git('diff', '--name-only', 'main', `${result.branch}`)).toBe('b.txt');
    const ran = site.cordon('runs', 'commands', result.runId, '--json').stdout;
    expect(ran.split('\n').filter((line) => line.includes('"requested":"/workspace/.git/hooks'))).toEqual([]);
  });

  test('no change, no branch', () => {
    const user = project();
    const before = user.snapshot();
    const { status, result } = site.run(user, 'cat a.txt; mkdir -p x; rmdir x; touch a.txt');
    expect(status).toBe(0);
    expect(result).toMatchObject({ status: 'succeeded', branch: null, head: null, changedFiles: 0 });
    expect(differences(before, user.snapshot())).toEqual([]);
  });

  test('files of every kind, in a repository with odd names', () => {
    const user = project({ 'a.txt': 'one\n', 'line\nbreak': 'x\n', '-n': 'x\n', 'ü ': 'x\n', '"q"\\': 'x\n' });
    user.write(Buffer.from('bad\xff', 'latin1'), 'bytes\n').commit('odd');
    const script = `cat "$(printf 'bad\\377')"; echo more >> 'ü '; mv -- -n --moved; : > empty
      ln -s a.txt link; printf '\\0\\1' > binary`;
    const { status, result, stderr } = site.run(user, script);
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('│ bytes') });
    const args = ['-c', 'core.quotePath=true', 'diff', '--name-status', '--no-renames', 'main', `${result.branch}`];
    expect(
      user
        .git(...args)
        .split('\n')
        .sort(),
    ).toEqual(['A\t--moved', 'A\tbinary', 'A\tempty', 'A\tlink', 'D\t-n', 'M\t"\\303\\274 "'].sort());
    expect(site.cordon('runs', 'show', result.runId).status).toBe(0);
    // A name that no screen shows as it is can stay as it is, and not be delivered; that is said beforehand.
    expect(stderr).toContain('2 file names have control characters or bytes that are not UTF-8');
    for (const change of ['echo y > "$(printf \'new\\nline\')"', 'echo y >> "$(printf \'bad\\377\')"', 'rm line*']) {
      const odd = site.run(user, change);
      expect({ change, status: odd.status }).toEqual({ change, status: 3 });
      expect(odd.result.stopReason).toMatch(/its name (is not UTF-8|has a control character)/);
    }
  });

  test('to the branch that was named; one that exists is refused before anything starts', () => {
    const user = project();
    expect(site.run(user, 'echo two > a.txt', '--branch', 'cordon/one').result).toMatchObject({ branch: 'cordon/one' });
    const before = user.snapshot();
    for (const name of ['cordon/one', 'main', 'cordon', 'cordon/one/deeper']) {
      const { status, stderr } = site.run(user, 'echo started; echo three > a.txt', '--branch', name);
      expect({ name, status }).toEqual({ name, status: 2 });
      expect(stderr).toContain('--branch');
      expect(stderr).not.toContain('│ started');
    }
    for (const name of ['a..b', '-x', 'x.lock', 'a b', '../../hooks/x', 'HEAD', '@{1}']) {
      const { status } = site.run(user, 'echo three > a.txt', `--branch=${name}`);
      expect({ name, status }).toEqual({ name, status: 2 });
    }
    // Nor is it named to git inside, where nothing makes it.
    for (const deliver of ['patch', 'none']) {
      const args = ['--deliver', deliver, '--branch', 'a"b'];
      expect(site.run(user, 'echo started', ...args)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('cannot be a branch'),
      });
    }
    expect(differences(before, user.snapshot())).toEqual([]);
  });

  test('several runs at once on one repository, each its own branch', async () => {
    const user = project();
    const runs = await Promise.all(
      Array.from({ length: 4 }, (_, i) => site.start(user, `sleep 0.2; echo ${i} > n`).done),
    );
    expect(runs.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
    expect(delivered(user).sort()).toEqual(runs.map(({ result }) => `cordon/${result.runId}`).sort());
    for (const [i, { result }] of runs.entries()) expect(user.git('show', `${result.branch}:n`)).toBe(`${i}`);
  });

  test('two runs for one branch: one gets it, the other says so', async () => {
    const user = project();
    // Both have begun before either is done: one that begins later is told that the branch is there.
    const nap = `7${process.pid}`;
    const both = [1, 2].map((i) => site.start(user, `sleep ${nap}; echo ${i} > n`, '--branch', 'cordon/same').done);
    await wake(nap, 2);
    const runs = await Promise.all(both);
    expect(runs.map(({ status }) => status).sort()).toEqual([0, 7]);
    const winner = runs.findIndex(({ status }) => status === 0);
    expect(user.git('show', 'cordon/same:n')).toBe(`${winner + 1}`);
    expect(user.git('fsck', '--strict', '--no-dangling')).toBe('');
  });

  test('as a patch, or not at all', () => {
    const user = project();
    const before = user.snapshot();
    const patch = site.run(user, 'echo two > a.txt', '--deliver', 'patch');
    expect(patch).toMatchObject({ status: 0, result: { branch: null, changedFiles: 1 } });
    const { artifacts } = JSON.parse(site.cordon('runs', 'artifacts', patch.result.runId, '--json').stdout);
    expect(artifacts).toMatchObject([
      { path: expect.stringMatching(/\.patch$/), bytes: expect.any(Number) },
      { path: expect.stringMatching(/proof\.json$/), bytes: expect.any(Number) },
    ]);
    const none = site.run(user, 'echo two > a.txt', '--deliver', 'none');
    expect(none).toMatchObject({ status: 0, result: { branch: null, head: null, changedFiles: 1 } });
    const analysis = site.run(
      user,
      'echo two > a.txt; git add -A; git commit -qm x; git push -q origin HEAD:refs/heads/x && echo pushed',
      '--read-only',
    );
    expect(analysis.result).toMatchObject({ branch: null, head: null });
    expect(analysis.stderr).not.toContain('│ pushed');
    expect(differences(before, user.snapshot())).toEqual([]);
    // The patch applies to what it was made from.
    execFileSync('git', ['-c', 'safe.directory=*', '-C', user.dir, 'apply', '--check', artifacts[0].path]);
  });

  test('--path: only that is there, and only that can change', () => {
    const user = project({
      'billing/a.txt': 'a\n',
      'billing/deep/b.txt': 'b\n',
      'other/secret.txt': 's\n',
      'top.txt': 't\n',
    });
    const good = site.run(
      user,
      'find . -path ./.git -prune -o -type f -print | sort; echo c > billing/c.txt',
      '--path',
      'billing/**',
    );
    expect(good.status).toBe(0);
    expect(good.stderr).toContain('│ ./billing/a.txt');
    expect(good.stderr).not.toContain('secret');
    expect(user.git('diff', '--name-status', 'main', `${good.result.branch}`)).toBe('A\tbilling/c.txt');
    const bad = site.run(
      user,
      'mkdir -p other; echo x > other/new.txt; git add --sparse -A; git commit -qm x',
      '--path',
      'billing/**',
    );
    expect(bad.status).toBe(3);
    expect(bad.stdout).toContain('other/new.txt');
  });

  test.runIf(isRoot)('as an ordinary user', () => {
    const own = new Installation(54_321);
    onTestFinished(() => own.dispose());
    const user = new Project(join(own.root, 'repository')).write('a.txt', 'one\n').commit();
    execFileSync('chown', ['-R', '54321:54321', user.dir]);
    const { status, result, stderr } = own.run(user, 'id -u; echo two > a.txt');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(user.git('show', `${result.branch}:a.txt`)).toBe('two');
    expect(own.verify()).toEqual([]);
  });

  test.runIf(isRoot)('by root into another’s repository: what is written belongs to its owner', () => {
    const user = project();
    execFileSync('chown', ['-R', '54321:54321', user.dir]);
    chmodSync(site.root, 0o711); // its owner can get there
    const { status } = site.run(user, 'echo two > a.txt');
    expect(status).toBe(0);
    const strange = execFileSync('find', [user.dir, '!', '-uid', '54321'], { encoding: 'utf8' });
    expect(strange).toBe('');
  });
});

describe('a run that does not succeed delivers nothing and says why by its exit code', () => {
  afterEach(() => {
    expect(site.verify()).toEqual([]);
    expect(site.leftovers()).toEqual([]);
  });

  test('1: the command failed, was killed, or was not there', () => {
    const user = project();
    for (const script of ['echo two > a.txt; exit 7', 'echo two > a.txt; kill -9 $$']) {
      const { status, result } = site.run(user, script);
      expect({ status, result }).toMatchObject({ status: 1, result: { status: 'failed', branch: null, head: null } });
    }
    const missing = site.cordon('run', '--json', '-w', user.dir, '--', '/no/such/program');
    expect(missing).toMatchObject({ status: 1, result: { status: 'failed' } });
    expect(missing.result.stopReason).toContain('/no/such/program');
    expect(delivered(user)).toEqual([]);
  });

  test('2: the workspace or a document is wrong, and nothing started', () => {
    const runs = () =>
      JSON.parse(site.cordon('runs', 'list', '--json', '--limit', '1000').stdout).runs.length as number;
    const before = runs();
    const bare = join(site.root, 'bare.git');
    execFileSync('git', ['init', '-q', '--bare', bare]);
    const empty = join(site.root, 'empty');
    execFileSync('git', ['init', '-q', empty]);
    const plain = join(site.root, 'plain');
    mkdirSync(plain);
    for (const [dir, says] of [
      [bare, 'bare'],
      [empty, 'no commit'],
      [plain, 'not in a git repository'],
      ['/no/such', 'no folder'],
    ] as const) {
      const { status, stderr } = site.cordon('run', '-w', dir, '--', 'true');
      expect({ dir, status }).toEqual({ dir, status: 2 });
      expect(stderr).toContain(says);
    }
    const user = project();
    expect(site.run(user, 'true', '--base', 'no-such-ref')).toMatchObject({ status: 2 });
    for (const [yaml, says] of [
      ['version: 1\nsecurity: [', 'policy.yaml:'],
      ['version: 1\nunknown_key: 1\n', 'unknown_key'],
      ['version: 1\nversion: 1\n', 'second time'],
      ['version: 1\nsecurity: {allowed_network_hosts: ["*"]}\n', '*'],
      ['version: 1\nlimits: {memory: lots}\n', 'memory'],
    ] as const) {
      const wrong = project({ '.cordon/policy.yaml': yaml });
      const { status, stderr } = site.run(wrong, 'true');
      expect({ yaml, status }).toEqual({ yaml, status: 2 });
      expect(stderr).toContain(says);
    }
    expect(site.cordon('run', '-w', user.dir)).toMatchObject({ status: 2 });
    expect(site.cordon('run', '-w', user.dir, '--timeout', 'soon', '--', 'true')).toMatchObject({ status: 2 });
    expect(site.cordon('run', '-w', user.dir, '--no-such-option', '--', 'true')).toMatchObject({ status: 2 });
    expect(runs()).toBe(before);
  });

  test('3: the policy forbids the run, the branch, or what changed', () => {
    const start = project({
      '.cordon/policy.yaml': 'version: 1\nrules: |\n  forbid (principal, action == Action::"run.start", resource);\n',
    });
    const refused = site.run(start, 'echo ran');
    expect(refused).toMatchObject({ status: 3, result: { status: 'denied', commands: 0 } });
    expect(refused.result.stopReason).toContain('policy.yaml:');
    const cases = [
      ['git: {push: {branches: ["team/**"]}}', 'echo two > a.txt'],
      ['git: {push: {max_changed_lines: 3}}', 'seq 9 > a.txt'],
      ['git: {push: {max_file_size: 1kb}}', 'head -c 5000 /dev/urandom > big'],
      ['filesystem: {write: ["src/**"]}', 'echo two > a.txt'],
    ] as const;
    for (const [rule, script] of cases) {
      const user = project({ 'a.txt': 'one\n', '.cordon/policy.yaml': `version: 1\n${rule}\n` });
      const { status, result } = site.run(user, script);
      expect({ rule, status }).toEqual({ rule, status: 3 });
      expect(result).toMatchObject({ status: 'denied', branch: null, head: null });
      expect(delivered(user)).toEqual([]);
    }
  });

  test('3: a policy the agent writes counts for nothing', () => {
    const user = project({ '.cordon/policy.yaml': 'version: 1\ngit: {push: {branches: ["team/**"]}}\n' });
    const { status } = site.run(user, 'printf "version: 1\\n" > .cordon/policy.yaml; git commit -qam x || true');
    expect(status).toBe(3);
  });

  test('4: what needs an approval, and nobody is there', () => {
    const user = project({
      CODEOWNERS: '* @acme\n',
      '.cordon/policy.yaml': 'version: 1\nfilesystem: {protect: [CODEOWNERS]}\n',
    });
    const { status, result } = site.run(user, 'echo "* @me" > CODEOWNERS');
    expect(status).toBe(4);
    expect(result).toMatchObject({ status: 'approval_denied', head: null, decisions: { ask: 1 } });
    expect(delivered(user)).toEqual([]);
  });

  test('5: time, memory', () => {
    const user = project();
    const nap = `8${process.pid}`;
    const slow = site.run(user, `setsid sleep ${nap} & echo two > a.txt; sleep ${nap}`, '--timeout', '1s');
    expect(slow).toMatchObject({ status: 5, result: { status: 'limit' } });
    expect(slow.result.stopReason).toContain('1.0 s');
    expect(processesWith(`sleep\0${nap}`)).toEqual([]);
    const greedy = site.run(user, `perl -e '$x = "x" x (900 << 20); sleep 9'`, '--memory', '100m', '--disk', '16m');
    expect(greedy).toMatchObject({ status: 5, result: { status: 'limit' } });
    expect(delivered(user)).toEqual([]);
  });

  test('130: a signal; nothing is left', async () => {
    const user = project();
    const nap = `9${process.pid}`;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const running = site.start(user, `setsid sleep ${nap} & echo two > a.txt; echo ready; sleep ${nap}`);
      await running.says('│ ready');
      running.child.kill(signal);
      const { status, result } = await running.done;
      expect({ status, result }).toMatchObject({ status: 130, result: { status: 'cancelled', head: null } });
      expect(processesWith(`sleep\0${nap}`)).toEqual([]);
    }
    expect(delivered(user)).toEqual([]);
  });

  test('130: Ctrl-C, which every process of the terminal’s group gets', async () => {
    const running = site.startAtTerminal(project(), 'echo ready; while :; do sleep 1; done');
    await running.says('│ ready');
    running.interrupt();
    const { status, result } = await running.done;
    expect({ status, result }).toMatchObject({
      status: 130,
      result: { status: 'cancelled', stopReason: 'cancelled by the requester' },
    });
  });

  test('130: whoever read what it said went away: it is cancelled, not left', async () => {
    const running = site.start(project(), 'while :; do echo ready; sleep 0.1; done');
    await running.says('│ ready');
    running.child.stderr?.destroy();
    const { status, result } = await running.done;
    expect({ status, result }).toMatchObject({ status: 130, result: { status: 'cancelled' } });
    expect(site.verify()).toEqual([]);
  });

  test('130: the same while git checks the files out, which it does to its end', async () => {
    const begun = () =>
      site.startAtTerminal(project({ large: randomBytes(24 * 1024 * 1024).toString('base64') }), 'true');
    let running = begun();
    let git = await stopped(running, 'read-tree');
    // It may have been done between two looks.
    for (; git === null; git = await stopped(running, 'read-tree')) running = begun();
    running.interrupt();
    await running.says('SIGINT: stopping');
    process.kill(git, 'SIGCONT');
    const { status, result } = await running.done;
    expect({ status, result }).toMatchObject({
      status: 130,
      result: { status: 'cancelled', stopReason: 'cancelled by the requester' },
    });
  });
});

describe('kill -9 at any moment', () => {
  test('the next start closes it as lost; the branch is there whole or not at all; nothing else is left', async () => {
    const user = project();
    const nap = `3${process.pid}`;
    for (const moment of [150, 250, 330, 400, 470, 550, 650]) {
      const running = site.start(
        user,
        `setsid sleep ${nap} & echo ${moment} > a.txt`,
        '--branch',
        `cordon/at-${moment}`,
      );
      setTimeout(() => running.child.kill('SIGKILL'), moment);
      await running.done;
    }
    const waiting = site.start(user, `setsid sleep ${nap} & echo ready; sleep ${nap}`);
    await waiting.says('│ ready');
    waiting.child.kill('SIGKILL');
    await waiting.done;
    await vi.waitFor(() => expect(processesWith(`sleep\0${nap}`)).toEqual([]), 50_000);

    const { runs } = JSON.parse(site.cordon('runs', 'list', '--json').stdout) as { runs: { state: string }[] };
    expect(runs[0]).toMatchObject({ state: 'lost' });
    const open = site.cordon('audit', 'verify');
    expect(open).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('the next `cordon run` records that run as lost'),
    });
    expect(site.run(user, 'true').status).toBe(0);
    expect(site.leftovers()).toEqual([]);
    expect(site.verify()).toEqual([]);
    for (const branch of delivered(user))
      expect(user.git('show', `${branch}:a.txt`)).toBe(branch.slice('cordon/at-'.length));
    expect(user.git('fsck', '--strict', '--no-dangling')).toBe('');
    expect(user.git('status', '--porcelain')).toBe('');
  });
});

describe('looking at runs', () => {
  test('show, commands, logs: what ran and what was said, as it was', () => {
    const user = project();
    const { result } = site.run(
      user,
      'echo out; echo err >&2; printf "raw\\377\\033[31m\\n"; /bin/echo "a  b" >/dev/null; exit 0',
      '--deliver',
      'none',
    );
    const id = result.runId;
    const shown = JSON.parse(site.cordon('runs', 'show', id, '--json').stdout);
    expect(shown.story.recordsLost).toBe(0);
    const commands = site
      .cordon('runs', 'commands', id, '--json')
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(commands).toHaveLength(result.commands);
    expect(commands.find((one) => one.argv[0] === '/bin/echo')).toMatchObject({
      argv: ['/bin/echo', 'a  b'],
      path: '/usr/bin/echo',
      how: { kind: 'exited', code: 0 },
      identity: 'kernel',
    });
    const raw = spawnSync(
      join(import.meta.dirname, '../../cordon'),
      ['runs', 'logs', id, '--raw', '--stream', 'stdout'],
      { env: site.env },
    );
    expect(raw.stdout.toString('latin1')).toBe('out\nraw\xff\x1b[31m\n');
    const lines = site
      .cordon('runs', 'logs', id, '--json')
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.filter((line) => line.stream === 'stderr')).toMatchObject([
      { text: 'err\n', time: expect.any(Number) },
    ]);
    const plain = site.cordon('runs', 'logs', id).stdout;
    expect(plain).toContain('out');
    expect(plain).not.toContain('\x1b');
  });
});

describe.runIf(isRoot)('when the data folder’s disk is full', () => {
  const mounted = (size: string): Installation => {
    const own = new Installation();
    mkdirSync(own.home, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'cordon-test', own.home]);
    onTestFinished(() => {
      execFileSync('umount', ['-l', own.home]);
      own.dispose();
    });
    return own;
  };
  const fill = (own: Installation, leave: number) => {
    const ballast = join(own.home, 'ballast');
    spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4k'], { stdio: 'ignore' });
    const { size } = statSync(ballast);
    execFileSync('truncate', ['-s', `${Math.max(0, size - leave)}`, ballast]);
    return () => rmSync(ballast, { force: true });
  };

  test('with so much room left: a clear message, a documented exit code, and a log that holds', () => {
    const own = mounted('24m');
    const user = project();
    expect(own.run(user, 'echo warm > a.txt').status).toBe(0);
    for (const leave of [0, 16_384, 131_072, 262_144, 524_288]) {
      const release = fill(own, leave);
      const branch = `cordon/full-${leave}`;
      const { status, stderr, stdout } = own.run(
        user,
        `for i in 1 2 3 4 5 6 7 8; do /bin/true; done; echo ${leave} > a.txt; seq 20000`,
        '--branch',
        branch,
      );
      expect([0, 6, 7], `${leave}: ${stderr}`).toContain(status);
      if (status !== 0) {
        expect(`${stdout}${stderr}`, `${leave}`).toMatch(/no space|disk|full|ENOSPC/i);
        expect(stderr).not.toContain('did not foresee');
      }
      release();
      expect(delivered(user).includes(branch)).toBe(status === 0);
      expect(own.run(user, 'true').status).toBe(0); // closes what could not be closed
      expect(own.verify(), `${leave}`).toEqual([]);
      expect(own.leftovers()).toEqual([]);
    }
    expect(own.run(user, 'echo after > a.txt').status).toBe(0);
  });

  test('full in the middle of a run: the run fails, nothing is delivered, the log holds', async () => {
    const own = mounted('24m');
    const user = project();
    const nap = `5${process.pid}`;
    const script = `sleep ${nap}; for i in $(seq 300); do /bin/true $i; done; echo two > a.txt`;
    const running = own.start(user, script);
    await expect.poll(() => processesWith(`sleep\0${nap}`)).toHaveLength(1);
    const release = fill(own, 0);
    for (const pid of processesWith(`sleep\0${nap}`)) process.kill(pid);
    const { status, stderr, stdout } = await running.done;
    expect([6, 7], stderr).toContain(status);
    expect(`${stdout}${stderr}`).toMatch(/no space|disk|full|ENOSPC/i);
    release();
    expect(delivered(user)).toEqual([]);
    expect(own.run(user, 'true').status).toBe(0);
    expect(own.verify()).toEqual([]);
    expect(own.leftovers()).toEqual([]);
  });

  test('6: the log cannot be written', () => {
    const own = mounted('24m');
    const user = project();
    expect(own.run(user, 'true').status).toBe(0);
    const audit = join(own.home, 'audit');
    execFileSync('mount', ['--bind', audit, audit]);
    execFileSync('mount', ['-o', 'remount,bind,ro', audit]);
    const { status, stderr } = own.run(user, 'echo ran; echo two > a.txt');
    execFileSync('umount', ['-l', audit]);
    expect({ status, stderr }).toMatchObject({ status: 6 });
    expect(stderr).not.toContain('│ ran');
    expect(delivered(user)).toEqual([]);
    expect(own.verify()).toEqual([]);
  });
});
