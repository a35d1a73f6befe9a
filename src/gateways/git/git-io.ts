import { type GitProcess, killGit } from '../../base/git.ts';

/** Writes all of `body` to the process, as fast as it reads; what it no longer wants is read and dropped. */
export async function feed(child: GitProcess, body: AsyncIterable<Buffer>, head?: Buffer): Promise<void> {
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  if (head !== undefined) child.stdin.write(head);
  for await (const chunk of body) {
    if (child.exitCode !== null || child.signalCode !== null || child.stdin.destroyed) continue;
    if (!child.stdin.write(chunk))
      await Promise.race([gone, new Promise<void>((resolve) => child.stdin.once('drain', resolve))]);
  }
  child.stdin.end();
}

/** Standard output of a process that succeeds; null when it fails or says too much. */
export function collect(child: GitProcess, limit: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) killGit(child);
      else chunks.push(chunk);
    });
    child.on('error', () => resolve(null));
    child.on('close', (code) => resolve(code === 0 && size <= limit ? Buffer.concat(chunks) : null));
  });
}
