import { type GitProcess, killGit } from '../../base/git.ts';

/** Writes to the process, as fast as it reads; what it no longer wants is dropped. */
export async function feed(child: GitProcess, chunk: Buffer): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.stdin.destroyed) return;
  if (child.stdin.write(chunk)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      child.stdin.off('drain', done);
      child.off('close', done);
      resolve();
    };
    child.stdin.once('drain', done);
    child.once('close', done);
  });
}

/** How a process ended and the first of what it said on standard error; standard output is read and dropped. */
export function collectText(child: GitProcess, limit: number): Promise<{ code: number | null; err: string }> {
  return new Promise((resolve) => {
    let err = '';
    child.stdout.resume();
    child.stderr.on('data', (chunk: Buffer) => {
      if (err.length < limit) err += chunk.toString().slice(0, limit - err.length);
    });
    child.on('error', () => resolve({ code: null, err }));
    child.on('close', (code) => resolve({ code, err }));
  });
}

/** Standard output of a process that succeeds; null when it fails or says too much. */
export function collect(child: GitProcess, limit: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    child.stderr.resume();
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) killGit(child);
      else chunks.push(chunk);
    });
    child.on('error', () => resolve(null));
    child.on('close', (code) => resolve(code === 0 && size <= limit ? Buffer.concat(chunks) : null));
  });
}
