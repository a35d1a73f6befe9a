/** Terminals that an agent has its client open: commands in the sandbox, whose output is kept from its end back, in bounds. */
import { constants } from 'node:os';
import type { Guest, GuestExecution, GuestExit } from '../builtin/guest.ts';
import { ServiceError } from './files.ts';
import { Tail } from './tail.ts';

/** Not yet released, at a time. */
const MOST_TERMINALS = 16;
/** Bytes of output that are kept where the agent does not say how many, and at most. */
const DEFAULT_OUTPUT = 1 << 20;
const MOST_OUTPUT = 2 << 20;
/** Milliseconds between being asked to end and being ended: as much as container engines give. */
const GRACE = 10_000;
/** Milliseconds without output after a command's own end, until its output is left to whatever holds it open. */
const LINGER = 250;
/** How often that is waited for at most: something in the background may never be quiet. */
const PATIENCE = 8;

export interface TerminalSpec {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Bytes. */
  readonly outputByteLimit: number | null;
}

export interface TerminalExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

export interface TerminalOutput {
  readonly output: string;
  readonly truncated: boolean;
  readonly exitStatus: TerminalExit | null;
}

export class Terminals {
  readonly #open = new Map<string, Terminal>();
  #next = 1;
  #closed = false;

  /** Resolves with its id when the command is being started. `ended` is called once, with all that was kept. */
  async create(guest: Guest, spec: TerminalSpec, ended: (last: TerminalOutput) => void): Promise<string> {
    if (this.#closed) throw new ServiceError('the session is over');
    if (this.#open.size >= MOST_TERMINALS)
      throw new ServiceError(`there are ${MOST_TERMINALS} terminals: release one before another is made`);
    const id = `t${this.#next++}`;
    const terminal = new Terminal(spec, ended);
    this.#open.set(id, terminal);
    try {
      await terminal.start(guest);
    } catch (error) {
      this.#open.delete(id);
      throw error;
    }
    if (this.#closed) await terminal.end('SIGKILL');
    return id;
  }

  output(id: string): TerminalOutput {
    return this.#of(id).output();
  }

  async wait(id: string): Promise<TerminalExit> {
    return await this.#of(id).over;
  }

  /** Resolves when it has ended. */
  async kill(id: string): Promise<void> {
    await this.#of(id).end('SIGTERM');
  }

  async release(id: string): Promise<void> {
    const terminal = this.#of(id);
    this.#open.delete(id);
    await terminal.end('SIGKILL');
  }

  /** Every one is ended and released; there will be no other. */
  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(all.map((terminal) => terminal.end('SIGKILL')));
  }

  #of(id: string): Terminal {
    const terminal = this.#open.get(id);
    if (terminal === undefined) throw new ServiceError(`there is no terminal ${id.slice(0, 80)}`);
    return terminal;
  }
}

class Terminal {
  readonly over: Promise<TerminalExit>;
  readonly #spec: TerminalSpec;
  readonly #ended: (last: TerminalOutput) => void;
  readonly #tail: Tail;
  #settle: (exit: TerminalExit) => void = () => {};
  #execution: GuestExecution | null = null;
  #exit: TerminalExit | null = null;

  constructor(spec: TerminalSpec, ended: (last: TerminalOutput) => void) {
    this.#spec = spec;
    this.#ended = ended;
    this.#tail = new Tail(Math.min(Math.max(0, spec.outputByteLimit ?? DEFAULT_OUTPUT), MOST_OUTPUT));
    this.over = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  async start(guest: Guest): Promise<void> {
    const { argv, env, cwd } = this.#spec;
    const execution = await guest.exec({ argv, env, cwd, output: 'together' }).catch((error: unknown) => {
      this.#exit = { exitCode: 126, signal: null };
      this.#settle(this.#exit); // somebody may be waiting for its end already
      throw error;
    });
    this.#execution = execution;
    const read = Promise.all([this.#read(execution.stdout), this.#read(execution.stderr)]);
    this.#follow(execution, read);
  }

  output(): TerminalOutput {
    return { ...this.#tail.text(), exitStatus: this.#exit };
  }

  /** Everything it started in its own group goes with it; the rest when the sandbox does. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#exit !== null) return;
    this.#execution?.kill(signal);
    const timer = setTimeout(() => this.#execution?.kill('SIGKILL'), GRACE);
    await this.over;
    clearTimeout(timer);
  }

  async #follow(execution: GuestExecution, read: Promise<unknown>): Promise<void> {
    const how = await execution.exit;
    // What it wrote is read before its end is told, unless something that it left behind holds its output open.
    for (let seen = -1, turn = 0; seen !== this.#tail.bytes && turn < PATIENCE; turn++) {
      seen = this.#tail.bytes;
      if ((await Promise.race([read.then(() => true), sleep(LINGER)])) === true) break;
    }
    execution.stdout.destroy();
    execution.stderr.destroy();
    if (how.kind === 'failed') this.#tail.write(Buffer.from(`${this.#spec.argv[0]}: ${how.message}\n`));
    this.#exit = exitOf(how);
    this.#ended(this.output());
    this.#settle(this.#exit);
  }

  async #read(stream: AsyncIterable<unknown>): Promise<void> {
    try {
      for await (const piece of stream) this.#tail.write(piece as Buffer);
    } catch {
      // It was ended under us; what came until then is kept.
    }
  }
}

/** As a shell would tell it of what could not be started. */
function exitOf(how: GuestExit): TerminalExit {
  switch (how.kind) {
    case 'exited':
      return { exitCode: how.code, signal: null };
    case 'signalled':
      return { exitCode: null, signal: signalName(how.signal) };
    case 'failed':
      return { exitCode: how.errno === constants.errno.ENOENT ? 127 : 126, signal: null };
    case 'lost':
      return { exitCode: null, signal: 'SIGKILL' };
  }
}

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `SIG${number}`;
}

function sleep(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, ms, false).unref());
}
