/** The record of what ran: whatever the guest does, an image that ran is in it, with the file and the words it ran with. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { sha256Hex } from '../../src/base/digest.ts';
import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import type { SandboxEvent, SandboxSpec } from '../../src/sandbox/sandbox.ts';
import { type Ended, type Files, SandboxScene } from '../fakes/sandbox-scene.ts';
import { inCage, perl } from './guest.ts';
import { descriptorsOf, findProcesses, until } from './host.ts';

const scene = new SandboxScene(bubblewrap);
afterEach(() => scene.close());
afterAll(() => scene.dispose());

type Start = Extract<SandboxEvent, { type: 'started' }>;
type End = Extract<SandboxEvent, { type: 'ended' }>;
type Image = Start & { readonly end: End };

const digestOf = (path: string) => sha256Hex(readFileSync(path));

function images(events: readonly SandboxEvent[]): Image[] {
  const starts = events.filter((event) => event.type === 'started');
  const ends = new Map(events.filter((event) => event.type === 'ended').map((event) => [event.id, event]));
  expect(events.filter((event) => event.type === 'lost')).toEqual([]);
  expect(ends.size, 'every image has an end').toBe(starts.length);
  return starts.map((start) => ({ ...start, end: ends.get(start.id) as End }));
}

/** Runs one thing in a fresh sandbox; what was recorded of it, and how it ended. */
async function record(
  argv: readonly [string, ...string[]],
  files: Files = {},
  spec: Partial<SandboxSpec> = {},
): Promise<Ended & { images: Image[] }> {
  const cage = await scene.over(files, spec);
  const ended = await cage.run(...argv);
  await cage.sandbox.quiesce();
  return { ...ended, images: images(await cage.end()) };
}

const withArgument = (list: readonly Image[], word: string) => list.filter((image) => image.argv.includes(word));

describe('an image is recorded however it comes about', () => {
  const ways: Record<string, string> = {
    'fork and exec': "if (!fork) { exec '/usr/bin/printf', 'marker' } wait;",
    'twice forked, the middle gone':
      "if (!fork) { if (!fork) { select undef, undef, undef, 0.02; exec '/usr/bin/printf', 'marker' } exit } wait; sleep 1;",
    'a daemon with a session of its own':
      "if (!fork) { S('setsid'); if (!fork) { exec '/usr/bin/printf', 'marker' } exit } wait; sleep 1;",
    // Of libc's own: a vfork by hand would have the child run on in perl's memory, and break the parent now and then.
    vfork: "system('/usr/bin/awk', 'BEGIN { system(\"exec /usr/bin/printf marker\") }');",
    'after its name was changed':
      "S('prctl', 15, my $n = \"x) Z 1\", 0, 0, 0); if (!fork) { exec '/usr/bin/printf', 'marker' } wait;",
    'not dumpable any more': "S('prctl', 4, 0, 0, 0, 0); if (!fork) { exec '/usr/bin/printf', 'marker' } wait;",
    'by execveat':
      "if (!fork) { my @a = ('printf', 'marker'); my $v = pack('P P Q', $a[0], $a[1], 0); my $e = pack('Q', 0); S('execveat', -100, my $f = '/usr/bin/printf', $v, $e, 0) } wait;",
    'by a relative name': "chdir '/usr/bin'; if (!fork) { exec { './printf' } 'printf', 'marker' } wait;",
    'through a link': "symlink '/usr/bin/printf', '/tmp/link'; if (!fork) { exec '/tmp/link', 'marker' } wait;",
    'with a name that is none': "if (!fork) { exec { '/usr/bin/printf' } 'innocent', 'marker' } wait;",
    'without a name at all':
      "if (!fork) { my $v = pack('Q', 0); S('execve', my $f = '/usr/bin/printf', $v, $v) } wait; exec '/usr/bin/printf', 'marker'",
    'under a filter of its own':
      "S('prctl', 38, 1, 0, 0, 0); my $i = pack('S C C L', 6, 0, 0, 0x7fff0000); my $p = pack('S x6 P', 1, $i); S('seccomp', 1, 0, $p); if (!fork) { exec '/usr/bin/printf', 'marker' } wait;",
  };
  for (const [name, code] of Object.entries(ways)) {
    test(name, async () => {
      const result = await record(perl(code));
      expect(result.out).toContain('marker');
      const [found, ...more] = withArgument(result.images, 'marker');
      expect(more).toEqual([]);
      expect(found?.end).toMatchObject({
        path: '/usr/bin/printf',
        sha256: digestOf('/usr/bin/printf'),
        identity: 'kernel',
      });
    });
  }

  test('a script: its interpreter runs, the script stands in the arguments', async () => {
    const result = await record(['/bin/sh', '-c', 'cp s /tmp/s; chmod 755 /tmp/s; /tmp/s marker'], {
      s: '#!/bin/sh\nexec printf "$1"\n',
    });
    expect(result.out).toBe('marker');
    expect(result.images.find((image) => image.requested === '/tmp/s')?.end.path).toBe('/usr/bin/dash');
    expect(withArgument(result.images, 'marker').map((image) => image.requested)).toContain('/usr/bin/printf');
  });

  test('by a thread that is not the first one', async (context) => {
    const python = [
      '/usr/bin/python3',
      '-c',
      "import os,threading,time; threading.Thread(target=lambda: os.execv('/usr/bin/printf',['printf','marker'])).start(); time.sleep(5)",
    ] as const;
    try {
      execFileSync('/usr/bin/python3', ['-c', '1']);
    } catch {
      context.skip('no python3 here');
    }
    const result = await record(python);
    expect(result.out).toBe('marker');
    expect(withArgument(result.images, 'marker')).toMatchObject([{ end: { path: '/usr/bin/printf' } }]);
  });
});

