import { OutsideError } from './errors.ts';
import { type GitPlace, type GitProcess, killGit, spawnGit } from './git.ts';

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';

export interface ObjectInfo {
  readonly oid: string;
  readonly type: ObjectType;
  /** Bytes, inflated. */
  readonly size: number;
}

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** One `git cat-file` conversation: requests are answered in order, so a queue of waiters is all the state there is. */
class Conversation<T> {
  readonly #child: GitProcess;
  readonly #waiting: Waiter<T>[] = [];
  #buffered: Buffer[] = [];
  #size = 0;
  #failure: Error | undefined;

  /** `parse` takes one answer off the front of the bytes, or returns null when it is not all there yet. */
  constructor(
    place: GitPlace,
    mode: '--batch' | '--batch-check',
    parse: (bytes: Buffer) => { answer: T; used: number } | number,
  ) {
    this.#child = spawnGit(place, ['cat-file', mode]);
    let need = 1;
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#buffered.push(chunk);
      this.#size += chunk.length;
      if (this.#size < need) return;
      let bytes = this.#buffered.length === 1 ? chunk : Buffer.concat(this.#buffered);
      for (;;) {
        const got = bytes.length === 0 ? 1 : parse(bytes);
        if (typeof got === 'number') {
          need = got;
          break;
        }
        bytes = bytes.subarray(got.used);
        this.#waiting.shift()?.resolve(got.answer);
      }
      this.#buffered = [bytes];
      this.#size = bytes.length;
    });
    this.#child.stderr.resume();
    const end = (why: string) => {
      this.#failure ??= new OutsideError(`git cat-file in ${place.gitDir} ${why}`);
      for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#failure);
    };
    this.#child.on('error', (error) => end(`could not be run: ${error.message}`));
    this.#child.on('close', (code, signal) => end(`ended with ${signal ?? code}`));
  }

  ask(request: string): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin.write(`${request}\n`);
    });
  }

  close(): void {
    killGit(this.#child);
  }
}

const HEADER = /^([0-9a-f]{40}|[0-9a-f]{64}) (commit|tree|blob|tag) ([0-9]{1,15})$/;

/** A header line and the offset behind it; a number is how many bytes are needed before it is worth looking again. */
function header(bytes: Buffer): { info: ObjectInfo | null; used: number } | number {
  const end = bytes.indexOf(10);
  if (end < 0) return bytes.length + 1;
  const match = HEADER.exec(bytes.toString('latin1', 0, end));
  if (match === null) return { info: null, used: end + 1 };
  return { info: { oid: match[1] as string, type: match[2] as ObjectType, size: Number(match[3]) }, used: end + 1 };
}

function parseInfo(bytes: Buffer): { answer: ObjectInfo | null; used: number } | number {
  const head = header(bytes);
  return typeof head === 'number' ? head : { answer: head.info, used: head.used };
}

function parseContent(bytes: Buffer): { answer: Buffer | null; used: number } | number {
  const head = header(bytes);
  if (typeof head === 'number') return head;
  if (head.info === null) return { answer: null, used: head.used };
  const end = head.used + head.info.size;
  if (bytes.length < end + 1) return end + 1;
  return { answer: Buffer.from(bytes.subarray(head.used, end)), used: end + 1 };
}

/**
 * Reads objects by id from one repository, many at a low cost: two `git cat-file` processes that live until `close`.
 * Requests may be made at once; answers come in their order. A size is looked up before content is read, so that an
 * object larger than the caller allows is never inflated into memory.
 */
export class ObjectReader {
  readonly #place: GitPlace;
  #infos: Conversation<ObjectInfo | null> | undefined;
  #contents: Conversation<Buffer | null> | undefined;

  constructor(place: GitPlace) {
    this.#place = place;
  }

  /** Null when there is no such object. */
  info(oid: string): Promise<ObjectInfo | null> {
    this.#infos ??= new Conversation(this.#place, '--batch-check', parseInfo);
    return this.#infos.ask(oid);
  }

  /** The content, or null when it is missing, of another type, or larger than `limit` bytes. */
  async read(oid: string, type: ObjectType, limit: number): Promise<Buffer | null> {
    const info = await this.info(oid);
    if (info === null || info.type !== type || info.size > limit) return null;
    return this.readSized(info);
  }

  /** The content of an object whose size the caller has already judged. */
  readSized(info: ObjectInfo): Promise<Buffer | null> {
    this.#contents ??= new Conversation(this.#place, '--batch', parseContent);
    return this.#contents.ask(info.oid);
  }

  close(): void {
    this.#infos?.close();
    this.#contents?.close();
  }
}
