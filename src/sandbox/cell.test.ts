import { readdirSync, readFileSync, writeSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { EnforcementError, OutsideError } from '../base/errors.ts';
import { Cell } from './cell.ts';
import type { ReplyKind } from './control-protocol.ts';
import { close, receiveMessage } from './native.ts';
import type { SandboxEvent } from './sandbox.ts';
import type { CellNews, Supervisor } from './supervisor-client.ts';

/** The supervisor as a cell knows it, and process 1 at the other end of its socket. */
class OtherSide {
  listener: (news: CellNews | { type: 'failed'; message: string }) => void = () => {};
  readonly events: SandboxEvent[] = [];
  readonly requests: unknown[] = [];
  readonly closed: number[] = [];
  readonly cell: Cell;

  constructor() {
    const supervisor = {
      open: (listener: OtherSide['listener']) => {
        this.listener = listener;
        return 7;
      },
      request: (message: { type: string }) => {
        this.requests.push(message);
        if (message.type === 'forget') queueMicrotask(() => this.listener({ type: 'forgotten', cell: 7 }));
      },
      closed: (cell: number) => this.closed.push(cell),
    };
    this.cell = new Cell(supervisor as unknown as Supervisor, (event) => this.events.push(event));
  }

  says(kind: ReplyKind, a = 0, b = 0, fd: number | null = null): void {
    this.listener({ type: 'reply', cell: 7, role: 'init', reply: { kind, a, b }, fd });
  }

  /** The next request as process 1 reads it; the receiver owns the descriptors. */
  hears(): { words: string[]; descriptors: readonly number[] } {
    const message = receiveMessage(this.cell.childSocket);
    if (message === null || message === undefined) throw new Error('nothing was sent');
    return { words: message.data.toString().split('\0').slice(0, -1), descriptors: message.descriptors };
  }

  get silent(): boolean {
    return receiveMessage(this.cell.childSocket) === undefined;
  }

  end(): void {
    close(this.cell.childSocket);
  }
}

let other: OtherSide;
beforeEach(() => {
  other = new OtherSide();
});

const setup = { rlimits: [{ resource: 7, soft: 10, hard: 20 }], affinity: [0, 3], filter: Uint8Array.of(0, 1, 255) };
const sleep = { argv: ['/bin/sleep', '9'] as [string, ...string[]], env: { A: '1', B: '' } };

describe('confine', () => {
  test('limits and processors first, then the filter, whose word alone counts', async () => {
    const done = other.cell.confine(setup);
    expect(other.hears().words).toEqual(['limit', '7', '10', '20']);
    expect(other.hears().words).toEqual(['affinity', '0', '3']);
    expect(other.hears().words).toEqual(['filter', '40', '0001ff']);
    other.says('listener');
    await done;
    expect(other.silent).toBe(true);
  });

  test('a kernel that does not know one flag of the filter is asked again without it', async () => {
    const done = other.cell.confine({ ...setup, rlimits: [], affinity: null });
    expect(other.hears().words[1]).toBe('40');
    other.says('error', 0, 22);
    await Promise.resolve();
    await Promise.resolve();
    await new Promise(setImmediate);
    expect(other.hears().words[1]).toBe('8');
    other.says('listener');
    await done;
  });

  test.each([
    ['the filter', 0, 1],
    ['a limit', 7, 22],
    ['the processors', -1, 22],
  ])('%s refused: no sandbox, and no second try', async (_, what, errno) => {
    const done = other.cell.confine(setup);
    done.catch(() => {});
    for (let i = 0; i < 3; i++) other.hears();
    other.says('error', what, errno);
    await expect(done).rejects.toThrow(EnforcementError);
    expect(other.silent).toBe(true);
  });
});

describe('exec', () => {
  test('hands over words and three descriptors, and tells the end of exactly that process', async () => {
    const [one, two] = [await other.cell.exec(sleep), await other.cell.exec({ ...sleep, cwd: '/tmp', stdin: 'pipe' })];
    const { words, descriptors } = other.hears();
    expect(words).toEqual(['exec', '1', '/workspace', '2', '/bin/sleep', '9', 'A=1', 'B=']);
    expect(other.hears().words.slice(0, 3)).toEqual(['exec', '2', '/tmp']);
    expect(descriptors).toHaveLength(3);
    expect([one.stdin, two.stdin === null]).toEqual([null, false]);
    other.says('running', 1, 20);
    other.says('running', 2, 21);
    other.says('reaped', 99, 1 << 8); // somebody's orphan
    other.says('reaped', 21, 5 << 8);
    other.says('reaped', 20, 9);
    expect(await two.exit).toEqual({ kind: 'exited', code: 5 });
    expect(await one.exit).toEqual({ kind: 'signalled', signal: 9 });
  });

  test('output comes through and ends with the last writer', async () => {
    const run = await other.cell.exec(sleep);
    const [input = -1, out = -1, err = -1] = other.hears().descriptors;
    writeSync(out, 'hello');
    for (const fd of [input, out, err]) close(fd);
    let text = '';
    for await (const chunk of run.stdout) text += chunk;
    expect(text).toBe('hello');
  });

  test('what could not be started names the errno', async () => {
    const run = await other.cell.exec(sleep);
    other.says('running', 1, 20);
    other.says('failed', 1, 13);
    expect(await run.exit).toEqual({ kind: 'failed', errno: 13, message: 'EACCES' });
  });

  test('replies about what was never asked change nothing', async () => {
    const run = await other.cell.exec(sleep);
    other.says('failed', 42, 2);
    other.says('running', 42, 20);
    other.says('reaped', 20, 0);
    other.says('quiet');
    other.says('done');
    other.says('running', 1, 30);
    other.says('reaped', 30, 0);
    expect(await run.exit).toEqual({ kind: 'exited', code: 0 });
  });

  test('a request that cannot be sent leaves no descriptor', async () => {
    const count = () => readdirSync('/proc/self/fd').length;
    const before = count();
    await expect(other.cell.exec({ argv: ['a\0b'], env: {} })).rejects.toThrow(TypeError);
    await expect(other.cell.exec({ argv: ['x'.repeat(300_000)], env: {} })).rejects.toThrow('EMSGSIZE');
    expect(count()).toBe(before);
  });

  test('kill goes to the process, also when its number comes after', async () => {
    const run = await other.cell.exec(sleep);
    other.hears();
    run.kill('SIGTERM');
    expect(other.silent).toBe(true); // never to 0 or 1: that would be everybody, or process 1
    other.says('running', 1, 20);
    expect(other.hears().words).toEqual(['kill', '20', '15']);
    run.kill();
    expect(other.hears().words).toEqual(['kill', '20', '9']);
    other.says('reaped', 20, 9);
    run.kill();
    expect(other.silent).toBe(true);
  });
});

describe('the end', () => {
  test('of process 1: every command is lost, every wait fails, nothing more is started', async () => {
    const run = await other.cell.exec(sleep);
    const quiet = other.cell.quiesce();
    other.says('ready');
    other.listener({ type: 'closed', cell: 7, role: 'init' });
    await expect(quiet).rejects.toThrow(OutsideError);
    expect(await run.exit).toMatchObject({ kind: 'lost' });
    await expect(other.cell.exec(sleep)).rejects.toThrow(OutsideError);
    await expect(other.cell.quiesce()).rejects.toThrow(OutsideError);
    other.listener({ type: 'gone', cell: 7 });
    await other.cell.gone;
  });

  test('before it was up: gone at once', async () => {
    const ready = other.cell.ready();
    other.listener({ type: 'closed', cell: 7, role: 'init' });
    await expect(ready).rejects.toThrow(OutsideError);
    await other.cell.gone;
  });

  test('of the other end while a request is sent: one error, and none that nobody hears', async () => {
    other.end();
    await expect(other.cell.quiesce()).rejects.toThrow(OutsideError);
    await expect(other.cell.confine({ rlimits: [], affinity: null, filter: Uint8Array.of() })).rejects.toThrow();
  });

  test('of the recorder: told as lost, and no command goes on unrecorded as if nothing were', async () => {
    const run = await other.cell.exec(sleep);
    other.listener({ type: 'failed', message: 'the recorder stopped' });
    expect(other.events).toMatchObject([{ type: 'lost', reason: 'the recorder stopped' }]);
    expect(await run.exit).toMatchObject({ kind: 'lost' });
    await expect(other.cell.exec(sleep)).rejects.toThrow('the recorder stopped');
  });

  test('forget closes its socket and lets go of its number', async () => {
    await other.cell.forget();
    expect(other.closed).toEqual([7]);
    expect(receiveMessage(other.cell.childSocket)).toBeNull();
  });
});

test('a descriptor that comes unasked is closed', () => {
  const before = readdirSync('/proc/self/fd').length;
  const [fd = -1] = (() => {
    void other.cell.exec(sleep);
    return other.hears().descriptors;
  })();
  expect(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')).toContain('flags');
  other.says('listener', 0, 0, fd);
  expect(() => readFileSync(`/proc/self/fdinfo/${fd}`)).toThrow();
  expect(readdirSync('/proc/self/fd').length).toBeGreaterThanOrEqual(before);
});
