import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { MemoryMark, ProcessView } from './process-view.ts';
import { Recorder, type StoppedCall } from './recorder.ts';
import type { SandboxEvent } from './sandbox.ts';

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly guestPid: number;
  file: string;
  /** Changes with every image, as the kernel lays out memory anew. */
  layout: number;
  /** Null until the kernel has laid it out. */
  commandLine: readonly string[] | null;
  alive: boolean;
  zombie: number | undefined;
  told: number | undefined;
}

/** A machine of which the recorder sees what it would see of a real one. */
class Machine implements ProcessView {
  readonly processes = new Map<number, Process>();
  readonly files = new Set(['/bin/sh', '/bin/true', '/bin/echo']);
  readonly calls = new Map<bigint, { path: string; argv: readonly string[] }>();
  readonly pidfds = new Map<number, number>();
  readonly closed: number[] = [];
  readonly watched = new Set<number>();
  readonly events: SandboxEvent[] = [];
  readonly recorder = new Recorder(this, {
    emit: (event) => this.events.push(event),
    watch: (fd) => this.watched.add(fd),
    unwatch: (fd) => this.watched.delete(fd),
  });
  time = 1_000;
  #last = 0;
  #layouts = 0;
  #address = 0n;
  #fd = 100;

  fork(parent = 1, pid = 500 + ++this.#last): Process {
    const from = this.processes.get(parent);
    const process: Process = {
      pid,
      parent,
      guestPid: pid - 400,
      file: from?.file ?? '/init',
      layout: from?.layout ?? 0,
      commandLine: from?.commandLine ?? [],
      alive: true,
      zombie: undefined,
      told: undefined,
    };
    this.processes.set(pid, process);
    return process;
  }

  stop(thread: number, kind: StoppedCall['kind'], args: StoppedCall['args'], valid = true): void {
    this.recorder.stopped({ thread, kind, args, valid: () => valid });
  }

  /** The call as the recorder sees it: before anything has come of it. */
  asks(process: Process, path: string, argv: readonly string[] = [path], thread = process.pid, at = false): void {
    const address = ++this.#address;
    this.calls.set(address, { path, argv });
    this.stop(thread, at ? 'execveat' : 'execve', at ? [3n, address, address] : [address, address, 0n]);
  }

  /** What the kernel then makes of it. */
  becomes(process: Process, file: string, argv: readonly string[] | null = [file]): void {
    process.file = file;
    process.layout = ++this.#layouts;
    process.commandLine = argv;
  }

  exec(process: Process, path: string, argv: readonly string[] = [path]): void {
    this.asks(process, path, argv);
    this.becomes(process, path, argv);
  }

  exit(process: Process, code: number): void {
    this.stop(process.pid, 'exit_group', [BigInt(code), 0n, 0n]);
    process.alive = false;
  }

  /** Ended by a signal: no call is made. */
  die(process: Process, status: number | undefined, how: 'zombie' | 'told' = 'zombie'): void {
    process.alive = false;
    if (how === 'zombie') process.zombie = status;
    else process.told = status;
  }

