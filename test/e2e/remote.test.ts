/** `cordon run --repo` against a forge of git's own http-backend over TLS; judged by git, by what the forge was asked, and by what lies around. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type FakeForge, forgeRepository, forgeSettings, startForge } from '../fakes/forge.ts';
import { type Finished, Installation } from '../fakes/project.ts';
import { GitFolder, userRepository } from '../fakes/push-scene.ts';
import { wake } from '../fakes/sandbox-scene.ts';

const site = new Installation();
const settings = join(site.root, 'settings');
const served = join(site.root, 'served');
let forge: FakeForge;
let bare: GitFolder;
let user: GitFolder;
let url: string;
let count = 0;

beforeAll(async () => {
  mkdirSync(served);
  forge = await startForge(served);
  site.env.XDG_CONFIG_HOME = settings;
  forgeSettings(settings, forge);
});
afterAll(async () => {
  await forge.close();
  site.dispose();
});
beforeEach(() => {
  const name = `app-${++count}`;
  user = userRepository(join(site.root, `user-${count}`));
  bare = forgeRepository(served, `${name}.git`, user);
  url = forge.url(name);
  forge.requests.length = 0;
  forge.packBytes();
});
afterEach(() => {
  forge.intercept = null;
  forge.open = false;
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
});

const run = (script: string, ...options: string[]): Promise<Finished> =>
  site.type('run', '--json', '--repo', url, ...options, '--', 'sh', '-c', script).done;

const events = (type: string) =>
  site
    .cordon('audit', 'tail', '--json', '--no-follow', '--type', type, '-n', '1000')
    .stdout.split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** Every byte that a run left on this machine, the forge's own folder and the settings aside. */
function kept(): string {
  const home = [site.home, site.root].map((dir) => [
    'grep',
    '-rlaF',
    '--exclude-dir=served',
    '--exclude-dir=settings',
    forge.token,
    dir,
  ]);
  return home
    .map(([program = '', ...args]) => {
      try {
        return execFileSync(program, args, { encoding: 'utf8' });
      } catch {
        return '';
      }
    })
    .join('');
}

