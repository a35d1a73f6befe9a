import { OutsideError } from '../base/errors.ts';
import { type GitProcess, gitAsking, killGit } from '../base/git.ts';

/** Milliseconds for all questions together, and bytes of their answers. */
const PATIENCE = 20_000;
const MAX_ANSWERS = 1024 * 1024;

export interface ObjectFacts {
  readonly type: 'commit' | 'tree' | 'blob' | 'tag';
  readonly oid: string;
  /** Bytes. */
  readonly size: number;
}

const ANSWER = /^(commit|tree|blob|tag) ([0-9a-f]{40}|[0-9a-f]{64}) ([0-9]{1,15})$/;

/**
 * What names of objects stand for in a repository that a user named: questions to one `git cat-file`, which is started with
 * this object, because each further process would be felt in every run.
 */
export class ObjectQuestions {
  readonly #git: GitProcess;
  readonly #timer: NodeJS.Timeout;
  readonly #waiting: { resolve(answer: string): void; reject(error: Error): void }[] = [];
  #text = '';
  #size = 0;
  #over: string | null = null;

  /** `env`: what bounds the search for the repository from `dir` upwards. */
  constructor(dir: string, env: Readonly<Record<string, string>>) {
    this.#git = gitAsking(dir, ['cat-file', '--batch-check=%(objecttype) %(objectname) %(objectsize)'], env);
    this.#timer = setTimeout(() => this.#end(`took longer than ${PATIENCE} ms`), PATIENCE);
    this.#git.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#git.stderr.resume();
    this.#git.on('error', (error) => this.#end(`could not be run: ${error.message}`));
    this.#git.on('close', () => this.#end('ended before it had answered')); // outside of a repository at once
  }

  /** Null where the name stands for nothing, or for several things. Throws `OutsideError` when git does not answer. */
  async about(name: string): Promise<ObjectFacts | null> {
    if (/[\n\0]/.test(name)) return null; // one line is one question
    if (this.#over !== null) throw new OutsideError(this.#over);
    const answer = new Promise<string>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#git.stdin.write(`${name}\n`);
    const [, type, oid = '', size] = ANSWER.exec(await answer) ?? [];
    return type === undefined ? null : { type: type as ObjectFacts['type'], oid, size: Number(size) };
  }

  /** Ends git. Idempotent. */
  close(): void {
    clearTimeout(this.#timer);
    this.#git.stdin.end();
    killGit(this.#git);
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size > MAX_ANSWERS) this.#end(`answered with more than ${MAX_ANSWERS} bytes`);
    const lines = (this.#text + chunk.toString('latin1')).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) this.#waiting.shift()?.resolve(line);
  }

  #end(why: string): void {
    this.#over ??= `git cat-file ${why}`;
    this.close();
    for (const { reject } of this.#waiting.splice(0)) reject(new OutsideError(this.#over));
  }
}
