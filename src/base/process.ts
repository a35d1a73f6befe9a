import { type ChildProcess, spawn } from 'node:child_process';
import { OutsideError } from './errors.ts';

export interface RunProgramOptions {
  cwd?: string;
  /** The whole environment of the program; nothing is inherited. */
  env?: Readonly<Record<string, string>>;
  stdin?: string | Uint8Array;
  /** Milliseconds; the program is ended after that. Default 60,000. */
  timeout?: number;
  /** Bytes kept of each of stdout and stderr; more is an error. Default 64 MiB. */
  maxOutput?: number;
  signal?: AbortSignal;
  /** As whom, when this process is root; supplementary groups go too. */
  uid?: number;
  gid?: number;
}

export interface ProgramResult {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
}

/** What every trusted-side program gets unless a caller names more: no variable of the user's leaks into it. */
export const minimalEnv: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C.UTF-8',
};

/** The programs that run: each leads a group, which no end of this process's own group reaches. */
const running = new Set<ChildProcess>();

/** Milliseconds that a program has to tidy up: git takes its lock files with it. */
const GRACE = 2_000;

function endGroup({ pid }: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Ended in between.
  }
}

function endAll(): void {
  for (const child of running) endGroup(child, 'SIGTERM');
}

/**
 * Runs a trusted program to its end with bounded time and output. Never through a shell, never in an agent's tree, and in a
 * group of its own: Ctrl-C at a terminal is for this process to answer. Whatever ends the program ends what it started: SIGTERM, and
 * SIGKILL two seconds later.
 * Resolves with any exit code; throws `OutsideError` when it cannot be started, is aborted, overruns its time or its output.
 */
export function runProgram(
  file: string,
  args: readonly string[],
  options: RunProgramOptions = {},
): Promise<ProgramResult> {
  const { cwd, env = minimalEnv, stdin, timeout = 60_000, maxOutput = 64 * 1024 * 1024, signal, uid, gid } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      ...(cwd === undefined ? {} : { cwd }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      env,
      detached: true,
      stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    if (running.size === 0) process.once('exit', endAll);
    running.add(child);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    let stopped: string | undefined;
    let late: NodeJS.Timeout | undefined;
    const stop = (why: string) => {
      if (stopped !== undefined) return;
      stopped = why;
      endGroup(child, 'SIGTERM');
      late = setTimeout(() => endGroup(child, 'SIGKILL'), GRACE);
    };
    const timer = setTimeout(() => stop(`took longer than ${timeout} ms`), timeout);
    const abort = () => stop('was not wanted any more');
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    const over = () => {
      clearTimeout(timer);
      clearTimeout(late);
      signal?.removeEventListener('abort', abort);
      running.delete(child);
      if (running.size === 0) process.off('exit', endAll);
    };
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxOutput) stop(`wrote more than ${maxOutput} bytes`);
      else into.push(chunk);
    };
    child.stdout?.on('data', collect(out));
    child.stderr?.on('data', collect(err));
    child.stdin?.on('error', () => {}); // the program may end before it has read all: its exit code says enough
    child.stdin?.end(stdin);
    child.on('error', (cause: NodeJS.ErrnoException) => {
      over();
      const remedy = 'see what this machine lacks: cordon doctor';
      const missing = cause.code === 'ENOENT' ? { cause, remedy } : { cause };
      reject(new OutsideError(`${file} could not be run: ${cause.message}`, missing));
    });
    child.on('close', (exitCode, killedBy) => {
      over();
      if (stopped !== undefined) endGroup(child, 'SIGKILL'); // what it left behind
      if (stopped !== undefined) reject(new OutsideError(`${file} ${args[0] ?? ''} ${stopped} and was stopped`));
      else resolve({ exitCode, signal: killedBy, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() });
    });
  });
}
