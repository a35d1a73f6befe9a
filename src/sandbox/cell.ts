/** One process 1 inside a sandbox, and what it started. */
import { fchownSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { EnforcementError, OutsideError } from '../base/errors.ts';
import { encodeWords, type Reply, type Words } from './control-protocol.ts';
import { close, errorName, hangUp, messagePair, pipe, sendMessage } from './native.ts';
import type { Owner } from './outer.ts';
import { guestOwner } from './owner.ts';
import type { ExecSpec, Execution, ExitStatus, SandboxEvent } from './sandbox.ts';
import type { CellNews, Supervisor } from './supervisor-client.ts';

/** Milliseconds for process 1 to come up: bubblewrap's own work. */
const PATIENCE = 20_000;

export interface CellSetup {
  /** RLIMIT_* numbers (generic Linux) with soft and hard value. */
  readonly rlimits: readonly { readonly resource: number; readonly soft: number; readonly hard: number }[];
  readonly affinity: readonly number[] | null;
  readonly filter: Uint8Array;
}

/** SECCOMP_FILTER_FLAG_NEW_LISTENER and WAIT_KILLABLE_RECV: a signal must not make a stopped call start over. */
const LISTENER = 8;
const WAIT_KILLABLE = 32;

type News = CellNews | { type: 'failed'; message: string };

interface Running {
  /** 0 until process 1 has told it. */
  pid: number;
  /** A signal that was asked for before that. */
  pending: number;
  readonly finish: (status: ExitStatus) => void;
}

/** Where the guest runs as another user than we do. */
function giveToGuest(fd: number): void {
  owner ??= { of: guestOwner() };
  if (owner.of !== null) fchownSync(fd, owner.of.uid, owner.of.gid);
}

let owner: { readonly of: Owner | null } | undefined;

export class Cell {
  readonly #supervisor: Supervisor;
  readonly #id: number;
  readonly #socket: number;
  /** Handed to bubblewrap as descriptor 3; closed here by {@link started}. */
  readonly childSocket: number;
  readonly #onEvent: (event: SandboxEvent) => void;
  readonly #running = new Map<number, Running>();
  readonly #forgotten: Promise<void>;
  #expect: { kinds: readonly string[]; resolve(reply: Reply): void; reject(error: Error): void } | null = null;
  #forget: () => void = () => {};
  #lastExec = 0;
  #over: string | null = null;
  #gone: () => void = () => {};
  readonly gone: Promise<void>;
  /** True once process 1 has said it is there: before that its end is not reported. */
  #up = false;

  constructor(supervisor: Supervisor, onEvent: (event: SandboxEvent) => void) {
    [this.#socket, this.childSocket] = messagePair();
    this.#supervisor = supervisor;
    this.#onEvent = onEvent;
    this.gone = new Promise((resolve) => {
      this.#gone = resolve;
    });
    this.#forgotten = new Promise((resolve) => {
      this.#forget = resolve;
    });
    this.#id = supervisor.open((news) => this.#hear(news));
    supervisor.request({ type: 'watch', cell: this.#id, role: 'init', fd: this.#socket });
  }

  #hear(news: News): void {
    switch (news.type) {
      case 'event':
        this.#onEvent(news.event);
        return;
      case 'reply':
        if (news.fd !== null) close(news.fd);
        this.#reply(news.reply);
        return;
      case 'closed':
        this.#end('the sandbox ended');
        if (!this.#up) this.#gone();
        return;
      case 'gone':
        this.#end('the sandbox ended');
        this.#gone();
        return;
      case 'failed':
        this.#onEvent({ type: 'lost', time: Date.now(), reason: news.message });
        this.#end(news.message, new EnforcementError('exec-recorder', news.message, { remedy: 'start cordon again' }));
        // Nobody is left to tell of its end: who destroys it kills by group, and must not wait for news.
        this.#gone();
        this.#forget();
        return;
      case 'forgotten':
        this.#supervisor.closed(this.#id);
        close(this.#socket);
        this.#forget();
        return;
    }
  }

  #reply(reply: Reply): void {
    if (reply.kind === 'ready') this.#up = true;
    const running = this.#running.get(reply.a);
    if (reply.kind === 'running' && running !== undefined) {
      running.pid = reply.b;
      if (running.pending !== 0) this.#signal(running, running.pending);
    } else if (reply.kind === 'failed' && running !== undefined) {
      running.finish({ kind: 'failed', errno: reply.b, message: errorName(reply.b) });
      this.#running.delete(reply.a);
    } else if (reply.kind === 'reaped') {
      for (const [id, { pid, finish }] of this.#running) {
        if (pid !== reply.a) continue;
        this.#running.delete(id);
        const signal = reply.b & 0x7f;
        finish(signal === 0 ? { kind: 'exited', code: (reply.b >> 8) & 0xff } : { kind: 'signalled', signal });
      }
    }
    if (this.#expect?.kinds.includes(reply.kind)) {
      this.#expect.resolve(reply);
      this.#expect = null;
    }
  }

  #end(reason: string, error: Error = new OutsideError(reason)): void {
    this.#over ??= reason;
    this.#expect?.reject(error);
    this.#expect = null;
    for (const { finish } of this.#running.values()) finish({ kind: 'lost', reason });
    this.#running.clear();
  }

  #await(...kinds: string[]): Promise<Reply> {
    if (this.#over !== null) return Promise.reject(new OutsideError(this.#over));
    const timer = setTimeout(() => this.#end(`process 1 did not answer within ${PATIENCE} ms`), PATIENCE);
    return new Promise<Reply>((resolve, reject) => {
      this.#expect = { kinds, resolve, reject };
    }).finally(() => clearTimeout(timer));
  }

  /** Sends a request and waits for its answer; fails as one when process 1 is gone. */
  #ask(words: Words, ...kinds: string[]): Promise<Reply> {
    const answer = this.#await(...kinds);
    try {
      this.#send(words);
    } catch (error) {
      answer.catch(() => {}); // the connection's end is told once, by what is thrown here
      throw new OutsideError(`the sandbox ended: ${(error as Error).message}`, { cause: error });
    }
    return answer;
  }

  #send(words: Words, descriptors: readonly number[] = []): void {
    sendMessage(this.#socket, encodeWords(words), descriptors);
  }

  /** Resolves when process 1 is up. The caller has just had bubblewrap started with {@link childSocket}. */
  ready(): Promise<unknown> {
    return this.#await('ready');
  }

  /** Limits, then the filter; after that commands can be started. Throws `EnforcementError` when one is refused. */
  async confine(setup: CellSetup): Promise<void> {
    for (const { resource, soft, hard } of setup.rlimits) this.#send(['limit', resource, soft, hard]);
    if (setup.affinity !== null) this.#send(['affinity', ...setup.affinity]);
    const program = Buffer.from(setup.filter).toString('hex');
    const load = (flags: number) => this.#ask(['filter', flags, program], 'listener', 'error');
    let reply = await load(LISTENER | WAIT_KILLABLE);
    const filterRefused = reply.kind === 'error' && reply.a === 0; // else a limit: its number, or -1 for the processors
    if (filterRefused && reply.b === 22 /* EINVAL: Linux before 5.19 does not know WAIT_KILLABLE_RECV */)
      reply = await load(LISTENER);
    if (reply.kind === 'error') {
      const what = filterRefused ? 'the system call filter' : reply.a < 0 ? 'the processors' : `limit ${reply.a}`;
      throw new EnforcementError(filterRefused ? 'seccomp' : 'limits', `${what} refused: ${errorName(reply.b)}`, {
        remedy: 'run `cordon doctor`: it names what this machine lacks',
      });
    }
  }

  exec(spec: ExecSpec): Promise<Execution> {
    if (this.#over !== null) return Promise.reject(new OutsideError(`${this.#over}: no command can be started`));
    const id = ++this.#lastExec;
    const stdin = spec.stdin === 'pipe' ? pipe() : null;
    const [outRead, outWrite] = pipe();
    const [errRead, errWrite] = spec.output === 'together' ? [null, outWrite] : pipe();
    const ours = [outRead, ...(errRead === null ? [] : [errRead]), ...(stdin === null ? [] : [stdin[1]])];
    const input = stdin?.[0] ?? openSync('/dev/null', 'r');
    // Else `> /dev/stdout` inside would open a pipe of somebody else's.
    const theirs = [...new Set([input, outWrite, errWrite])];
    for (const fd of theirs) if (fd !== input || stdin !== null) giveToGuest(fd);
    const environment = Object.entries(spec.env).map(([name, value]) => `${name}=${value}`);
    // What it wrote is there before its end is. A busy process may hear of the end first, from the thread: the second of two
    // immediates comes after a look at all streams.
    const exit = new Promise<ExitStatus>((resolve) => {
      const finish = (status: ExitStatus) => setImmediate(() => setImmediate(resolve, status));
      this.#running.set(id, { pid: 0, pending: 0, finish });
    });
    try {
      const words = ['exec', id, spec.cwd ?? '/workspace', spec.argv.length, ...spec.argv, ...environment];
      this.#send(words, [input, outWrite, errWrite]);
    } catch (error) {
      this.#running.delete(id);
      for (const fd of ours) close(fd);
      return Promise.reject(error);
    } finally {
      for (const fd of theirs) close(fd);
    }
    return Promise.resolve({
      stdin: stdin === null ? null : new Socket({ fd: stdin[1], readable: false, writable: true }),
      stdout: new Socket({ fd: outRead, readable: true, writable: false }),
      stderr: errRead === null ? Readable.from([]) : new Socket({ fd: errRead, readable: true, writable: false }),
      exit,
      kill: (signal = 'SIGKILL') => {
        const running = this.#running.get(id);
        if (running !== undefined) this.#signal(running, signal === 'SIGKILL' ? 9 : 15);
      },
    });
  }

  /** To a command and its group. The command may be running before we have heard its number. */
  #signal(running: Running, signal: number): void {
    if (running.pid > 1) this.#send(['kill', running.pid, signal]);
    else running.pending = signal;
  }

  async quiesce(): Promise<void> {
    await this.#ask(['quiesce'], 'quiet');
  }

  /**
   * Makes process 1 end, and with it everything inside. Killing the helper ends them too, but for one that was just being
   * started when its parent died, and so never heard of that death.
   */
  hangUp(): void {
    hangUp(this.#socket);
  }

  /** Nothing more is wanted of it: resolves when its last events are handed over. */
  async forget(): Promise<void> {
    this.#supervisor.request({ type: 'forget', cell: this.#id });
    await this.#forgotten;
  }
}