describe('a remote repository', () => {
  test('is fetched, worked on, and gets one new branch; the second run fetches only what is new', async () => {
    const first = await run('cat README.md; git log --oneline | wc -l; echo three >> README.md');
    expect({ status: first.status, stderr: first.stderr }).toMatchObject({ status: 0 });
    expect(first.stderr).toContain('│ two\n');
    const branch = `cordon/${first.result.runId}`;
    expect(first.result).toMatchObject({ status: 'succeeded', branch, base: user.git('rev-parse', 'main') });
    expect(bare.git('rev-parse', branch)).toBe(first.result.head);
    expect(bare.git('diff', '--name-only', 'main', branch)).toBe('README.md');
    expect(bare.git('for-each-ref', '--format=%(refname)', 'refs/heads').split('\n')).toEqual([
      `refs/heads/${branch}`,
      'refs/heads/main',
    ]);
    expect(bare.git('fsck', '--strict')).not.toMatch(/error|missing/);
    const whole = forge.packBytes();
    expect(whole).toBeGreaterThan(500);

    const second = await run('true');
    expect(second.status).toBe(0);
    expect(forge.packBytes()).toBeLessThan(whole);
    user.write('new.txt', 'new\n');
    const head = user.commit('new');
    user.git('push', '-q', bare.dir, 'main');
    const third = await run('cat new.txt');
    expect(third).toMatchObject({ status: 0, stderr: expect.stringContaining('│ new\n') });
    expect(third.result.base).toBe(head);
  });

  test('gets the proof with the branch, in one push, and a clone elsewhere verifies with the key file alone', async () => {
    const { status, stderr, result } = await run('echo three >> README.md');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const proof = `refs/attestations/cordon/${result.head}`;
    expect(result.attestation?.ref).toBe(proof);
    expect(bare.git('cat-file', '-t', proof)).toBe('blob');
    expect(forge.requests.filter((line) => line.startsWith('POST') && line.includes('receive-pack'))).toHaveLength(1);

    const elsewhere = join(site.root, `elsewhere-${count}`);
    mkdirSync(elsewhere);
    const trust = join(elsewhere, 'trust.json');
    expect(site.cordon('attest', 'key', '-o', trust).status).toBe(0);
    const clone = new GitFolder(join(elsewhere, 'clone'));
    new GitFolder(elsewhere).git('clone', '-q', bare.dir, 'clone');
    const verify = (...more: string[]) =>
      spawnSync(
        join(import.meta.dirname, '../../cordon'),
        ['verify', `origin/${result.branch}`, '--key', trust, ...more],
        {
          cwd: clone.dir,
          env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent' },
          encoding: 'utf8',
        },
      );
    expect(verify()).toMatchObject({ status: 1, stdout: expect.stringContaining('is not proven') });
    clone.git('fetch', '-q', 'origin', 'refs/attestations/*:refs/attestations/*');
    const place = ['--repo', url, '--ref', result.branch ?? '', '--require-signature'];
    expect(verify(...place)).toMatchObject({ status: 0, stdout: expect.stringContaining('everything fits') });
    expect(verify('--repo', forge.url('other'))).toMatchObject({ status: 1 });
  });

  test('takes neither when it does not take both', async () => {
    const hook = join(bare.dir, 'hooks/update');
    execFileSync('tee', [hook], {
      input: '#!/bin/sh\ncase $1 in refs/attestations/*) exit 1;; esac\n',
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    execFileSync('chmod', ['+x', hook]);
    const { status, result } = await run('echo three >> README.md');
    expect({ status, branch: result.branch }).toEqual({ status: 7, branch: null });
    expect(bare.git('for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
  });

  test('that has the branch already is not worked on', async () => {
    const head = user.git('rev-parse', 'main~1');
    bare.git('update-ref', 'refs/heads/cordon/mine', head);
    const { status, stderr } = await run('echo never', '--branch', 'cordon/mine');
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.not.stringContaining('│ never') });
    expect(stderr).toContain('branch cordon/mine exists already');
    expect(bare.git('rev-parse', 'cordon/mine')).toBe(head);
  });

  test('is known by one name in decisions, events and scopes', async () => {
    url = `${url.replace('https', 'HTTPS')}.git/`;
    const { status, result } = await run('echo x > x');
    expect(status).toBe(0);
    const name = `${forge.host}/app-${count}`;
    const mine = (type: string) => events(type).filter((event) => event.run === result.runId || event.run === null);
    expect(mine('run.created').at(-1).resource.workspace).toBe(name);
    expect(mine('git.decided').at(-1).resource.repository).toBe(name);
    expect(mine('git.forwarded').at(-1).resource.target).toBe(name);
    expect(mine('mirror.fetch').at(-1)).toMatchObject({
      resource: { repository: name },
      decision: { effect: 'permit' },
    });
    expect(mine('mirror.fetched').at(-1)).toMatchObject({
      resource: { repository: name },
      outcome: { result: 'done' },
    });
  });

  test('shows its credential to the forge alone', async () => {
    const [left, right] = [forge.token.slice(0, 9), forge.token.slice(9)];
    const look = `case "$(cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n')" in *'${left}''${right}'*) echo LEAK;; esac
      git config -l; env; git fetch 2>&1; sleep 1; echo x > x`;
    const running = site.type('run', '--json', '--repo', url, '--', 'sh', '-c', look);
    const seen = new Set<string>();
    const watch = setInterval(() => {
      for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
        for (const file of ['cmdline', 'environ']) {
          try {
            if (readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(forge.token)) seen.add(`${pid}/${file}`);
          } catch {
            // gone, or not ours
          }
        }
      }
    }, 20);
    const { status, stdout, stderr } = await running.done;
    clearInterval(watch);
    expect(status).toBe(0);
    expect([...seen]).toEqual([]);
    expect(stderr).not.toContain('│ LEAK');
    expect(stdout + stderr).not.toContain(forge.token);
    expect(stdout + stderr).not.toContain(Buffer.from(`robot:${forge.token}`).toString('base64'));
    expect(kept()).toBe('');
    expect(forge.shown.size).toBe(1);
  });

  test('starts from the base that was named, under the policy of the default branch', async () => {
    user.write('.cordon/policy.yaml', 'version: 1\nfilesystem: {write: ["docs/**"]}\n');
    user.commit('policy');
    user.git('checkout', '-q', '-b', 'agent/wild');
    user.write('.cordon/policy.yaml', 'version: 1\nfilesystem: {write: ["**"]}\n');
    user.write('wild.txt', 'wild\n');
    const wild = user.commit('a policy of its own');
    user.git('tag', '-am', 'one', 'v1', 'main');
    user.git('push', '-q', bare.dir, 'main', 'agent/wild', 'v1');
    const denied = await run('cat wild.txt; echo x > src/x', '--base', 'agent/wild');
    expect(denied).toMatchObject({ status: 3, stderr: expect.stringContaining('│ wild\n') });
    expect(denied.result.base).toBe(wild);
    const tagged = await run('echo x > docs/x', '--base', 'v1');
    expect(tagged.result).toMatchObject({ status: 'succeeded', base: user.git('rev-parse', 'main') });
    const none = await run('true', '--base', 'nowhere');
    expect(none).toMatchObject({ status: 2, stderr: expect.stringContaining('has no commit nowhere') });
  });

  test('only parts of it, and the change of these', async () => {
    const { status, result, stderr } = await run('ls; echo x > src/x', '--path', 'src/**');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).not.toContain('README');
    expect(bare.git('diff', '--name-only', 'main', result.branch ?? '')).toBe('src/x');
    expect(bare.git('ls-tree', '--name-only', result.branch ?? '')).toContain('README.md');
  });

  test('two runs at once share one mirror', async () => {
    const both = await Promise.all([run('echo 1 > one; sleep 1'), run('echo 2 > two; sleep 1')]);
    expect(both.map(({ status }) => status)).toEqual([0, 0]);
    expect(bare.git('for-each-ref', 'refs/heads/cordon/').split('\n')).toHaveLength(2);
    const fetched = events('mirror.fetched').slice(-2);
    expect(fetched.filter(({ resource }) => resource.bytes > 0)).toHaveLength(1);
  });

  test('a fetch that was killed is closed and made good by the next', async () => {
    forge.intercept = (request) => request.method === 'POST';
    const stuck = site.type('run', '--repo', url, '--', 'true');
    const seen = () => forge.requests.length > 0;
    while (!seen()) await new Promise((resolve) => setTimeout(resolve, 20));
    stuck.child.kill('SIGKILL');
    await stuck.done;
    forge.intercept = null;
    expect((await run('true')).status).toBe(0);
    expect(events('mirror.fetched').at(-2)).toMatchObject({
      outcome: { result: 'failed', reason: 'the process that fetched is gone' },
    });
  });

  test('that anybody may read is read without a credential', async () => {
    forge.open = true;
    const other = new Installation();
    try {
      mkdirSync(join(other.root, 'settings/cordon'), { recursive: true });
      other.env.XDG_CONFIG_HOME = join(other.root, 'settings');
      forgeSettings(join(other.root, 'settings'), forge);
      const text = readFileSync(join(other.root, 'settings/cordon/config.yaml'), 'utf8');
      execFileSync('tee', [join(other.root, 'settings/cordon/config.yaml')], {
        input: text.replace(/ user: robot, token: FORGE_TOKEN,/, ''),
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      forge.shown.clear();
      const { status, stderr } = await other.type(
        'run',
        '--repo',
        url,
        '--deliver',
        'patch',
        '--',
        'sh',
        '-c',
        'echo x > x',
      ).done;
      expect({ status, stderr }).toMatchObject({ status: 0 });
      expect([...forge.shown]).toEqual([]);
      const refused = await other.type('run', '--json', '--repo', url, '--', 'sh', '-c', 'echo x > x').done;
      expect(refused).toMatchObject({ status: 7, stdout: expect.stringContaining('asks who is there') });
    } finally {
      other.dispose();
    }
  });
});

describe('what cannot be named', () => {
  test.each([
    ['git@git.acme.example:team/app.git', 'https://git.acme.example/team/app.git'],
    ['https://ada:hunter2hunter2@git.acme.example/app', 'forges:'],
    ['http://localhost:1/app', 'plain_http'],
    ['file:///srv/app', '--workspace'],
  ])('%s', (address, said) => {
    const { status, stderr, stdout } = site.cordon('run', '--repo', address, '--', 'true');
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining(said) });
    expect(stderr + stdout).not.toContain('hunter2hunter2');
  });

  test('two repositories, a repository that is not there, an empty one', async () => {
    expect(site.cordon('run', '--repo', url, '-w', '.', '--', 'true').status).toBe(2);
    url = forge.url('missing');
    expect(await run('true')).toMatchObject({ status: 7, stderr: expect.stringContaining('there is no repository') });
    mkdirSync(join(served, 'empty.git'));
    new GitFolder(join(served, 'empty.git')).git('init', '-q', '--bare');
    url = forge.url('empty');
    expect(await run('true')).toMatchObject({ status: 2, stderr: expect.stringContaining('no default branch') });
  });
});