  processIds(thread: number) {
    const process = this.processes.get(thread) ?? [...this.processes.values()].find((p) => p.pid === thread >> 4);
    if (process === undefined || !process.alive) return null;
    return { process: process.pid, parent: process.parent, guestPid: process.guestPid };
  }
  callArguments(thread: number, path: bigint) {
    const call = this.calls.get(path);
    const process = this.processes.get(this.processIds(thread)?.process ?? 0);
    if (call === undefined || process === undefined) return null;
    return { ...call, cut: false, mark: { address: 1n, bytes: Buffer.from([process.layout]) } };
  }
  #alive(pid: number): Process | null {
    const process = this.processes.get(pid);
    return process?.alive ? process : null;
  }
  runningInode = (pid: number) => this.#alive(pid)?.file ?? null;
  hasMark = (pid: number, mark: MemoryMark) => this.#alive(pid)?.layout === mark.bytes[0];
  commandLine = (pid: number) => this.#alive(pid)?.commandLine ?? null;
  workingFolder = (thread: number) => (this.processIds(thread) === null ? null : '/workspace');
  mayExist = (_: number, path: string) => this.files.has(path);
  zombieStatus = (pid: number) => this.processes.get(pid)?.zombie;
  identify(pid: number) {
    const process = this.#alive(pid);
    return process === null ? null : { path: `/usr${process.file}`, sha256: `digest of ${process.file}` };
  }
  openProcess(pid: number) {
    if (this.#alive(pid) === null) return null;
    this.pidfds.set(++this.#fd, pid);
    return this.#fd;
  }
  endedStatus = (pidfd: number) => this.processes.get(this.pidfds.get(pidfd) ?? 0)?.told;
  close(fd: number) {
    this.closed.push(fd);
  }
  now = () => this.time;

  /** Events without what every one of them has. */
  get told(): unknown[] {
    return this.events.map((event) => {
      if (event.type === 'started') return ['started', event.id, event.parent, event.argv.join(' ')];
      if (event.type === 'ended')
        return ['ended', event.id, event.how.kind === 'exited' ? event.how.code : event.how.kind];
      return [event.type];
    });
  }
}

let machine: Machine;
beforeEach(() => {
  machine = new Machine();
});

describe('an image', () => {
  test('is told when it has been mapped, with its identity from the kernel', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/echo', ['/bin/echo', 'a b']);
    expect(machine.events).toEqual([]); // not yet known to have succeeded
    machine.time = 1_010;
    machine.exit(process, 3);
    expect(machine.events).toEqual([
      {
        type: 'started',
        id: 1,
        time: 1_000,
        pid: process.guestPid,
        parent: 0,
        requested: '/bin/echo',
        argv: ['/bin/echo', 'a b'],
        argvCut: false,
        cwd: '/workspace',
      },
      {
        type: 'ended',
        id: 1,
        time: 1_010,
        path: '/usr/bin/echo',
        sha256: 'digest of /bin/echo',
        identity: 'kernel',
        how: { kind: 'exited', code: 3 },
      },
    ]);
  });

  test('that is looked at when its file is there and its words are not: they are read at its next stop', () => {
    const process = machine.fork();
    machine.asks(process, '/bin/echo', ['echo', 'innocent']);
    machine.becomes(process, '/bin/echo', null);
    machine.recorder.sweep();
    process.commandLine = ['echo', 'burglary'];
    machine.exit(process, 0);
    expect(machine.events.at(-1)).toMatchObject({ identity: 'kernel', argvSeen: ['echo', 'burglary'] });
  });

  test('of which only the low byte of the exit code counts', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/true');
    machine.exit(process, 0x1ff);
    expect(machine.told.at(-1)).toEqual(['ended', 1, 255]);
  });

  test('that is started by execveat, with the path in its second argument', () => {
    const process = machine.fork();
    machine.asks(process, '/bin/true', ['true'], process.pid, true);
    machine.becomes(process, '/bin/true', ['true']);
    machine.exit(process, 0);
    expect(machine.told).toEqual([
      ['started', 1, 0, 'true'],
      ['ended', 1, 0],
    ]);
  });

  test('that becomes another, and itself again: told by its memory when the file is the same', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/sh', ['sh', 'one']);
    machine.exec(process, '/bin/sh', ['sh', 'two']);
    machine.exec(process, '/bin/true');
    machine.exit(process, 0);
    expect(machine.told).toEqual([
      ['started', 1, 0, 'sh one'],
      ['started', 2, 1, 'sh two'],
      ['ended', 1, 'replaced'],
      ['started', 3, 2, '/bin/true'],
      ['ended', 2, 'replaced'],
      ['ended', 3, 0],
    ]);
  });

  test('belongs to the nearest ancestor that is one; forks in between are none', () => {
    const shell = machine.fork();
    machine.exec(shell, '/bin/sh');
    const child = machine.fork(machine.fork(shell.pid).pid);
    machine.exec(child, '/bin/true');
    machine.exit(child, 0);
    expect(machine.told).toContainEqual(['started', 2, 1, '/bin/true']);
  });

  test('never made is not told: a fork that only ends', () => {
    const process = machine.fork();
    machine.exit(process, 0);
    machine.recorder.sweep();
    expect(machine.events).toEqual([]);
  });
});

describe('an execve that fails', () => {
  test('of a file that is there, is told, and the image goes on', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/sh');
    machine.files.add('/workspace/data');
    machine.asks(process, '/workspace/data');
    machine.exit(process, 126);
    expect(machine.told).toEqual([
      ['started', 1, 0, '/bin/sh'],
      ['started', 2, 1, '/workspace/data'],
      ['ended', 2, 'failed'],
      ['ended', 1, 126],
    ]);
    expect(machine.events.find((event) => event.type === 'ended')).toMatchObject({ identity: 'request', sha256: null });
  });

  test('of what is not there, as a search along PATH does, is no event', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/sh');
    for (const path of ['/usr/local/bin/true', '/opt/bin/true']) machine.asks(process, path, ['true']);
    machine.exec(process, '/bin/true', ['true']);
    machine.exit(process, 0);
    expect(machine.told).toEqual([
      ['started', 1, 0, '/bin/sh'],
      ['started', 2, 1, 'true'],
      ['ended', 1, 'replaced'],
      ['ended', 2, 0],
    ]);
  });

  test('is not taken for a failure while it may still be under way', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/sh');
    machine.recorder.sweep();
    machine.asks(process, '/bin/echo');
    machine.recorder.sweep(); // looked at between the call and what comes of it
    machine.becomes(process, '/bin/echo');
    machine.exit(process, 0);
    expect(machine.told.map((event) => (event as unknown[])[2])).not.toContain('failed');
    expect(machine.told).toContainEqual(['started', 2, 1, '/bin/echo']);
  });
});

