/** The trusted half of one sandbox's `cordon-init`: makes namespaces and mounts, starts bubblewrap. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { EnforcementError } from '../base/errors.ts';
import { encodeWords } from './control-protocol.ts';
import type { Operation } from './mount-operations.ts';
import { close, errorName, messagePair, sendMessage } from './native.ts';
import type { CellNews, Supervisor } from './supervisor-client.ts';

/** Milliseconds for one list of operations; they are system calls on local files. */
const PATIENCE = 20_000;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface Waiting {
  readonly operations: readonly Operation[];
  readonly descriptors: number[];
  resolve(descriptors: number[]): void;
  reject(error: Error): void;
}

export class Outer {
  readonly child: ChildProcess;
  readonly #supervisor: Supervisor;
  readonly #cell: number;
  readonly #socket: number;
  readonly #ended: Promise<void>;
  #waiting: Waiting | null = null;
  #complaint = '';
  #gone = false;

  constructor(supervisor: Supervisor, program: string) {
    this.#cell = supervisor.open((news) => this.#hear(news)); // first: it throws when there is no recorder
    const [ours, theirs] = messagePair();
    this.#socket = ours;
    this.#supervisor = supervisor;
    // Out of this process's group: Ctrl-C at a terminal goes to all of a group, and ending the sandbox is ours to do.
    this.child = spawn(program, ['outer'], {
      stdio: ['ignore', 'ignore', 'pipe', theirs],
      env: {},
      cwd: '/',
      detached: true,
    });
    close(theirs);
    supervisor.request({ type: 'watch', cell: this.#cell, role: 'outer', fd: ours });
    this.#ended = new Promise((resolve) => {
      const end = (why: string) => {
        this.#gone = true;
        this.#fail(new EnforcementError('namespaces', `the sandbox helper ended: ${why} ${this.#complaint}`.trim()));
        supervisor.request({ type: 'forget', cell: this.#cell });
        resolve();
      };
      this.child.once('error', (error) => end(error.message));
      this.child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      if (this.#complaint.length < 4096) this.#complaint += chunk.toString();
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** What bubblewrap or the helper wrote to standard error. */
  get complaint(): string {
    return this.#complaint.trim();
  }

  #hear(news: CellNews | { type: 'failed'; message: string }): void {
    if (news.type === 'forgotten') {
      this.#supervisor.closed(this.#cell);
      close(this.#socket);
    }
    if (news.type === 'failed') this.#fail(new EnforcementError('exec-recorder', news.message));
    if (news.type !== 'reply') return;
    const { reply, fd } = news;
    if (fd !== null && this.#waiting === null) close(fd);
    else if (fd !== null) this.#waiting?.descriptors.push(fd);
    const waiting = this.#waiting;
    if (waiting === null) return;
    if (reply.kind === 'error') this.#fail(failure(waiting.operations, reply.a, reply.b, this.complaint));
    if (reply.kind !== 'done') return;
    this.#waiting = null;
    waiting.resolve(waiting.descriptors);
  }

  /** Ends the request under way, if there is one; what it has yielded so far is nobody's. */
  #fail(error: Error): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    for (const fd of waiting?.descriptors ?? []) close(fd);
    waiting?.reject(error);
  }

  /** Carries out the operations in order; resolves with the descriptors they yielded. One request at a time. */
  request(operations: readonly Operation[], descriptors: readonly number[] = []): Promise<number[]> {
    if (this.#gone)
      return Promise.reject(new EnforcementError('namespaces', `the sandbox helper ended ${this.#complaint}`.trim()));
    const timer = setTimeout(() => {
      const message = `the sandbox helper did not answer within ${PATIENCE} ms`;
      this.#fail(new EnforcementError('namespaces', message));
      this.kill();
    }, PATIENCE);
    return new Promise<number[]>((resolve, reject) => {
      this.#waiting = { operations, descriptors: [], resolve, reject };
      try {
        sendMessage(this.#socket, encodeWords(operations.flat()), descriptors);
      } catch (error) {
        this.#fail(error as Error);
      }
    }).finally(() => clearTimeout(timer));
  }

  /** Maps the ids of the new user namespace: its root is `owner` outside, or the user who runs this. */
  mapIds(owner: Owner | null): void {
    const proc = `/proc/${this.pid}`;
    if (owner === null) writeFileSync(`${proc}/setgroups`, 'deny'); // else an ordinary user may not write the map
    writeFileSync(`${proc}/uid_map`, `0 ${owner?.uid ?? process.geteuid?.()} 1`);
    writeFileSync(`${proc}/gid_map`, `0 ${owner?.gid ?? process.getegid?.()} 1`);
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  ended(): Promise<void> {
    return this.#ended;
  }
}

/** Which operation failed, from the index of its first word. */
function failure(operations: readonly Operation[], index: number, errno: number, complaint: string): EnforcementError {
  let at = 0;
  const operation = operations.find((candidate) => {
    const here = at === index;
    at += candidate.length;
    return here;
  });
  const [name = 'request', ...all] = operation ?? [];
  const words = name === 'file' ? all.slice(0, 2) : all; // not what was to be in it
  const shown = words.map((word) => (typeof word === 'number' ? `0x${word.toString(16)}` : String(word))).join(' ');
  const control = name === 'unshare' ? 'namespaces' : shown.includes('overlay') ? 'workspace.overlay' : 'mounts';
  return new EnforcementError(
    control,
    `the sandbox could not be prepared (${control}): ${name} ${shown}: ${errorName(errno)} ${complaint}`.trim(),
    {
      remedy: 'run `cordon doctor`: it names what this machine lacks',
    },
  );
}