describe('a change that the forge does not take at once', () => {
  const change = 'echo three >> README.md';
  const pushes = () => forge.requests.filter((line) => line.includes('POST') && line.includes('receive-pack'));

  test('is tried again after a fault that may pass', async () => {
    let faults = 0;
    forge.intercept = (request, response) => {
      if (!request.url?.includes('receive-pack') || ++faults > 2) return false;
      if (faults === 1) response.writeHead(503).end();
      else request.socket.destroy();
      return true;
    };
    const { status, result, stderr } = await run(change);
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('trying again') });
    expect(bare.git('rev-parse', `cordon/${result.runId}`)).toBe(result.head);
  });

  test('is not pushed twice when only the answer was lost', async () => {
    let lost = false;
    forge.intercept = (request, response) => {
      if (lost || request.method !== 'POST' || !request.url?.includes('receive-pack')) return false;
      lost = true;
      response.write = (() => true) as never;
      response.end = (() => response.destroy()) as never;
      response.writeHead = (() => response) as never;
      return false;
    };
    const { status, result, stderr } = await run(change);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(bare.git('rev-parse', `cordon/${result.runId}`)).toBe(result.head);
    expect(pushes()).toHaveLength(1);
  });

  test('is kept when the forge stays away, and the way on is named and works', async () => {
    forge.intercept = (request, response) => {
      if (!request.url?.includes('receive-pack')) return false;
      response.writeHead(500, { 'Content-Type': 'text/plain' }).end('down \x1b[31mfor\x07 repairs');
      return true;
    };
    const { status, result, stderr } = await run(change);
    expect({ status, stderr }).toMatchObject({ status: 7 });
    expect(result).toMatchObject({ status: 'outside', branch: null, head: null });
    expect(result.stopReason).toContain('answered 500');
    for (const control of ['\x07', '\x1b']) expect(result.stopReason).not.toContain(control);
    const [, bundle = '', ref = ''] = /git fetch (\S+) (\S+) &&/.exec(result.remedy ?? '') ?? [];
    user.git('fetch', '-q', bundle, ref);
    expect(user.git('show', '--format=', '--name-only', 'FETCH_HEAD')).toBe('README.md');
    const artifacts = readdirSync(join(site.home, 'runs', result.runId, 'artifacts'));
    expect(artifacts.sort()).toEqual(['change.bundle', 'change.patch', 'proof.json']);
    expect(events('git.forward.done').at(-1)).toMatchObject({ run: result.runId, outcome: { result: 'failed' } });
  });

  test('is kept when a hook there refuses it, and what the hook says is shown as text', async () => {
    const hook = join(bare.dir, 'hooks/pre-receive');
    execFileSync('tee', [hook], {
      input: '#!/bin/sh\nprintf "not \\033[31mtoday\\033[0m\\n" >&2\nexit 1\n',
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    execFileSync('chmod', ['+x', hook]);
    const { status, result } = await run(change);
    expect(status).toBe(7);
    expect(result.stopReason).toMatch(/refuses refs\/heads\/cordon.*pre-receive hook declined.*not .*today/);
    expect(result.stopReason).not.toContain('\x1b');
    expect(pushes()).toHaveLength(1);
    rmSync(hook);
  });

  test('does not replace a branch that appeared meanwhile', async () => {
    const nap = `73${process.pid}`;
    const running = site.type(
      'run',
      '--json',
      '--repo',
      url,
      '--branch',
      'cordon/mine',
      '--',
      'sh',
      '-c',
      `echo here; sleep ${nap}; ${change}`,
    );
    await running.says('│ here');
    bare.git('update-ref', 'refs/heads/cordon/mine', user.git('rev-parse', 'main~1'));
    await wake(nap);
    const { status, result } = await running.done;
    expect(status).toBe(7);
    expect(result.stopReason).toContain('exists already');
    expect(bare.git('rev-parse', 'cordon/mine')).toBe(user.git('rev-parse', 'main~1'));
    const taken = await run(change, '--branch', 'cordon/mine');
    expect(taken).toMatchObject({ status: 2, stderr: expect.stringContaining('exists already') });
  });

  test('a run that is denied pushes nothing', async () => {
    user.write('.cordon/policy.yaml', 'version: 1\nfilesystem: {write: ["docs/**"]}\n');
    user.commit('policy');
    user.git('push', '-q', bare.dir, 'main');
    expect((await run(change)).status).toBe(3);
    expect(forge.requests.filter((line) => line.includes('receive-pack'))).toEqual([]);
  });
});

