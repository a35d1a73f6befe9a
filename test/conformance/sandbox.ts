import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { sha256Hex } from '../../src/base/digest.ts';
import { EnforcementError, LimitError, OutsideError } from '../../src/base/errors.ts';
import { limitHost, removeStale } from '../../src/sandbox/limits.ts';
import type { FileChange, SandboxDriver, SandboxEvent } from '../../src/sandbox/sandbox.ts';
import { resolveToolbox } from '../../src/sandbox/toolbox.ts';
import {
  bytesOf,
  type Cage,
  type Files,
  finish,
  guestEnv,
  helpers,
  openDescriptors,
  processesWith,
  SandboxScene,
  smallLimits,
} from '../fakes/sandbox-scene.ts';

type Started = Extract<SandboxEvent, { type: 'started' }>;
type EndedEvent = Extract<SandboxEvent, { type: 'ended' }>;

/** Images that ran, in order, each with its end. */
function images(events: readonly SandboxEvent[]): (Started & { end: EndedEvent | undefined })[] {
  return events
    .filter((event) => event.type === 'started')
    .map((start) => ({ ...start, end: events.find((e): e is EndedEvent => e.type === 'ended' && e.id === start.id) }));
}

async function changesOf(cage: Cage): Promise<FileChange[]> {
  await cage.sandbox.quiesce();
  const found: FileChange[] = [];
  for await (const change of cage.sandbox.changes()) found.push(change);
  return found;
}

const besideGit = (changes: readonly FileChange[]) => changes.filter((change) => change.path !== '.git');
const short = (changes: readonly FileChange[]) => changes.map((c) => `${c.path}: ${c.change} ${c.kind}`).sort();

/** Groups that the machine still has of a sandbox. */
const groupsOf = (runId: string) => (limitHost().cgroups?.names() ?? []).filter((name) => name.startsWith(`${runId}.`));

/**
 * What every driver promises (src/sandbox/sandbox.ts), judged from outside. Whether the boundary holds against those who
 * try to leave it is what test/attack asks.
 */