describe('what cannot be looked at', () => {
  test('is told as lost when the process is gone from view and still waits', () => {
    const process = machine.fork();
    machine.asks(process, '/bin/true', ['true'], 99_999);
    expect(machine.told).toEqual([['lost']]);
  });

  test('is nothing when it was killed while it was looked at', () => {
    const process = machine.fork();
    process.alive = false;
    machine.stop(process.pid, 'execve', [1n, 1n, 0n], false);
    expect(machine.events).toEqual([]);
  });

  test('arguments that cannot be read: told as cut', () => {
    const process = machine.fork();
    machine.stop(process.pid, 'execve', [77n, 77n, 0n]);
    machine.becomes(process, '/bin/true');
    machine.exit(process, 0);
    expect(machine.events[0]).toMatchObject({ type: 'started', argv: [], argvCut: true });
    expect(machine.events[1]).toMatchObject({ path: '/usr/bin/true', identity: 'kernel' });
  });
});

describe('threads', () => {
  test('an execve of a thread is its process’s', () => {
    const process = machine.fork();
    machine.exec(process, '/bin/sh');
    machine.asks(process, '/bin/true', ['true'], process.pid << 4);
    machine.becomes(process, '/bin/true', ['true']);
    machine.exit(process, 0);
    expect(machine.told).toContainEqual(['started', 2, 1, 'true']);
    expect(machine.told).toContainEqual(['ended', 1, 'replaced']);
  });

  test('a sibling thread that changes the arguments: what was really run is told beside what was asked', () => {
    const process = machine.fork();
    machine.asks(process, '/bin/echo', ['echo', 'harmless']);
    machine.becomes(process, '/bin/echo', ['echo', 'other']);
    machine.exit(process, 0);
    expect(machine.events.at(-1)).toMatchObject({ type: 'ended', argvSeen: ['echo', 'other'] });
  });

  test('a child of vfork shares its parent’s memory, and so what others write there: what was really run is told', () => {
    const parent = machine.fork();
    machine.exec(parent, '/bin/sh');
    const child = machine.fork(parent.pid);
    machine.asks(child, '/bin/echo', ['echo', 'harmless']);
    machine.becomes(child, '/bin/echo', ['echo', 'other']);
    machine.exit(child, 0);
    expect(machine.events.at(-1)).toMatchObject({ argvSeen: ['echo', 'other'] });
  });

  test('a command line that is not what was asked for is told, whoever changed it', () => {
    const process = machine.fork();
    machine.asks(process, '/bin/echo', ['echo', 'asked']);
    machine.becomes(process, '/bin/echo', ['a title']);
    machine.exit(process, 0);
    expect(machine.events.at(-1)).toMatchObject({ argvSeen: ['a title'] });
    const same = machine.fork();
    machine.exec(same, '/bin/echo', ['echo', 'asked']);
    machine.exit(same, 0);
    expect(machine.events.at(-1)).not.toHaveProperty('argvSeen');
  });
});