describe('inside', () => {
  test('partial and shallow clones of the one branch, each fetch decided and recorded', async () => {
    const script = `cd /tmp
      git clone -q --filter=blob:none --no-checkout http://127.0.0.1:9418/origin part && cd part
      git rev-list --objects --missing=print HEAD | grep -c '^?' | sed 's/^/missing: /'
      git show HEAD:src/app.js
      git clone -q --depth=1 http://127.0.0.1:9418/origin /tmp/shallow && git -C /tmp/shallow rev-list --count HEAD | sed 's/^/deep: /'
      git -C /tmp/shallow fetch -q --unshallow && git -C /tmp/shallow rev-list --count HEAD | sed 's/^/deep: /'
      git clone -q --filter=sparse:oid=HEAD:README.md http://127.0.0.1:9418/origin /tmp/odd || echo odd filter refused`;
    const { status, stderr, result } = await run(script);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toMatch(/│ missing: [1-9]/);
    for (const said of ['console.log(1);', 'deep: 1', 'deep: 3', 'odd filter refused'])
      expect(stderr).toContain(`│ ${said}`);
    const fetches = events('git.fetch').filter((event) => event.run === result.runId);
    expect(fetches.length).toBeGreaterThan(3);
    expect(fetches[0]).toMatchObject({ resource: { ref: 'refs/heads/main' }, decision: { effect: 'permit' } });
    expect(events('git.fetched').filter((event) => event.run === result.runId)).toHaveLength(fetches.length);
  });

  test('what the shown branch does not lead to cannot be had by its id', async () => {
    user.git('checkout', '-q', '-b', 'hidden');
    user.write('hidden.txt', 'hidden\n');
    const hidden = user.commit('hidden');
    const blob = user.git('rev-parse', 'HEAD:hidden.txt');
    user.git('push', '-q', bare.dir, 'hidden');
    const script = `git ls-remote origin; for id in ${hidden} ${blob} ${user.git('rev-parse', 'HEAD^{tree}')}; do
        for v in 0 2; do git -c protocol.version=$v fetch -q origin $id && echo GOT; done; done; git fetch origin hidden || echo none; true`;
    const { status, stderr } = await run(script);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toContain('│ none');
    expect(stderr).not.toMatch(/│ GOT|refs\/heads\/hidden/);
  });

  test('more branches are shown where the policy names them, and what it does not name stays out of reach', async () => {
    user.write('.cordon/policy.yaml', 'version: 1\ngit: {fetch: {refs: ["release/**"]}}\n');
    user.commit('policy');
    for (const name of ['release/1', 'hidden']) {
      user.git('checkout', '-q', '-b', name, 'main');
      user.write(`${name}.txt`, name);
      user.commit(name);
    }
    user.git('push', '-q', bare.dir, 'main', 'release/1', 'hidden');
    const hidden = user.git('rev-parse', 'hidden');
    const script = `git fetch -q origin && git branch -r; git fetch -q origin ${hidden} && echo GOT; true`;
    const { status, stderr } = await run(script);
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('origin/release/1') });
    expect(stderr).not.toMatch(/│ GOT|origin\/hidden/);
  });

  test('a policy that denies fetches says so to git', async () => {
    user.write(
      '.cordon/policy.yaml',
      'version: 1\nrules: |\n  forbid (principal, action == Action::"git.fetch", resource);\n',
    );
    user.commit('policy');
    user.git('push', '-q', bare.dir, 'main');
    const { status, stderr, result } = await run('git clone -q http://127.0.0.1:9418/origin /tmp/x || echo refused');
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('│ refused') });
    expect(stderr).toMatch(/remote error: cordon: .*git\.fetch/);
    expect(events('git.fetch').at(-1)).toMatchObject({ run: result.runId, decision: { effect: 'deny' } });
  });

  test('submodules and LFS are told the rule that opens them', async () => {
    const script = `git clone http://127.0.0.1:9418/team/lib.git /tmp/lib
      curl -sS -o /tmp/answer -w '%{http_code} %{content_type}\\n' -X POST --noproxy '*' http://127.0.0.1:9418/origin/info/lfs/objects/batch; cat /tmp/answer; true`;
    const { status, stderr } = await run(script);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(stderr).toMatch(/not team\/lib\.git: .*allowed_network_hosts/);
    expect(stderr).toContain('403 application/vnd.git-lfs+json');
    expect(stderr).toMatch(/"message":"cordon: files of Git LFS .*allowed_network_hosts/);
  });
});

