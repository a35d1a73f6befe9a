import { spawn } from 'node:child_process';
import { OutsideError } from './errors.ts';

export interface RunProgramOptions {
  cwd?: string;
  /** The whole environment of the program; nothing is inherited. */
  env?: Readonly<Record<string, string>>;
  stdin?: string | Uint8Array;
  /** Milliseconds; the program is killed after that. Default 60,000. */
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

/**
 * Runs a trusted program to its end with bounded time and output. Never through a shell, never in an agent's tree.
 * Resolves with any exit code; throws `OutsideError` when it cannot be started, overruns its time or its output.
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
      ...(signal === undefined ? {} : { signal }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      env,
      stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    let stopped: string | undefined;
    const stop = (why: string) => {
      stopped ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => stop(`took longer than ${timeout} ms`), timeout);
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxOutput) stop(`wrote more than ${maxOutput} bytes`);
      else into.push(chunk);
    };
    child.stdout?.on('data', collect(out));
    child.stderr?.on('data', collect(err));
    child.stdin?.on('error', () => {}); // the program may end before it has read all: its exit code says enough
    child.stdin?.end(stdin);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(new OutsideError(`${file} could not be run: ${cause.message}`, { cause }));
    });
    child.on('close', (exitCode, killedBy) => {
      clearTimeout(timer);
      if (stopped !== undefined) reject(new OutsideError(`${file} ${args[0] ?? ''} ${stopped} and was stopped`));
      else resolve({ exitCode, signal: killedBy, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() });
    });
  });
}
