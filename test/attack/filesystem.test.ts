/**
 * Ways out of the guest's own files. The canary lies on the host with permissions for everybody: what keeps the guest
 * away from it is that it is not there.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LimitError, OutsideError } from '../../src/base/errors.ts';
import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import type { FileChange } from '../../src/sandbox/sandbox.ts';
import { type Cage, type Files, SandboxScene } from '../fakes/sandbox-scene.ts';
import { Canary, inCage, onHost, perl, standing } from './guest.ts';
import { findProcesses, mountsOf, read, until } from './host.ts';

const scene = new SandboxScene(bubblewrap);
const canary = new Canary();
afterEach(() => scene.close());
afterAll(() => {
  scene.dispose();
  canary.dispose();
});

const files: Files = { 'src/app.js': 'one\n', 'src/lib.js': 'two\n', secret: 'below\n', 'folder/inner': 'x\n' };

async function changesOf(cage: Cage): Promise<FileChange[]> {
  await cage.sandbox.quiesce();
  const found: FileChange[] = [];
  for await (const change of cage.sandbox.changes()) found.push(change);
  return found;
}
const paths = (changes: readonly FileChange[]) => changes.map((c) => `${c.path}: ${c.change} ${c.kind}`).sort();

/** Everything a path attack could have done to the host. */
const hostState = () => ({
  secret: readFileSync(canary.file, 'utf8'),
  names: readdirSync(canary.dir),
  own: lstatSync(canary.file).mode,
  usr: statSync('/usr/bin').mtimeMs,
});

describe('the canary', () => {
  /** Shell scripts that print, or overwrite, the file at $1 in the folder $2. */
  const reads: Record<string, string> = {
    'by its path': 'cat $1',
    'by a link in the workspace': 'ln -s $1 /workspace/l; cat /workspace/l',
    'by a link in a folder that is a link': 'ln -s $2 /workspace/d; cat /workspace/d/secret',
    'through the root of process 1': 'cat /proc/1/root$1',
    'through the root of every process': 'for p in /proc/[0-9]*; do cat $p/root$1 $p/cwd$1 $p/cwd/../../../..$1; done',
    'through every descriptor': 'for f in /proc/[0-9]*/fd/*; do cat $f/$1 $f/../../../../..$1; done',
    'through a path with many ..': 'cat /workspace/../../../../../../../..$1 /proc/self/cwd/../../../..$1',
    'through the folder that was the root': 'cat /oldroot$1 /newroot$1 /.old$1 /mnt$1 /tmp/root-1$1 /host$1',
    'through the map of a process': 'cat /proc/*/map_files/* | grep -a canary',
    'by searching all that is mounted':
      'grep -rsaF canary- /workspace /tmp /home /run /var /dev/shm /etc /usr/local --devices=skip',
    'by copying it over by hard link': 'ln $1 /workspace/h; cat /workspace/h',
    'by writing to it': 'echo pwned > $1; echo pwned >> $1; cat $1',
    'by a link and a write': 'ln -sf $1 /tmp/w; echo pwned > /tmp/w; cat $1',
    'by removing it': 'rm -f $1; rmdir $2; mv $1 $1.moved; cat $1',
  };
  beforeAll(() => {
    // The control: without a sandbox each script reads it or changes it.
    for (const script of ['cat $1', 'ln -s $1 $2/l; cat $2/l; rm $2/l', 'cat /proc/self/root$1']) {
      const out = execFileSync('/bin/sh', ['-c', script, 'x', canary.file, canary.dir]);
      expect(out.toString()).toContain(canary.secret);
    }
  });
  for (const [name, script] of Object.entries(reads)) {
    test(`is not reached ${name}`, async () => {
      const cage = await scene.over(files);
      const before = hostState();
      const { out } = await cage.run('/bin/sh', '-c', `{ ${script}; } 2>/dev/null`, 'x', canary.file, canary.dir);
      expect(out).not.toContain(canary.secret);
      expect(hostState()).toEqual(before);
    });
  }
});