describe('an end without a call', () => {
  const started = () => {
    const process = machine.fork();
    machine.exec(process, '/bin/sh');
    return process;
  };

  test('a signal, seen of the zombie', () => {
    const process = started();
    machine.recorder.sweep();
    machine.die(process, 15);
    machine.recorder.sweep();
    expect(machine.events.at(-1)).toMatchObject({ how: { kind: 'signalled', signal: 15 }, identity: 'kernel' });
    expect(machine.recorder.unsettled).toBe(false);
  });

  test('a signal with a core dump, told by the pidfd of one that had lived for a while', () => {
    const process = started();
    machine.recorder.sweep();
    expect(machine.watched.size).toBe(0); // too young to be worth one
    machine.time += 10;
    machine.recorder.sweep();
    expect(machine.watched.size).toBe(1);
    expect(machine.recorder.unsettled).toBe(false);
    machine.die(process, 11 | 0x80, 'told');
    machine.recorder.gone(process.pid);
    expect(machine.told.at(-1)).toEqual(['ended', 1, 'signalled']);
    expect(machine.closed).toHaveLength(1);
    expect(machine.watched.size).toBe(0);
  });

  test('the status by which process 1 reaped it', () => {
    const process = started();
    machine.die(process, undefined);
    machine.recorder.reaped(process.guestPid, 9);
    expect(machine.events.at(-1)).toMatchObject({ how: { kind: 'signalled', signal: 9 } });
  });

  test('no status anywhere: looked for some times, then unknown, and never again', () => {
    const process = started();
    machine.die(process, undefined);
    let looks = 0;
    for (; machine.recorder.unsettled && looks < 1_000; looks++) machine.recorder.sweep();
    expect(looks).toBeLessThan(100);
    expect(machine.told.at(-1)).toEqual(['ended', 1, 'unknown']);
    machine.recorder.sweep();
    machine.recorder.gone(process.pid);
    expect(machine.told).toHaveLength(2);
  });

  test('before it was ever seen running: started all the same, its identity from the request', () => {
    const process = machine.fork();
    machine.asks(process, '/bin/true');
    machine.die(process, 9);
    machine.recorder.sweep();
    expect(machine.events).toMatchObject([
      { type: 'started', requested: '/bin/true' },
      { type: 'ended', path: '/bin/true', identity: 'request', sha256: null, how: { kind: 'signalled', signal: 9 } },
    ]);
  });
});

test('a process number that is used again is another process', () => {
  const first = machine.fork(1, 700);
  machine.exec(first, '/bin/sh');
  machine.exit(first, 1);
  const second = machine.fork(1, 700);
  machine.exec(second, '/bin/true');
  machine.exit(second, 2);
  expect(machine.told).toEqual([
    ['started', 1, 0, '/bin/sh'],
    ['ended', 1, 1],
    ['started', 2, 0, '/bin/true'],
    ['ended', 2, 2],
  ]);
});

test('close ends what is left: killed with the sandbox, or as it had ended before', () => {
  const [running, ended, asked] = [machine.fork(), machine.fork(), machine.fork()];
  machine.exec(running, '/bin/sh');
  machine.exec(ended, '/bin/echo');
  machine.asks(asked, '/bin/true');
  machine.time += 10;
  machine.recorder.sweep();
  machine.die(ended, 7 << 8, 'told');
  machine.recorder.close();
  const ends = new Map(machine.events.flatMap((e) => (e.type === 'ended' ? [[e.path, e.how]] : [])));
  expect(ends.get('/usr/bin/sh')).toEqual({ kind: 'signalled', signal: 9 });
  expect(ends.get('/usr/bin/echo')).toEqual({ kind: 'exited', code: 7 });
  expect(machine.events.filter((e) => e.type === 'started')).toHaveLength(3);
  expect(machine.events.filter((e) => e.type === 'ended')).toHaveLength(3);
  expect(new Set(machine.closed)).toEqual(new Set(machine.pidfds.keys()));
  expect(machine.watched.size).toBe(0);
  machine.recorder.close();
  expect(machine.events).toHaveLength(6);
});

test('whatever happens in whatever order: every image starts once and ends once, after its parent’s start', () => {
  const step = fc.record({
    who: fc.nat(5),
    what: fc.constantFrom('fork', 'exec', 'exec', 'try', 'exit', 'die', 'sweep'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const some = new Machine();
      const living = [some.fork()];
      for (const { who, what } of steps) {
        const process = living[who % living.length];
        some.time += 1;
        if (process === undefined || what === 'sweep') some.recorder.sweep();
        else if (what === 'fork') living.push(some.fork(process.pid));
        else if (what === 'exec') some.exec(process, who % 2 === 0 ? '/bin/sh' : '/bin/true');
        else if (what === 'try') some.asks(process, '/bin/echo');
        else {
          if (what === 'exit') some.exit(process, who);
          else some.die(process, who === 0 ? undefined : 9);
          living.splice(living.indexOf(process), 1);
          if (living.length === 0) living.push(some.fork());
        }
      }
      some.recorder.close();
      const started = new Set<number>();
      const ended = new Set<number>();
      for (const event of some.events) {
        if (event.type === 'started') {
          expect(event.parent === 0 || started.has(event.parent)).toBe(true);
          expect(event.id).toBe(started.size + 1);
          started.add(event.id);
        } else if (event.type === 'ended') {
          expect(started.has(event.id) && !ended.has(event.id)).toBe(true);
          ended.add(event.id);
        }
      }
      expect(ended).toEqual(started);
    }),
    { numRuns: 300 },
  );
});