/** It has lived so long that the recorder watches it: each program that it starts is looked at first, and what is young with it. */
const SEEN = "for (1 .. 3) { select undef, undef, undef, 0.01; system '/usr/bin/true' }";

describe('the end of an image is recorded', () => {
  test.each([
    ['by its own signal', `${SEEN}; kill 'KILL', $$`, { kind: 'signalled', signal: 9 }],
    ['by exit of its only thread (SYS_exit)', `${SEEN}; S('exit', 7)`, { kind: 'exited', code: 7 }],
    ['by exit_group with more than a byte', "S('exit_group', 0x1ff)", { kind: 'exited', code: 255 }],
  ])('%s', async (_, code, how) => {
    const result = await record(['/bin/sh', '-c', '"$@"; true', 'x', ...perl(code)]);
    expect(result.images.find((image) => image.argv[0] === '/usr/bin/perl')?.end.how).toEqual(how);
  });

  test('of processes that live on at the end of the run', async () => {
    const cage = await scene.create();
    await cage.bash(
      'for how in "" setsid; do $how sleep 1000 > /dev/null 2>&1 & until [[ $(readlink /proc/$!/exe) = */sleep ]]; do :; done; done',
    );
    await cage.sandbox.quiesce();
    const slept = images(await cage.end()).filter((image) => image.argv[0] === 'sleep');
    expect(slept.map((image) => image.end.how)).toEqual(Array(2).fill({ kind: 'signalled', signal: 9 }));
  });

  test('of a file that is gone by then', async () => {
    const result = await record([
      '/bin/sh',
      '-c',
      'cp /usr/bin/cat /tmp/gone; mkfifo /tmp/end; /tmp/gone /tmp/end & until [ "$(readlink /proc/$!/exe)" = /tmp/gone ]; do :; done; rm /tmp/gone; : > /tmp/end; wait',
    ]);
    const gone = result.images.find((image) => image.requested === '/tmp/gone');
    expect(gone?.end.sha256).toBe(digestOf('/usr/bin/cat'));
  });
});

describe('what is recorded is what ran', () => {
  test('a file rewritten through a mapping, at the same size, has another digest', async () => {
    const result = await record([
      '/bin/sh',
      '-c',
      `cp /usr/bin/true /tmp/x; sleep 2.7; /tmp/x first; perl -e '
        open my $f, "+<", "/tmp/x"; my $size = -s $f; my $at = syscall(${process.arch === 'arm64' ? 222 : 9}, 0, $size, 3, 1, fileno($f), 0);
        open my $g, "<", "/usr/bin/false"; syscall(${process.arch === 'arm64' ? 63 : 0}, fileno($g), $at, $size)'; sleep 2.7; /tmp/x second`,
    ]);
    expect(withArgument(result.images, 'first')[0]?.end.sha256).toBe(digestOf('/usr/bin/true'));
    const second = withArgument(result.images, 'second')[0]?.end;
    expect(second?.how).toEqual({ kind: 'exited', code: 1 });
    expect(second?.sha256).toBe(digestOf('/usr/bin/false'));
  });

  test('arguments changed by another process in shared memory are seen', async () => {
    // One process flips a word without pause, another executes with it: some images get one word, some the other.
    const result = await record(
      perl(`
        for (['a', 'innocent'], ['b', 'burglary']) { open my $f, '>', "/tmp/$_->[0]"; print $f $_->[1] }
        open my $a, '<', '/tmp/a'; open my $b, '<', '/tmp/b';
        my $at = S('mmap', 0, 4096, 3, 0x21, -1, 0); S('pread64', fileno($a), $at, 8, 0);
        my $flip = fork; if (!$flip) { while (1) { S('pread64', fileno($a), $at, 8, 0); S('pread64', fileno($b), $at, 8, 0) } }
        my $file = '/usr/bin/printf'; my $none = pack('Q', 0); my $words = pack('P Q Q', $file, $at, 0);
        for (1 .. 100) { if (!fork) { S('execve', $file, $words, $none) } wait; print "\n" }
        kill 'KILL', $flip;
      `),
    );
    const ran = result.out.trim().split('\n');
    expect(new Set(ran).size, 'the race is on').toBeGreaterThan(1);
    const recorded = result.images.filter((image) => image.end.path === '/usr/bin/printf');
    expect(recorded.map((image) => (image.end.argvSeen ?? image.argv)[1])).toEqual(ran);
  });

  test('a hundred names that are no text, with newlines, tabs and escapes, stay apart', async () => {
    const result = await record(
      perl(`
      for my $word ("a\\nb", "\\xff", "\\\\xff", "\\xc3\\x28", "\\e[2J", "a b") { if (!fork) { exec '/usr/bin/true', $word } wait }
    `),
    );
    const words = result.images.filter((image) => image.end.path === '/usr/bin/true').map((image) => image.argv[1]);
    expect(words).toHaveLength(6);
    expect(new Set(words).size, JSON.stringify(words)).toBe(6);
  });

  test('an argument list of a megabyte is cut, and says so', async () => {
    const result = await record(
      perl(
        "if (!fork) { exec '/usr/bin/true', ('x' x 100000) x 10 } wait; if (!fork) { exec '/usr/bin/true', ('y') x 20000 } wait",
      ),
    );
    const long = result.images.filter((image) => image.end.path === '/usr/bin/true');
    expect(long.map((image) => [image.argvCut, image.argv.join('').length < 10_000])).toEqual([
      [true, true],
      [true, true],
    ]);
  });
});