describe('what is mounted', () => {
  test('nothing is writable but the workspace, /tmp, the home and /dev/shm, all of one bounded tmpfs', async () => {
    const cage = await scene.over(files);
    await inCage(cage, standing('1', 'mount-holder'));
    const [guest] = findProcesses('mount-holder');
    const writable = mountsOf(guest?.pid ?? 0)
      .map((line) => line.split(' '))
      .filter((words) => /(^|,)rw(,|$)/.test(words[5] ?? ''))
      .map((words) => words[4]);
    const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'pts', 'console'].map(
      (name) => `/dev/${name}`,
    );
    expect(writable.filter((at) => !devices.includes(at ?? '')).sort()).toEqual(
      ['/dev/shm', '/home/agent', '/run/shm', '/tmp', '/var/tmp', '/workspace'].sort(),
    );
  });

  test('everything is nosuid, and nodev but for the devices themselves', async () => {
    const cage = await scene.over(files);
    await inCage(cage, standing('1', 'mount-holder'));
    const [guest] = findProcesses('mount-holder');
    for (const line of mountsOf(guest?.pid ?? 0)) {
      const [at, options] = line.split(' ').slice(4, 6);
      expect(options, line).toContain('nosuid');
      if (!at?.startsWith('/dev/')) expect(options, line).toContain('nodev');
    }
  });

  test('no path of the host stands in the guest list of mounts', async () => {
    const cage = await scene.over(files);
    const { out } = await cage.run(
      '/bin/sh',
      '-c',
      'cat /proc/self/mountinfo /proc/self/mounts /proc/self/cgroup /proc/1/cmdline',
    );
    expect(out).toContain('overlay');
    for (const host of [scene.root, canary.dir, process.cwd(), 'checkout', 'cordon.db'])
      expect(out).not.toContain(host);
  });

  test('writes into every read-only place fail, and nothing of them is on the host', async () => {
    const cage = await scene.over(files);
    const name = `pwned-${process.pid}`;
    await cage.run(
      '/bin/sh',
      '-c',
      `for d in $(find / -xdev -type d 2>/dev/null | head -500) /usr/bin /usr/lib /usr/local /etc/ssl/certs /etc/alternatives /proc/sys/kernel; do touch $d/${name} 2>/dev/null; done; for f in /etc/passwd /etc/resolv.conf /run/cordon/task /usr/bin/env; do echo x >> $f; rm -f $f; chmod 777 $f; done`,
    );
    for (const folder of [
      '/',
      '/usr/bin',
      '/usr/lib',
      '/usr/local',
      '/etc',
      '/etc/ssl/certs',
      '/etc/alternatives',
      '/tmp',
      '/run',
      '/var/tmp',
    ]) {
      expect(existsSync(join(folder, name)), folder).toBe(false);
    }
    expect(read('/etc/passwd')).not.toMatch(/^x$/m);
  });

  test('the checkout below the overlay stays as it was', async () => {
    const dir = scene.checkout(files);
    const before = execFileSync('find', [dir, '-printf', '%p %m %T@ %s %u\\n']).toString();
    const cage = await scene.create({ workspace: { kind: 'checkout', dir } });
    await cage.run(
      '/bin/sh',
      '-c',
      'cd /workspace; echo x >> secret; chmod -R 777 .; touch -d 2001-01-01 secret; rm -rf folder; mv src moved; ln secret hard; truncate -s 0 hard; echo y > new',
    );
    expect(execFileSync('find', [dir, '-printf', '%p %m %T@ %s %u\\n']).toString()).toBe(before);
    expect(read(join(dir, 'secret'))).toBe('below\n');
  });
});

