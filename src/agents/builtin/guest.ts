import type { Duplex, Readable } from 'node:stream';

/** What the agent needs of a sandbox: commands in it. The sandbox port (src/sandbox/sandbox.ts) fits. */
export interface Guest {
  exec(spec: {
    readonly argv: readonly [string, ...string[]];
    readonly env: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly stdin?: 'none' | 'pipe';
    readonly output?: 'apart' | 'together';
  }): Promise<GuestExecution>;
}

export interface GuestExecution {
  readonly stdin: Duplex | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exit: Promise<GuestExit>;
  kill(signal?: 'SIGTERM' | 'SIGKILL'): void;
}

export type GuestExit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: number }
  | { readonly kind: 'failed'; readonly errno: number; readonly message: string }
  | { readonly kind: 'lost'; readonly reason: string };

/** How one command ended. */
export interface Ended {
  /** `stopped`: enough was read. `open`: it ended, and something it started holds its output open. */
  readonly how: GuestExit | { readonly kind: 'timeout' | 'stopped' };
  readonly open: boolean;
}

export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: Buffer;
  /** `together`: all of it comes as stdout, in the order in which it was written. Default `apart`. */
  readonly output?: 'apart' | 'together';
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  /** Takes each piece as it comes; a promise is waited for before more is read. `false`: that is enough, end it. */
  onOutput(stream: 'stdout' | 'stderr', piece: Buffer): undefined | false | Promise<void>;
}

/** Milliseconds without output, after a command's own end, until its output is left to whatever holds it open. */
const LINGER = 250;
/** How often that is waited for at most: something in the background may never be quiet. */
const PATIENCE = 8;
/** Milliseconds between being asked to end and being ended. */
const GRACE = 2_000;

/**
 * Runs one command inside, to its end or its timeout, in bounded memory: nothing of its output is kept here. Throws the signal's reason when
 * that is aborted; the command is killed then. Whatever it left in the background goes on.
 */
export async function runInGuest(guest: Guest, command: Command): Promise<Ended> {
  const { signal, input } = command;
  signal.throwIfAborted();
  const execution = await guest.exec({
    argv: command.argv,
    env: command.env,
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
    stdin: input === undefined ? 'none' : 'pipe',
    output: command.output ?? 'apart',
  });
  let cut: 'timeout' | 'stopped' | null = null;
  const end = (why: 'timeout' | 'stopped') => {
    if (cut !== null) return;
    cut = why;
    if (why === 'stopped') execution.kill('SIGKILL');
    else terminate(execution);
  };
  const timer = setTimeout(end, command.timeout, 'timeout');
  const abort = () => execution.kill('SIGKILL');
  signal.addEventListener('abort', abort, { once: true });
  const pulse = { pieces: 0, busy: 0 };
  const reading = Promise.all([
    follow(execution, 'stdout', command, pulse, () => end('stopped')),
    follow(execution, 'stderr', command, pulse, () => end('stopped')),
  ]).then(() => false);
  if (input !== undefined) feed(execution, input);
  try {
    const how = await Promise.race([execution.exit, aborted(signal)]);
    const open = await Promise.race([reading, quiet(pulse, signal)]);
    signal.throwIfAborted();
    return { how: cut === null ? how : { kind: cut }, open };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
    // What still writes gets an error for it, and nothing of it is waited for.
    execution.stdout.destroy();
    execution.stderr.destroy();
    await reading;
  }
}

function terminate(execution: GuestExecution): void {
  execution.kill('SIGTERM');
  const timer = setTimeout(() => execution.kill('SIGKILL'), GRACE);
  execution.exit.finally(() => clearTimeout(timer));
}

interface Pulse {
  pieces: number;
  /** Pieces that somebody is still at work on. */
  busy: number;
}

async function follow(
  execution: GuestExecution,
  stream: 'stdout' | 'stderr',
  { onOutput }: Command,
  pulse: Pulse,
  enough: () => void,
): Promise<void> {
  try {
    for await (const piece of execution[stream]) {
      pulse.pieces++;
      const answer = onOutput(stream, piece as Buffer);
      if (answer === false) {
        enough();
        break;
      }
      pulse.busy++;
      await answer;
      pulse.busy--;
    }
  } catch {
    // It was ended under us; what came until then has been handed on.
  }
}

function feed({ stdin }: GuestExecution, input: Buffer): void {
  stdin?.on('error', () => {}); // it ended without reading all of it: its exit code tells
  stdin?.end(input);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Resolves with true when a command that has ended says no more, although its output is open. */
async function quiet(pulse: Pulse, signal: AbortSignal): Promise<true> {
  for (let turn = 0, seen = -1; !signal.aborted && turn < PATIENCE; turn += pulse.busy > 0 ? 0 : 1) {
    if (pulse.pieces === seen && pulse.busy === 0) return true;
    seen = pulse.pieces;
    await sleep(LINGER);
  }
  return true;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

/** All of a command's output, as long as it is at most so many bytes. For commands of our own, whose output is known to be short. */
export async function capture(
  guest: Guest,
  command: Omit<Command, 'onOutput'>,
  limit: number,
): Promise<Ended & { readonly out: Buffer; readonly err: string; readonly over: boolean }> {
  const kept: Buffer[] = [];
  const said: Buffer[] = [];
  let size = 0;
  let saidSize = 0;
  const ended = await runInGuest(guest, {
    ...command,
    onOutput(stream, piece) {
      if (stream === 'stderr') {
        if (saidSize < 4_096) said.push(piece);
        saidSize += piece.length;
        return undefined;
      }
      size += piece.length;
      if (size > limit) return false;
      kept.push(piece);
      return undefined;
    },
  });
  const err = Buffer.concat(said).toString('utf8').slice(0, 2_000).trim();
  return { ...ended, out: Buffer.concat(kept), err, over: size > limit };
}