describe('a replay', () => {
  test('starts from the mirror that is kept, and asks the forge nothing', async () => {
    const { result } = await run('cat README.md; git branch --show-current; echo three >> README.md');
    // The branch moves on, and the commit of then stays what is replayed.
    user.commit('later');
    user.git('push', '-q', bare.dir, 'main');
    const before = forge.requests.length;
    const { status, stdout, stderr } = await site.type('runs', 'replay', result.runId, '--json').done;
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'exact', divergences: [] });
    expect(stderr).toContain('│ main');
    expect(forge.requests).toHaveLength(before);
    expect(events('mirror.fetch').filter(({ resource }) => url.endsWith(`//${resource.repository}`))).toHaveLength(1);

    const mirrors = join(site.home, 'mirrors');
    for (const name of readdirSync(mirrors)) rmSync(join(mirrors, name), { recursive: true });
    const gone = await site.type('runs', 'replay', result.runId).done;
    expect(gone.status).toBe(2);
    expect(gone.stderr).toMatch(/cannot be replayed \(recording missing\): this machine keeps no mirror of localhost/);
    expect(gone.stderr).toContain('cordon run --repo https://localhost');
    expect(forge.requests).toHaveLength(before);
  }, 120_000);

  test('of a commit that the mirror no longer has says so', async () => {
    const { result } = await run('echo three >> README.md');
    const mirrors = join(site.home, 'mirrors');
    const name = readdirSync(mirrors).find((one) => one.includes(`app-${count}-`) && !/\.(lock|use)$/.test(one));
    const packs = join(mirrors, name ?? '', 'objects/pack');
    for (const pack of readdirSync(packs)) rmSync(join(packs, pack));
    const { status, stderr } = await site.type('runs', 'replay', result.runId).done;
    expect(status).toBe(2);
    expect(stderr).toMatch(/\(recording missing\): its commit [0-9a-f]{40} is no longer in the mirror/);
  }, 120_000);
});