describe('the recorder cannot be shaken off', () => {
  test('thousands of images in a storm are all there', async () => {
    const result = await record(
      perl(`
      for my $lane (1 .. 4) { if (!fork) { for (1 .. 500) { if (!fork) { exec '/usr/bin/true', "n$lane-$_" } wait } exit } }
      1 while wait != -1
    `),
    );
    const seen = new Set(
      result.images.filter((image) => image.end.path === '/usr/bin/true').map((image) => image.argv[1]),
    );
    expect(seen.size).toBe(2000);
  });

  test('processes killed as they start are all there, or never ran', async () => {
    const result = await record(
      perl(`
      for (1 .. 200) { my $p = fork; if (!$p) { exec '/usr/bin/printf', "[$_]" } select undef, undef, undef, 0.002 * rand; kill 'KILL', $p; wait }
    `),
    );
    const recorded = new Set(result.images.map((image) => image.argv[1]));
    for (const [, n] of result.out.matchAll(/\[(\d+)\]/g)) expect(recorded).toContain(`[${n}]`);
  });

  test('nobody inside holds the listener or the control socket', async () => {
    const cage = await scene.create();
    const execution = await inCage(cage, perl('$0 = "holder-of-nothing"; say "ready"; <STDIN>'));
    const [guest] = findProcesses('holder-of-nothing');
    const open = [...descriptorsOf(guest?.pid ?? 0)].map(([fd, name]) => `${fd} ${name.split(':')[0]}`);
    expect(open.sort()).toEqual(['0 pipe', '1 pipe', '2 pipe']);
    execution.kill();
    await execution.exit;
  });

  test('process 1 shows nothing of itself: memory, descriptors, root, environment', async () => {
    const cage = await scene.create();
    const { out } = await cage.run(
      '/bin/sh',
      '-c',
      'for f in mem maps environ fd/3 root/etc cwd exe auxv; do cat /proc/1/$f 2>/dev/null && echo "GOT $f"; ls /proc/1/$f/ 2>/dev/null; done; ls /proc/1/fd',
    );
    expect(out).toBe('');
  });

  test('limits that the guest sets on process 1 do not keep a trusted step from running', async () => {
    const cage = await scene.create();
    await cage.run(...perl("for my $r (1, 6, 7, 9) { S('prlimit64', 1, $r, my $z = pack('QQ', 0, 0), 0) }"));
    await cage.sandbox.quiesce();
    const trusted = await cage.sandbox.sibling({ kind: 'usr' });
    const execution = await trusted.exec({ argv: ['/usr/bin/printf', 'fine'], env: {} });
    expect((await execution.stdout.toArray()).join('')).toBe('fine');
  });

  test('a program of gigabytes that are not there does not hold up the record', async () => {
    const result = await record([
      '/bin/sh',
      '-c',
      'for i in 1 2 3 4; do cp /usr/bin/true /tmp/big$i; truncate -s 60M /tmp/big$i; /tmp/big$i; done; true',
    ]);
    expect(result.images.filter((image) => image.requested.startsWith('/tmp/big'))).toHaveLength(4);
  });
});

test('everything that was started is gone from the machine at the end', async () => {
  const cage = await scene.create();
  const name = `survivor-${process.pid}`;
  await cage.run(
    ...perl(
      `for (1 .. 5) { if (!fork) { S('setsid'); if (!fork) { $0 = '${name}'; close STDOUT; close STDERR; $SIG{$_} = 'IGNORE' for qw(TERM HUP INT); sleep 1000 } exit } } wait for 1 .. 5; select undef, undef, undef, 0.2`,
    ),
  );
  await until('five daemons', () => findProcesses(name).length === 5);
  await cage.end();
  expect(findProcesses(name)).toEqual([]);
});
