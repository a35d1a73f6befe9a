import { OutsideError } from './errors.ts';
import { type GitPlace, type GitProcess, killGit, spawnGit } from './git.ts';

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';

export interface ObjectInfo {
  readonly oid: string;
  readonly type: ObjectType;
  /** Bytes, inflated. */
  readonly size: number;
}

type Parse<T> = (bytes: Buffer) => { answer: T; used: number } | number;

interface Waiter {
  readonly parse: Parse<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** One `git cat-file` conversation: requests are answered in order, so a queue of waiters is all the state there is. */
class Conversation {
  readonly #child: GitProcess;
  readonly #waiting: Waiter[] = [];
  #buffered: Buffer[] = [];
  #size = 0;
  #need = 1;
  #failure: Error | undefined;

  constructor(place: GitPlace) {
    this.#child = spawnGit(place, ['cat-file', '--batch-command']);
    this.#child.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#child.stderr.resume();
    const end = (why: string) => {
      this.#failure ??= new OutsideError(`git cat-file in ${place.gitDir} ${why}`);
      for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#failure);
    };
    this.#child.on('error', (error) => end(`could not be run: ${error.message}`));
    this.#child.on('close', (code, signal) => end(`ended with ${signal ?? code}`));
  }

  #take(chunk: Buffer): void {
    this.#buffered.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#need) return;
    let bytes = this.#buffered.length === 1 ? chunk : Buffer.concat(this.#buffered);
    this.#need = 1;
    for (let next = this.#waiting[0]; next !== undefined && bytes.length > 0; next = this.#waiting[0]) {
      const got = next.parse(bytes);
      if (typeof got === 'number') {
        this.#need = got;
        break;
      }
      bytes = bytes.subarray(got.used);
      this.#waiting.shift();
      next.resolve(got.answer);
    }
    this.#buffered = [bytes];
    this.#size = bytes.length;
  }

  /** `parse` takes one answer off the front of the bytes, or returns how many it needs when it is not all there yet. */
  ask<T>(request: string, parse: Parse<T>): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ parse, resolve: resolve as (value: unknown) => void, reject });
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
 * Reads objects by id from one repository, many at a low cost: one `git cat-file` that lives until `close`.
 * Requests may be made at once; answers come in their order. A size is looked up before content is read, so that an
 * object larger than the caller allows is never inflated into memory.
 */
export class ObjectReader {
  readonly #place: GitPlace;
  #conversation: Conversation | undefined;

  constructor(place: GitPlace) {
    this.#place = place;
  }

  /** Starts git before the first question. */
  start(): void {
    this.#begun();
  }

  #begun(): Conversation {
    this.#conversation ??= new Conversation(this.#place);
    return this.#conversation;
  }

  #ask<T>(request: string, parse: Parse<T>): Promise<T> {
    return this.#begun().ask(request, parse);
  }

  /** Null when there is no such object. */
  info(oid: string): Promise<ObjectInfo | null> {
    return this.#ask(`info ${oid}`, parseInfo);
  }

  /** The content, or null when it is missing, of another type, or larger than `limit` bytes. */
  async read(oid: string, type: ObjectType, limit: number): Promise<Buffer | null> {
    const info = await this.info(oid);
    if (info === null || info.type !== type || info.size > limit) return null;
    return this.readSized(info);
  }

  /** The content of an object whose size the caller has already judged. */
  readSized(info: ObjectInfo): Promise<Buffer | null> {
    return this.#ask(`contents ${info.oid}`, parseContent);
  }

  close(): void {
    this.#conversation?.close();
  }
}