export function sandboxConformance(driver: SandboxDriver): void {
  describe(`sandbox conformance: ${driver.name}`, async () => {
    const missing = (await driver.probe()).filter((control) => control.required && control.state === 'missing');
    if (missing.length > 0) {
      test.skip(`not possible here: ${missing.map((c) => `${c.name}: ${c.mechanism}`).join('; ')}`, () => {});
      return;
    }
    const scene = new SandboxScene(driver);
    afterEach(() => scene.close());
    afterAll(() => scene.dispose());

    describe('exec', () => {
      test('hands over the arguments, the whole environment and nothing of ours', async () => {
        const cage = await scene.create();
        const words = ['', 'a b', '$HOME "x" \\', '*', '-n', 'é\n\t', '\u{1f6a7}'];
        const { out } = await cage.run('/usr/bin/printf', '%s|', ...words);
        expect(out).toBe(words.map((word) => `${word}|`).join(''));
        process.env.CORDON_TEST_LEAK = 'secret';
        const env = { ONE: '1', EMPTY: '', LINES: 'a\nb=c' };
        const seen = await finish(await cage.sandbox.exec({ argv: ['/usr/bin/env', '-0'], env }));
        expect(seen.out.split('\0').sort()).toEqual(['', 'EMPTY=', 'LINES=a\nb=c', 'ONE=1']);
        delete process.env.CORDON_TEST_LEAK;
      });

      test('looks a name up in the PATH of its own environment', async () => {
        const cage = await scene.create();
        const env = { PATH: '/nowhere:/usr/bin' };
        expect((await finish(await cage.sandbox.exec({ argv: ['printf', 'found'], env }))).out).toBe('found');
        const none = await finish(await cage.sandbox.exec({ argv: ['printf', 'x'], env: { PATH: '/nowhere' } }));
        expect(none.exit).toMatchObject({ kind: 'failed', errno: 2 });
      });

      test('starts in /workspace or where it is told', async () => {
        const cage = await scene.create();
        expect((await cage.run('/bin/pwd')).out).toBe('/workspace\n');
        const other = await cage.sandbox.exec({ argv: ['/bin/pwd'], env: guestEnv, cwd: '/home/agent' });
        expect((await finish(other)).out).toBe('/home/agent\n');
        const nowhere = await finish(
          await cage.sandbox.exec({ argv: ['/bin/pwd'], env: guestEnv, cwd: '/work/nowhere' }),
        );
        expect(nowhere.exit).toMatchObject({ kind: 'failed', errno: 2 });
      });

      test('standard input: what is written to it and its end; empty without', async () => {
        const cage = await scene.create();
        const cat = await cage.sandbox.exec({ argv: ['/bin/cat'], env: guestEnv, stdin: 'pipe' });
        const big = Buffer.alloc(300_000, 'x');
        cat.stdin?.write('first\n');
        cat.stdin?.end(big);
        expect((await finish(cat)).out).toBe(`first\n${big}`);
        const none = await cage.sandbox.exec({ argv: ['/bin/cat'], env: guestEnv });
        expect(none.stdin).toBeNull();
        expect(await finish(none)).toMatchObject({ out: '', exit: { kind: 'exited', code: 0 } });
      });

      test('tells exit codes, signals, and why something never ran', async () => {
        const cage = await scene.over({ 'plain.txt': 'no program', 'folder/x': '' });
        for (const code of [0, 1, 77, 255]) {
          expect((await cage.run('/bin/sh', '-c', `exit ${code}`)).exit).toEqual({ kind: 'exited', code });
        }
        for (const signal of [15, 9, 6]) {
          const { exit } = await cage.run('/bin/sh', '-c', `kill -${signal} $$`);
          expect(exit).toEqual({ kind: 'signalled', signal });
        }
        expect((await cage.run('/usr/bin/no-such-program')).exit).toMatchObject({ kind: 'failed', errno: 2 });
        expect((await cage.run('/workspace/plain.txt')).exit).toMatchObject({ kind: 'failed', errno: 13 });
        expect((await cage.run('/workspace/folder')).exit).toMatchObject({ kind: 'failed', errno: 13 });
      });

      test('refuses a NUL byte, which would split an argument in two', async () => {
        const cage = await scene.create();
        await expect(cage.run('/bin/echo', 'a\0b')).rejects.toThrow(TypeError);
        expect(await cage.bash('echo still there')).toBe('still there\n');
      });

      test('keeps the two streams apart and whole', async () => {
        const cage = await scene.create();
        const script =
          'for i in {1..20}; do head -c 100000 /dev/zero | tr "\\0" o; head -c 50000 /dev/zero | tr "\\0" e >&2; done';
        const { out, err } = await cage.run('/bin/bash', '-c', script);
        expect([out.length, err.length]).toEqual([2_000_000, 1_000_000]);
        expect([new Set(out), new Set(err)]).toEqual([new Set('o'), new Set('e')]);
      });

      test('keeps the order of what is written to both, where they are asked for together', async () => {
        const cage = await scene.create();
        const numbers = Array.from({ length: 500 }, (_, i) => `${i}\n`).join('');
        const argv = ['/bin/bash', '-c', 'for i in {0..499}; do echo $i >&$((1 + i % 2)); done'] as const;
        const execution = await cage.sandbox.exec({ argv, env: guestEnv, output: 'together' });
        expect(await finish(execution)).toMatchObject({ out: numbers, err: '', exit: { code: 0 } });
      });

      test('is read before the command’s end is told, however late this process comes to either', async () => {
        const cage = await scene.create();
        const argv = ['/bin/sh', '-c', '/bin/true; echo last words >&2; exit 3'] as const;
        const execution = await cage.sandbox.exec({ argv, env: guestEnv });
        let said = '';
        execution.stderr.on('data', (piece) => {
          said += piece;
        });
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500); // busy with something else
        expect(await execution.exit).toEqual({ kind: 'exited', code: 3 });
        expect(said).toBe('last words\n');
      });

      test('kill ends the command with what it started', async () => {
        const cage = await scene.create();
        const polite = await cage.sandbox.exec({
          argv: ['/bin/bash', '-c', 'trap "echo asked; exit 3" TERM; echo up; while :; do sleep 0.01; done'],
          env: guestEnv,
        });
        polite.stdout.once('data', () => polite.kill('SIGTERM'));
        expect(await finish(polite)).toMatchObject({ out: expect.stringContaining('asked'), exit: { code: 3 } });
        const marker = `4${process.pid}`;
        const hard = await cage.sandbox.exec({
          argv: ['/bin/bash', '-c', `trap "" TERM; sleep ${marker} & echo up; wait`],
          env: guestEnv,
        });
        hard.stdout.once('data', () => hard.kill());
        expect((await finish(hard)).exit).toEqual({ kind: 'signalled', signal: 9 });
        await vi.waitFor(() => expect(processesWith(`sleep\0${marker}`)).toEqual([]), 50_000);
      });

      test('runs many at once, each with its own streams and end', async () => {
        const cage = await scene.create();
        const all = await Promise.all(
          Array.from({ length: 60 }, (_, i) => cage.run('/bin/sh', '-c', `echo ${i}; exit ${i}`)),
        );
        expect(all.map(({ out, exit }) => [out, exit])).toEqual(
          all.map((_, i) => [`${i}\n`, { kind: 'exited', code: i }]),
        );
      });

      test('of a command that is running when the sandbox goes: lost', async () => {
        const cage = await scene.create();
        const sleeping = finish(await cage.sandbox.exec({ argv: ['/bin/sleep', '1000'], env: guestEnv }));
        await vi.waitFor(() => expect(cage.events.length).toBeGreaterThan(0), 50_000);
        await cage.sandbox.destroy();
        const { exit } = await sleeping;
        expect(['lost', 'signalled']).toContain(exit.kind);
        await expect(cage.run('/bin/true')).rejects.toThrow(EnforcementError);
      });
    });

    describe('what is inside', () => {
      test('the named files, one user, and nothing of the host', async () => {
        const cage = await scene.create({ etc: { gitconfig: '[a]\n\tb = c\n' }, files: { task: 'do it\n' } });
        expect(await cage.bash('cat /etc/gitconfig /run/cordon/task')).toBe('[a]\n\tb = c\ndo it\n');
        expect(await cage.bash('id -un; hostname; ls -A /workspace /tmp $HOME | grep -v ":$" | tr -d "\\n"')).toBe(
          'agent\ncordon\n',
        );
        expect((await cage.bash('ls -A /')).split('\n')).not.toContain('root');
        expect(await cage.bash('ls -A /home')).toBe('agent\n');
        expect(await cage.bash('grep -c . /proc/net/dev')).toBe('3\n'); // two lines of heading, and lo
        expect(await cage.bash(`test -e ${scene.root} || echo absent`)).toBe('absent\n');
      });

      test('secret files as they are, for nobody else and for no other view', async () => {
        const bytes = Buffer.concat([Buffer.from('-----\n'), Buffer.from([0xff, 0xfe, 1]), Buffer.alloc(60_000, 'k')]);
        const cage = await scene.create({ secretFiles: { key: bytes, 'b.txt': Buffer.from('second') } });
        expect(await cage.bash('sha256sum < /run/secrets/key; cat /run/secrets/b.txt')).toBe(
          `${sha256Hex(bytes)}  -\nsecond`,
        );
        expect(await cage.bash('stat -c "%a %U" /run/secrets/key; ls /run/secrets')).toBe('400 agent\nb.txt\nkey\n');
        expect(
          await cage.bash(
            'chmod 644 /run/secrets/key || rm -f /run/secrets/key || echo x > /run/secrets/c; test -e /run/secrets/c || echo kept',
          ),
        ).toBe('kept\n');
        const git = await cage.sandbox.sibling({ kind: 'usr' });
        const other = await finish(await git.exec({ argv: ['/usr/bin/ls', '/run/secrets'], env: guestEnv }));
        expect(other.exit).toMatchObject({ kind: 'exited', code: 2 });
        expect(await cage.bash('cat /run/secrets/b.txt')).toBe('second');
      });

      test('the checkout is never written to', async () => {
        const cage = await scene.over({ 'a.txt': 'one', 'dir/b.txt': 'two' });
        const dir = join(scene.root, 'checkout');
        await cage.bash('echo changed > a.txt; rm -r dir; echo new > c.txt');
        await cage.end();
        expect(dir).toBeDefined();
        const kept = await scene.over({ 'a.txt': 'one' });
        expect(await kept.bash('cat a.txt; ls')).toBe('onea.txt\n');
      });

      test('two sandboxes over one checkout do not see each other’s changes', async () => {
        const dir = scene.checkout({ 'a.txt': 'one' });
        const [left, right] = await Promise.all([
          scene.create({ workspace: { kind: 'checkout', dir } }),
          scene.create({ workspace: { kind: 'checkout', dir } }),
        ]);
        await left.bash('echo left > a.txt; echo l > left.txt');
        expect(await right.bash('cat a.txt; ls')).toBe('onea.txt\n');
        expect(readFileSync(join(dir, 'a.txt'), 'utf8')).toBe('one');
      });

      test('every control of the spec is named with what enforces it', async () => {
        const cage = await scene.create();
        const { controls } = cage.sandbox;
        expect(controls.filter((control) => control.state === 'missing')).toEqual([]);
        expect(controls.map((control) => control.name)).toEqual(
          expect.arrayContaining(['namespaces', 'seccomp', 'exec-recorder', 'network', 'limit.memory', 'limit.pids']),
        );
      });
    });

    describe('events', () => {
      test('every image with argv, cwd, parent and end, in order', async () => {
        const cage = await scene.create();
        const script = 'cd /tmp; /bin/echo "a  b" c; (sh -c "exit 4"); /usr/bin/false; echo $$ done';
        const { out } = await cage.run('/bin/bash', '-c', script);
        const events = await cage.end();
        const [bash, echo, sh, no, ...more] = images(events);
        expect(more).toEqual([]);
        expect(bash).toMatchObject({
          id: 1,
          parent: 0,
          requested: '/bin/bash',
          cwd: '/workspace',
          argv: ['/bin/bash', '-c', script],
        });
        expect(echo).toMatchObject({ id: 2, parent: 1, argv: ['/bin/echo', 'a  b', 'c'], cwd: '/tmp', argvCut: false });
        expect(sh).toMatchObject({
          id: 3,
          parent: 1,
          argv: ['sh', '-c', 'exit 4'],
          end: { how: { kind: 'exited', code: 4 } },
        });
        expect(no).toMatchObject({ id: 4, parent: 1, end: { how: { kind: 'exited', code: 1 } } });
        expect(bash?.end?.how).toEqual({ kind: 'exited', code: 0 });
        expect(out).toContain(`${bash?.pid} done`);
        const times = events.map((event) => event.time);
        expect(times).toEqual([...times].sort((a, b) => a - b));
        const order = events.map((event) => ('id' in event ? `${event.type} ${event.id}` : event.type));
        for (const id of [1, 2, 3, 4])
          expect(order.indexOf(`started ${id}`)).toBeLessThan(order.indexOf(`ended ${id}`));
        expect(order.at(-1)).toBe('ended 1');
      });

      test('identity comes from the running image: real path and content', async () => {
        const cage = await scene.over({ 'tool.sh': '#!/bin/sh\nexit 0\n' });
        await cage.bash('ln -s /usr/bin/env renamed; ./renamed true; cp /usr/bin/printf mine; ./mine x; sh tool.sh');
        const seen = images(await cage.end());
        const digest = (file: string) => sha256Hex(readFileSync(file));
        const of = (name: string) => seen.find((image) => image.requested === name)?.end;
        expect(of('./renamed')).toMatchObject({
          path: '/usr/bin/env',
          sha256: digest('/usr/bin/env'),
          identity: 'kernel',
          how: { kind: 'replaced' },
        });
        expect(of('./mine')).toMatchObject({
          path: '/workspace/mine',
          sha256: digest('/usr/bin/printf'),
          identity: 'kernel',
        });
      });

      test('a program that becomes another: replaced, the same process, the next image', async () => {
        const cage = await scene.create();
        await cage.run('/bin/sh', '-c', 'exec /bin/sh -c "exec /bin/echo hello"');
        const [first, second, third, ...more] = images(await cage.end());
        expect(more).toEqual([]);
        expect([first?.end?.how.kind, second?.end?.how.kind]).toEqual(['replaced', 'replaced']);
        expect(third?.end?.how).toEqual({ kind: 'exited', code: 0 });
        expect([second?.parent, third?.parent]).toEqual([first?.id, second?.id]);
        expect(new Set([first?.pid, second?.pid, third?.pid]).size).toBe(1);
      });

      test('what could not be executed is told as failed; a search along PATH is not', async () => {
        const cage = await scene.over({ 'data.bin': 'x' });
        await cage.run('/bin/sh', '-c', './data.bin; no-such-command; true');
        const seen = images(await cage.end());
        expect(seen.map((image) => [image.requested, image.end?.how.kind])).toEqual([
          ['/bin/sh', 'exited'],
          ['./data.bin', 'failed'],
        ]);
      });

      test('signals, and processes that outlive the one that started them', async () => {
        const cage = await scene.create();
        await cage.run('/bin/sh', '-c', 'kill -TERM $$');
        await cage.bash(`perl -e 'kill "KILL", $$'; mkfifo pipe; (setsid sleep 0.05 > pipe &); cat pipe`);
        const seen = images(await cage.end());
        const of = (argv: string) => seen.find((image) => image.argv.join(' ') === argv)?.end?.how;
        expect(of('/bin/sh -c kill -TERM $$')).toEqual({ kind: 'signalled', signal: 15 });
        expect(of('sleep 0.05')).toEqual({ kind: 'exited', code: 0 });
        // Reaped by its own parent before anybody could look: not every kernel tells of it afterwards.
        expect([{ kind: 'signalled', signal: 9 }, { kind: 'unknown' }]).toContainEqual(of('perl -e kill "KILL", $$'));
      });

      test('nothing is lost in a storm', async () => {
        const cage = await scene.create();
        await cage.bash('for i in {1..10}; do (for j in {1..40}; do /bin/true $i.$j; done) & done; wait');
        const events = await cage.end();
        const seen = images(events).filter((image) => image.requested === '/bin/true');
        expect(new Set(seen.map((image) => image.argv[1])).size).toBe(400);
        expect(seen.every((image) => image.end?.how.kind === 'exited' && image.end.identity === 'kernel')).toBe(true);
        expect(events.filter((event) => event.type === 'lost')).toEqual([]);
      });

      test('what runs when the sandbox goes has its end too, and then the events end', async () => {
        const cage = await scene.create();
        await cage.sandbox.exec({ argv: ['/bin/sleep', '1000'], env: guestEnv });
        await vi.waitFor(() => expect(cage.events.length).toBeGreaterThan(0), 50_000);
        const events = await cage.end();
        expect(images(events).map((image) => image.end?.how)).toEqual([{ kind: 'signalled', signal: 9 }]);
      });

      test('twenty sandboxes at once do not mix', async () => {
        const cages = await Promise.all(Array.from({ length: 20 }, () => scene.create()));
        await Promise.all(
          cages.map((cage, i) => cage.bash(`/bin/echo ${i}; /bin/sh -c "exit ${i}"; echo ${i} > mine`)),
        );
        for (const [i, cage] of cages.entries()) {
          const seen = images(await cage.end());
          expect(seen.map((image) => image.id)).toEqual([1, 2, 3]);
          expect(seen[1]?.argv).toEqual(['/bin/echo', `${i}`]);
          expect(seen[2]?.end?.how).toEqual({ kind: 'exited', code: i });
        }
      });
    });

    describe('quiesce and sibling', () => {
      test('quiesce ends daemons and keeps files; exec works again', async () => {
        const cage = await scene.create();
        const marker = `5${process.pid}`;
        await cage.bash(`echo kept > file; for i in 1 2 3; do setsid sleep ${marker} >/dev/null 2>&1 & done`);
        await vi.waitFor(() => expect(processesWith(`sleep\0${marker}`)).toHaveLength(3), 50_000);
        await cage.sandbox.quiesce();
        expect(processesWith(`sleep\0${marker}`)).toEqual([]);
        expect(await cage.bash('cat file')).toBe('kept\n');
      });

      test('quiesce ends what forks as fast as it can', async () => {
        const cage = await scene.create();
        await cage.bash('f() { while :; do (f) & (sleep 100) & done; }; f >/dev/null 2>&1 & sleep 0.1');
        await cage.sandbox.quiesce();
        expect(await cage.bash('ls /proc | grep -c "^[0-9]"')).toMatch(/^[2-5]\n$/);
      });

      test('a sibling sees the same files with its own toolbox, and its commands are told like all others', async () => {
        const cage = await scene.create();
        await cage.bash('echo shared > file');
        await cage.sandbox.quiesce();
        const git = await cage.sandbox.sibling(await resolveToolbox([{ path: '/usr/bin/git' }]));
        const version = await finish(await git.exec({ argv: ['/usr/bin/git', 'hash-object', 'file'], env: guestEnv }));
        expect(version.out).toMatch(/^[0-9a-f]{40}\n$/);
        const other = await finish(await git.exec({ argv: ['/usr/bin/env'], env: guestEnv }));
        expect(other.exit).toMatchObject({ kind: 'failed', errno: 13 });
        await git.destroy();
        expect(await cage.bash('cat file')).toBe('shared\n');
        const seen = images(await cage.end());
        expect(seen.map((image) => image.id)).toEqual(seen.map((_, i) => i + 1));
        expect(seen.filter((image) => image.requested === '/usr/bin/git')).toHaveLength(1);
        expect(seen.find((image) => image.requested === '/usr/bin/env')?.end?.how.kind).toBe('failed');
      });
    });

    describe.each([
      { by: 'overlay', copy: false },
      { by: 'copy', copy: true },
    ])('changes ($by)', ({ copy }) => {
      const over = (all: Files) => scene.create({ workspace: { kind: 'checkout', dir: scene.checkout(all), copy } });
      const files = {
        'keep.txt': 'keep',
        'edit.txt': 'before',
        'gone.txt': 'gone',
        'mode.sh': '#!/bin/sh\n',
        'old/one.txt': '1',
        'old/deep/two.txt': '2',
        'anew/a.txt': 'a',
        'anew/b.txt': 'b',
        link: { to: 'keep.txt' },
        'becomes-file/x': 'x',
        'becomes-folder': 'file',
        '.git/HEAD': 'ref: refs/heads/main\n',
      };

      test('none when nothing was changed, also when files were only looked at or written the same', async () => {
        const cage = await over(files);
        await cage.bash(
          'cat edit.txt; ls -R; touch keep.txt; cp edit.txt /tmp/e; cp /tmp/e edit.txt; mkdir x; rmdir x',
        );
        // A copy is all written by us: that its `.git` was not touched cannot be told from outside.
        expect(short(await changesOf(cage))).toEqual(copy ? ['.git: modified directory'] : []);
      });

      test('added, modified and deleted, with the digests of what was and what is', async () => {
        const cage = await over(files);
        await cage.bash('echo new > new.txt; echo after > edit.txt; rm gone.txt; mkdir empty; chmod +x mode.sh');
        const changes = besideGit(await changesOf(cage));
        expect(changes.sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
          {
            path: 'edit.txt',
            change: 'modified',
            kind: 'file',
            before: sha256Hex('before'),
            after: sha256Hex('after\n'),
          },
          { path: 'empty', change: 'added', kind: 'directory', before: null, after: null },
          { path: 'gone.txt', change: 'deleted', kind: 'file', before: sha256Hex('gone'), after: null },
          {
            path: 'mode.sh',
            change: 'modified',
            kind: 'file',
            before: sha256Hex('#!/bin/sh\n'),
            after: sha256Hex('#!/bin/sh\n'),
          },
          { path: 'new.txt', change: 'added', kind: 'file', before: null, after: sha256Hex('new\n') },
        ]);
      });

      test('renamed: gone there and new here, folders with all in them', async () => {
        const cage = await over(files);
        await cage.bash('mv edit.txt edited.txt; mv old new');
        expect(short(besideGit(await changesOf(cage)))).toEqual([
          'edit.txt: deleted file',
          'edited.txt: added file',
          'new/deep/two.txt: added file',
          'new/deep: added directory',
          'new/one.txt: added file',
          'new: added directory',
          'old/deep/two.txt: deleted file',
          'old/deep: deleted directory',
          'old/one.txt: deleted file',
          'old: deleted directory',
        ]);
      });

      test('a folder deleted and made anew hides what it held', async () => {
        const cage = await over(files);
        await cage.bash('rm -r anew old; mkdir -p anew old/deep; printf a > anew/a.txt; echo c > anew/c.txt');
        expect(short(besideGit(await changesOf(cage)))).toEqual([
          'anew/b.txt: deleted file',
          'anew/c.txt: added file',
          'old/deep/two.txt: deleted file',
          'old/one.txt: deleted file',
        ]);
      });

      test('a folder becomes a file and a file a folder; links change their target', async () => {
        const cage = await over(files);
        await cage.bash(
          'rm -r becomes-file becomes-folder link; echo f > becomes-file; mkdir becomes-folder; echo y > becomes-folder/y; ln -s edit.txt link; ln -s /etc/passwd out',
        );
        const changes = besideGit(await changesOf(cage));
        expect(short(changes)).toEqual([
          'becomes-file/x: deleted file',
          'becomes-file: added file',
          'becomes-file: deleted directory',
          'becomes-folder/y: added file',
          'becomes-folder: added directory',
          'becomes-folder: deleted file',
          'link: modified symlink',
          'out: added symlink',
        ]);
        expect(changes.find((change) => change.path === 'out')?.after).toBe(sha256Hex('/etc/passwd')); // the target's name, never what is there
      });

      test('special files are named and not opened', async () => {
        const cage = await over(files);
        await cage.bash('mkfifo pipe; perl -MIO::Socket::UNIX -e "IO::Socket::UNIX->new(Local=>q(sock),Listen=>1)"');
        expect(short(besideGit(await changesOf(cage)))).toEqual(['pipe: added special', 'sock: added special']);
      });

      test('names of any bytes, no two alike', async () => {
        const cage = await over(files);
        await cage.bash(`: > $'line\\nbreak'; : > $'bad\\xff'; : > 'bad\\xff'; : > $'\\e[31m'; : > ' '; : > -n`);
        const names = (await changesOf(cage)).map((change) => change.path).filter((path) => path !== '.git');
        expect(names).toContain('line\nbreak');
        expect(names).toContain('bad\\xff');
        expect(new Set(names).size).toBe(6);
      });

      test('.git is one entry, whatever happened in it', async () => {
        const cage = await over(files);
        await cage.bash(
          'echo x > .git/HEAD; mkdir .git/hooks; echo y > .git/hooks/post-checkout; mkdir sub; mkdir sub/.git',
        );
        expect(short(await changesOf(cage))).toEqual([
          '.git: modified directory',
          'sub/.git: added directory',
          'sub: added directory',
        ]);
      });
    });

    describe('copyOut', () => {
      test('gives the bytes of a regular file of the workspace', async () => {
        const cage = await scene.over({ 'a/b.txt': 'from the checkout' });
        await cage.bash('printf "\\000\\377" > bytes');
        expect((await cage.sandbox.copyOut('a/b.txt', 100)).toString()).toBe('from the checkout');
        expect([...(await cage.sandbox.copyOut('bytes', 2))]).toEqual([0, 255]);
      });

      test('refuses links, devices, pipes, folders, and paths that leave', async () => {
        const cage = await scene.over({ 'real/x': 'x' });
        await cage.bash('ln -s /etc/shadow link; ln -s real dirlink; mkfifo pipe; ln -s /proc/self/root root');
        for (const path of ['link', 'dirlink/x', 'root/etc/passwd', 'pipe', 'real', 'absent', 'real/x/y']) {
          await expect(cage.sandbox.copyOut(path, 100), path).rejects.toThrow(OutsideError);
        }
        for (const path of ['../upper/x', '/etc/passwd', 'real/../real/x', './real/x', '', 'real//x', 'a\0b']) {
          await expect(cage.sandbox.copyOut(path, 100), JSON.stringify(path)).rejects.toThrow(OutsideError);
        }
      });

      test('refuses more than was asked for', async () => {
        const cage = await scene.create();
        await cage.bash('head -c 101 /dev/zero > big; truncate -s 20M sparse');
        await expect(cage.sandbox.copyOut('big', 100)).rejects.toThrow(LimitError);
        await expect(cage.sandbox.copyOut('sparse', 100)).rejects.toThrow(LimitError);
      });
    });

    describe('listen', () => {
      const serve = async (fd: number, text: string): Promise<Server> => {
        const server = createServer((socket) => socket.on('error', () => {}).end(text)).listen({ fd });
        await once(server, 'listening');
        return server;
      };
      const listen = async (cage: Cage, port: number) => {
        const [fd = -1] = await cage.sandbox.listen([{ port, how: 'tcp' }]);
        return fd;
      };
      const read = (port: number) => `exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3`;

      test('a server of ours is reached from inside, from nowhere else, and nothing else is reached', async () => {
        const [cage, other] = await Promise.all([scene.create(), scene.create()]);
        const server = await serve(await listen(cage, 9418), 'hello from outside');
        const host = createServer((socket) => socket.end('the host')).listen(0, '0.0.0.0');
        await once(host, 'listening');
        const { port } = host.address() as { port: number };
        try {
          expect(await cage.bash(read(9418))).toBe('hello from outside');
          await expect(cage.bash(read(port))).rejects.toThrow('refused');
          await expect(other.bash(read(9418))).rejects.toThrow('refused');
          const outside = createConnection(9418, '127.0.0.1');
          const [error] = (await once(outside, 'error')) as [NodeJS.ErrnoException];
          expect(error.code).toBe('ECONNREFUSED');
        } finally {
          server.close();
          host.close();
        }
      });

      test('several ports; one that is taken is an error and harms nothing', async () => {
        const cage = await scene.create();
        const sockets = await cage.sandbox.listen([
          { port: 82, how: 'tcp' },
          { port: 53, how: 'udp' },
          { port: 81, how: 'tcp-any' },
        ]);
        const [two = -1, names = -1, one = -1] = sockets;
        const servers = [await serve(one, 'one'), await serve(two, 'two')];
        const udp = createSocket('udp4').bind({ fd: names });
        udp.on('message', (message, from) => udp.send(`heard ${message}`, from.port, from.address));
        const beyond = 'exec 3<>/dev/tcp/198.18.0.7/81 && cat <&3';
        expect(await cage.bash(`${read(81)}; ${read(82)}; ${beyond}`)).toBe('onetwoone');
        expect(await cage.bash('exec 3<>/dev/udp/127.0.0.1/53; printf it >&3; head -c 8 <&3')).toBe('heard it');
        await expect(listen(cage, 81)).rejects.toThrow(EnforcementError);
        expect(await cage.bash(read(82))).toBe('two');
        udp.close();
        for (const server of servers) server.close();
      });

      test('a port at one address that stands for a name is free at the others', async () => {
        const cage = await scene.create();
        const [one = -1, two = -1] = await cage.sandbox.listen([
          { port: 8443, how: '198.18.0.7' },
          { port: 8443, how: '198.19.255.254' },
        ]);
        const servers = [await serve(one, 'seven'), await serve(two, 'last')];
        const at = (address: string) => `(exec 3<>/dev/tcp/${address}/8443 && cat <&3)`;
        expect(await cage.bash(`${at('198.18.0.7')}; ${at('198.19.255.254')}`)).toBe('sevenlast');
        for (const address of ['127.0.0.1', '198.18.0.8'])
          await expect(cage.bash(at(address))).rejects.toThrow('refused');
        const own = await serve(await listen(cage, 8443), 'own');
        expect(await cage.bash(at('127.0.0.1'))).toBe('own');
        for (const server of [...servers, own]) server.close();
      });

      test('all or none: where one port is taken, the others are free again', async () => {
        const cage = await scene.create();
        const taken = await serve(await listen(cage, 91), 'taken');
        const places = [90, 91, 92].map((port) => ({ port, how: 'tcp' as const }));
        const before = openDescriptors();
        await expect(cage.sandbox.listen(places)).rejects.toThrow(EnforcementError);
        expect(openDescriptors()).toEqual(before);
        await expect(cage.bash(read(90))).rejects.toThrow('refused');
        const free = await serve(await listen(cage, 90), 'free');
        expect(await cage.bash(read(90))).toBe('free');
        expect(await cage.sandbox.listen([])).toEqual([]);
        for (const server of [taken, free]) server.close();
      });
    });

    describe('limits', () => {
      test('disk: writing fails and is told; the guest goes on', async () => {
        const cage = await scene.create({ limits: { ...smallLimits, disk: 4 << 20 } });
        const { exit, err } = await cage.run('/bin/dd', 'if=/dev/zero', 'of=/tmp/big', 'bs=64k', 'count=1000');
        expect(exit).toMatchObject({ kind: 'exited', code: 1 });
        expect(err).toMatch(/No space left|File too large/);
        await cage.bash('cat /dev/zero > /workspace/rest || true');
        await cage.sandbox.quiesce();
        const events = await cage.end();
        expect(events.filter((event) => event.type === 'limit')).toMatchObject([{ limit: 'disk', stopped: false }]);
      });

      /** Whether the machine lets this user have it counted by the kernel; else a named fallback holds each process. */
      const counted = (cage: Cage, name: string) =>
        cage.sandbox.controls.find((control) => control.name === name)?.state === 'enforced';
      const limitsOf = (cage: Cage) => cage.events.filter((event) => event.type === 'limit');

      test('processes: a fork fails and is told; the guest goes on', async () => {
        const cage = await scene.create({ limits: { ...smallLimits, pids: 20 } });
        // Not by a shell, which waits and tries again: by then there may be room.
        const script = 'for (1 .. 60) { my $p = fork; last if !defined $p; exec "/usr/bin/sleep", "4" if !$p }';
        await cage.run('/usr/bin/perl', '-e', script);
        await cage.sandbox.quiesce();
        expect(await cage.bash('echo on')).toBe('on\n');
        await cage.end();
        expect(limitsOf(cage)).toMatchObject(counted(cage, 'limit.pids') ? [{ limit: 'pids', stopped: false }] : []);
        const started = images(cage.events).filter((image) => image.requested.endsWith('/sleep'));
        expect(started.length).toBeGreaterThan(5);
        expect(started.length).toBeLessThanOrEqual(20 + 6); // what is kept free for the sandbox’s own processes
      });

      test('memory: what takes too much does not get it; counted together, everything inside is ended, and told', async () => {
        const cage = await scene.create({ limits: { ...smallLimits, memory: 64 << 20, disk: 8 << 20 } });
        const { exit } = await cage.run('/usr/bin/perl', '-e', '$x = "x" x (400 << 20); sleep 20');
        expect(exit).not.toEqual({ kind: 'exited', code: 0 });
        if (!counted(cage, 'limit.memory')) return;
        expect(exit.kind).not.toBe('exited');
        await vi.waitFor(() => expect(limitsOf(cage)).toMatchObject([{ limit: 'memory', stopped: true }]), 50_000);
      });
    });

    describe('the end', () => {
      test('destroy is idempotent, also when it is called twice at once and while commands start', async () => {
        const cage = await scene.create();
        const starting = Array.from({ length: 10 }, () => cage.run('/bin/sleep', '100').catch(() => null));
        await Promise.all([cage.sandbox.destroy(), cage.sandbox.destroy()]);
        await cage.sandbox.destroy();
        await Promise.all(starting);
        await expect(cage.sandbox.listen([{ port: 80, how: 'tcp' }])).rejects.toThrow(EnforcementError);
        await expect(cage.sandbox.copyOut('x', 1)).rejects.toThrow(EnforcementError);
      });

      test('nothing is left: no process, group, mount or descriptor, after many times', async () => {
        const cycle = async () => {
          const cage = await scene.over({ 'a.txt': 'a' });
          const marker = `6${process.pid}`;
          await cage.bash(
            `echo b > b.txt; setsid sleep ${marker} >/dev/null 2>&1 & setsid nohup sleep ${marker} >/dev/null 2>&1 &`,
          );
          const piped = await cage.sandbox.exec({ argv: ['/bin/cat'], env: guestEnv, stdin: 'pipe' });
          piped.stdin?.end('x');
          await bytesOf(piped.stdout);
          await bytesOf(piped.stderr);
          const [fd = -1] = await cage.sandbox.listen([{ port: 9418, how: 'tcp' }]);
          const server = createServer().listen({ fd });
          await once(server, 'listening');
          await changesOf(cage);
          await cage.sandbox.sibling(await resolveToolbox([{ path: '/usr/bin/git' }]));
          const { id } = cage.sandbox;
          server.close();
          await cage.end();
          expect(processesWith(`sleep\0${marker}`)).toEqual([]);
          expect(groupsOf(id)).toEqual([]);
        };
        await cycle();
        await vi.waitFor(() => expect(helpers()).toEqual([]), 50_000);
        const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
        const before = openDescriptors();
        for (let i = 0; i < 8; i++) await cycle();
        await vi.waitFor(() => expect(openDescriptors().filter((name) => !before.includes(name))).toEqual([]), 50_000);
        expect(helpers()).toEqual([]);
        expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(mounts);
      });

      test('a sandbox that cannot be made leaves nothing, and says which control it was', async () => {
        await (await scene.create()).end();
        const before = openDescriptors();
        const impossible = [
          { workspace: { kind: 'checkout' as const, dir: '/no/such/checkout' } },
          { limits: { ...smallLimits, inodes: -1 } },
          { etc: { '../../../outside/x/y/z': 'escaped' } },
          { etc: { passwd: 'a\0b' } },
          {
            toolbox: {
              kind: 'list' as const,
              executables: [],
              libraries: [{ path: '/usr/lib/no-such-library.so', sha256: '', outsideUsr: false }],
              links: [],
              digest: '',
            },
          },
        ];
        for (const fields of impossible) {
          const spec = scene.spec(fields);
          await expect(driver.create(spec), JSON.stringify(fields)).rejects.toThrow(EnforcementError);
          expect(groupsOf(spec.runId)).toEqual([]);
          expect(helpers()).toEqual([]);
        }
        await vi.waitFor(() => expect(openDescriptors().filter((name) => !before.includes(name))).toEqual([]), 50_000);
      });

      test('its helpers may be killed at any moment of its making: nothing hangs, nothing is left', async () => {
        await (await scene.create()).end();
        const before = openDescriptors();
        for (let moment = 0; moment < 24; moment++) {
          const spec = scene.spec();
          const making = driver.create(spec).then(
            (sandbox) => sandbox.destroy(),
            (error) => expect(error).toBeInstanceOf(EnforcementError),
          );
          const killer = setInterval(() => {
            for (const pid of helpers()) {
              try {
                process.kill(pid, 'SIGKILL');
              } catch {
                // gone by itself
              }
            }
          }, moment);
          await making.finally(() => clearInterval(killer));
          expect(groupsOf(spec.runId)).toEqual([]);
        }
        expect(helpers()).toEqual([]);
        await vi.waitFor(() => expect(openDescriptors().filter((name) => !before.includes(name))).toEqual([]), 50_000);
      });

      test('the process that made it may be killed: nothing runs on, and the group is found', async () => {
        const marker = `7${process.pid}`;
        const runId = `killed-${process.pid}`;
        const program = `
          import { sandboxDrivers } from ${JSON.stringify(join(import.meta.dirname, '../../src/sandbox/index.ts'))};
          const sandbox = await sandboxDrivers[${JSON.stringify(driver.name)}]().create(${JSON.stringify(scene.spec({ runId }))});
          const run = await sandbox.exec({ argv: ['/bin/bash', '-c', 'setsid sleep ${marker} & sleep ${marker} & echo up; wait'], env: { PATH: '/usr/bin' } });
          run.stdout.once('data', () => console.log('up'));
        `;
        const file = join(scene.root, 'maker.ts');
        writeFileSync(file, program);
        const child = spawn(process.execPath, [file], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        onTestFinished(() => void child.kill('SIGKILL'));
        await once(child.stdout, 'data');
        await vi.waitFor(() => expect(processesWith(`sleep\0${marker}`)).toHaveLength(2), 50_000);
        child.kill('SIGKILL');
        await once(child, 'exit');
        await vi.waitFor(() => expect(processesWith(`sleep\0${marker}`)).toEqual([]), 50_000);
        await removeStale(() => true);
        expect(groupsOf(runId)).toEqual([]);
      });
    });
  });
}