describe('devices, sockets and special files', () => {
  test('no device can be made, and none leads anywhere', async () => {
    const cage = await scene.over(files);
    await cage.run(
      ...perl(
        'for my $d (0, 0x103, 0x801, 0xfe00, 0x10a) { for my $k (0060666, 0020666) { S(\'mknodat\', -100, my $n = "/workspace/d$k-$d", $k, $d) } }',
      ),
    );
    const made = (await changesOf(cage)).filter((change) => change.kind === 'special');
    expect(made).toEqual([]);
  });

  test('a socket of the host is not there, by path and by abstract name', async () => {
    let reached = 0;
    const servers = [join(canary.dir, 'socket'), `\0cordon-canary-${process.pid}`].map((path) =>
      createServer(() => reached++).listen(path),
    );
    const connect = perl(
      "my $s = \"$ARGV[0]\"; use Socket; socket(my $f, AF_UNIX, SOCK_STREAM, 0); $s =~ s/^@/\\0/; print connect($f, pack_sockaddr_un($s)) ? 'in' : 'out'",
    );
    const names = [join(canary.dir, 'socket'), `@cordon-canary-${process.pid}`];
    for (const name of names) {
      const child = await onHost([...connect, name] as [string, ...string[]]);
      child.kill();
    }
    await until('outside both answer', () => reached === 2);
    const cage = await scene.over(files);
    for (const name of names) await cage.run(...connect, name);
    expect(reached).toBe(2);
    for (const server of servers) server.close();
  });

  test('no listener of the host is reached, on loopback or elsewhere', async () => {
    let reached = 0;
    const server = createServer((socket) => {
      reached++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const port = (server.address() as { port: number }).port;
    const connect = perl(
      "use Socket; for my $h (qw(127.0.0.1 0.0.0.0 10.0.0.1 172.17.0.1 169.254.169.254)) { socket(my $f, AF_INET, SOCK_STREAM, 0); $SIG{ALRM} = sub { }; alarm 1; connect($f, sockaddr_in($ARGV[0], inet_aton($h))) and last; alarm 0 } say 'ready'",
    );
    (await onHost([...connect, String(port)] as [string, ...string[]])).kill();
    await until('outside it answers', () => reached === 1);
    const cage = await scene.over(files);
    await cage.run(...connect, String(port));
    expect(reached).toBe(1);
    server.close();
  });

  test('a set-user-id bit gives nothing', async () => {
    const cage = await scene.over(files);
    const { out } = await cage.run(
      '/bin/sh',
      '-c',
      'cp /usr/bin/id /tmp/id; chmod 6777 /tmp/id; /tmp/id -u; for f in $(find /usr/bin -perm -4000); do ls $f > /dev/null; done; su -c "id -u" 2>/dev/null < /dev/null; true',
    );
    expect(out.trim()).toBe('1000');
    await inCage(cage, standing('1', 'suid-holder'));
    expect(read(`/proc/${findProcesses('suid-holder')[0]?.pid}/status`)).toMatch(/NoNewPrivs:\t1/);
  });
});

describe('overlay tricks', () => {
  const XATTRS = [
    ['user.overlay.redirect', '/secret'],
    ['user.overlay.redirect', '../../../../etc/passwd'],
    ['user.overlay.opaque', 'y'],
    ['user.overlay.metacopy', ''],
    ['user.overlay.whiteout', ''],
    ['user.overlay.origin', 'x'],
    ['trusted.overlay.redirect', '/secret'],
    ['trusted.overlay.opaque', 'y'],
    ['security.capability', 'x'],
    ['user.overlay.overlay.redirect', '/secret'],
  ] as const;

  /** Sets each attribute on each file and folder of the workspace. */
  const set = (list: readonly (readonly [string, string])[]) =>
    perl(
      `${list.map(([name, value]) => `for my $f (qw(/workspace /workspace/new /workspace/src /workspace/src/app.js /workspace/made)) { S('setxattr', $f, my $n = '${name}', my $v = "${value}", ${value.length}, 0) }`).join('\n')}`,
    );

  test('attributes of overlayfs written by the guest lead nowhere: neither in a sibling nor for the trusted side', async () => {
    const cage = await scene.over(files);
    await cage.bash('cd /workspace; mkdir made; echo new > new; echo changed > src/app.js');
    await cage.run(...set(XATTRS));
    await cage.sandbox.quiesce();
    const sibling = await cage.sandbox.sibling({ kind: 'usr' });
    const look = await sibling.exec({
      argv: ['/bin/sh', '-c', 'cd /workspace; cat new src/app.js src/lib.js secret folder/inner; ls -A made src .'],
      env: { PATH: '/usr/bin' },
    });
    const seen = (await look.stdout.toArray()).join('');
    expect(seen).toBe(
      'new\nchanged\ntwo\nbelow\nx\nmade:\n\nsrc:\napp.js\nlib.js\n\n.:\nfolder\nmade\nnew\nsecret\nsrc\n'.replace(
        'made:\n\nsrc:\napp.js\nlib.js\n\n.:\nfolder\nmade\nnew\nsecret\nsrc\n',
        '.:\nfolder\nmade\nnew\nsecret\nsrc\n\nmade:\n\nsrc:\napp.js\nlib.js\n',
      ),
    );
    expect(paths(await changesOf(cage))).toEqual([
      'made: added directory',
      'new: added file',
      'src/app.js: modified file',
    ]);
  });

  test('a character device 0/0, the mark of deletion, cannot be forged', async () => {
    const cage = await scene.over(files);
    await cage.run(
      ...perl(
        "for my $f (qw(/workspace/secret2 /workspace/src/lib2.js)) { S('mknodat', -100, $f, 0020000, 0) } S('renameat2', -100, my $a = '/workspace/secret', -100, my $b = '/workspace/gone', 4)",
      ),
    );
    expect(paths(await changesOf(cage))).toEqual([]);
  });

  test('a mark of deletion from /tmp does not get into the workspace', async () => {
    const cage = await scene.over(files);
    await cage.run(
      ...perl(
        "S('mknodat', -100, my $a = '/tmp/w', 0020000, 0); S('renameat', -100, $a, -100, my $b = '/workspace/secret'); S('linkat', -100, $a, -100, my $c = '/workspace/x', 0)",
      ),
    );
    expect(paths(await changesOf(cage))).toEqual([]);
    expect((await cage.sandbox.copyOut('secret', 100)).toString()).toBe('below\n');
  });

  test('a folder replaced, renamed and exchanged is told as it is', async () => {
    const cage = await scene.over(files);
    await cage.bash('cd /workspace; rm -r folder; mkdir folder; echo fresh > folder/other; rm -r src; ln -s /etc src');
    const changes = paths(await changesOf(cage));
    expect(changes).toContain('folder/inner: deleted file');
    expect(changes).toContain('folder/other: added file');
    expect(changes).toContain('src/app.js: deleted file');
    expect(changes.some((line) => line.startsWith('src/') && !line.includes('deleted'))).toBe(false);
  });

  test('the upper and the work folder of the overlay are nowhere to be seen', async () => {
    const cage = await scene.over(files);
    const { out } = await cage.run(
      '/bin/sh',
      '-c',
      'find / -xdev \\( -name upper -o -name lower -o -name work -o -name merged -o -name "root-*" \\) -not -path "/usr/*" -not -path "/proc/*" 2>/dev/null; ls -d /tmp/.. /workspace/.. | xargs ls -A',
    );
    for (const name of ['upper', 'lower', 'merged', 'root-1']) expect(out.split('\n')).not.toContain(name);
  });
});

describe('what trusted code reads of the workspace', () => {
  const hostile: Record<string, string> = {
    'a link to the canary': 'ln -s $1 out',
    'a link in the way': 'mkdir d; ln -s $2 d/x; mv d out',
    'a pipe': 'mkfifo out',
    'a folder': 'mkdir out',
  };
  for (const [name, script] of Object.entries(hostile)) {
    test(`${name} is not copied out`, async () => {
      const cage = await scene.over(files);
      await cage.run('/bin/sh', '-c', `cd /workspace; ${script}`, 'x', canary.file, canary.dir);
      await cage.sandbox.quiesce();
      for (const path of [
        'out',
        'out/x/secret',
        'out/secret',
        '../secret',
        `../../..${canary.file}`,
        canary.file.slice(1),
        '.',
        'out/..',
        'secret\0',
      ]) {
        const got = await cage.sandbox.copyOut(path, 1000).then(
          (bytes) => bytes.toString(),
          () => 'refused',
        );
        expect(got, path).toBe('refused');
      }
      expect(JSON.stringify(await changesOf(cage))).not.toContain(canary.secret);
    });
  }

  test('a file larger than allowed is refused, not read', async () => {
    const cage = await scene.over(files);
    await cage.bash('truncate -s 50M /workspace/big');
    await cage.sandbox.quiesce();
    await expect(cage.sandbox.copyOut('big', 1000)).rejects.toBeInstanceOf(LimitError);
    await expect(cage.sandbox.copyOut('../x', 1000)).rejects.toBeInstanceOf(OutsideError);
  });

  test('petabytes of holes are refused, not read', async () => {
    const cage = await scene.over(files);
    await cage.bash(
      'cd /workspace; for i in $(seq 40); do truncate -s 60M h$i; done; for i in $(seq 40); do ln h1 l$i; done',
    );
    await expect(changesOf(cage)).rejects.toBeInstanceOf(LimitError);
  });

  test('folders nested without end are refused with a limit, not a crash', async () => {
    const cage = await scene.over(files);
    await cage.run(
      ...perl("chdir '/workspace'; my $n = 'n' x 200; for (1 .. 60) { mkdir $n; chdir $n } open my $f, '>', 'deep'"),
    );
    await expect(changesOf(cage)).rejects.toBeInstanceOf(LimitError);
  });

  test('names that are no text are told apart and shown without control characters', async () => {
    const cage = await scene.over(files);
    await cage.run(...perl('for my $n ("\\xff", "\\\\xff", "a\\nb", "\\e[2J") { open my $f, ">", "/workspace/$n" }'));
    const names = (await changesOf(cage)).map((change) => change.path);
    expect(new Set(names).size).toBe(4);
  });
});

describe('other runs', () => {
  test('two sandboxes over one checkout do not see each other', async () => {
    const dir = scene.checkout(files);
    const [a, b] = await Promise.all([
      scene.create({ workspace: { kind: 'checkout', dir } }),
      scene.create({ workspace: { kind: 'checkout', dir } }),
    ]);
    await a.bash(
      'echo mine > /workspace/a; echo mine > /tmp/a; echo mine > ~/a; echo mine > /dev/shm/a; ipcmk -M 4096 > /dev/null 2>&1 || true',
    );
    await inCage(a, standing('1', 'peer-of-a'));
    const { out } = await b.run(
      '/bin/sh',
      '-c',
      'ls -A /workspace /tmp ~ /dev/shm /run/cordon /var/tmp; ipcs -m | grep 0x; ps ax 2>/dev/null | grep peer; grep -l peer /proc/*/cmdline 2>/dev/null | grep -v self',
    );
    expect(out).not.toMatch(/\ba\b.*\n|mine|peer-of/);
    const killed = await b.run(...perl("kill 'KILL', $_ for -1, grep { $_ != $$ } 2 .. 40000"));
    expect(killed.exit.kind).toBe('exited');
    expect(findProcesses('peer-of-a')).toHaveLength(1);
  });
});
