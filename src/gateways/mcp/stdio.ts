/** A server that is a program: one message a line over its standard streams. */
import type { Readable, Writable } from 'node:stream';
import type { McpFault } from './fault.ts';
import {
  Code,
  failure,
  type Id,
  type JsonObject,
  type Message,
  notification,
  parseMessage,
  request,
  result,
} from './jsonrpc.ts';
import { ServerLife } from './life.ts';
import type { McpLimits } from './limits.ts';
import { brief } from './text.ts';
import type { Sightings, Upstream } from './upstream.ts';

export interface ServerProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves with how it ended, for a person. */
  readonly exit: Promise<string>;
  /** Ends it, and all that it started. */
  kill(): Promise<void>;
}

interface Waiting {
  resolve(result: JsonObject): void;
  reject(fault: McpFault): void;
}

export class StdioUpstream implements Upstream {
  readonly #life: ServerLife;
  readonly #process: ServerProcess;
  readonly #limits: McpLimits;
  readonly #sightings: Sightings;
  readonly #waiting = new Map<Id, Waiting>();
  #last = 0;
  #garbage = 0;
  #chatter = 0;
  #line: Buffer[] = [];
  #size = 0;

  constructor(name: string, process: ServerProcess, limits: McpLimits, sightings: Sightings) {
    this.#life = new ServerLife(name);
    this.#process = process;
    this.#limits = limits;
    this.#sightings = sightings;
    process.stdin.on('error', () => {}); // its end tells
    process.stdout.on('error', () => {});
    process.stdout.on('data', (piece: Buffer) => this.#read(piece));
    process.stdout.once('end', () => void this.#process.exit.then((how) => this.#finish(how)));
    void process.exit.then((how) => setImmediate(() => this.#finish(how)));
  }

  get ended(): Promise<string> {
    return this.#life.ended;
  }

  speaks(): void {}

  request(method: string, params: JsonObject, signal: AbortSignal): Promise<JsonObject> {
    if (this.#life.over) return Promise.reject(this.#life.gone());
    const id = ++this.#last;
    return new Promise<JsonObject>((resolve, reject) => {
      const cancelled = () => {
        this.#waiting.delete(id);
        this.#send(notification('notifications/cancelled', { requestId: id, reason: 'nobody waits for it' }));
        reject(signal.reason);
      };
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener('abort', cancelled, { once: true });
      const done = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          signal.removeEventListener('abort', cancelled);
          settle(value);
        };
      };
      this.#waiting.set(id, { resolve: done(resolve), reject: done(reject) });
      this.#send(request(id, method, params));
    });
  }

  async notify(method: string, params: JsonObject): Promise<void> {
    this.#send(notification(method, params));
  }

  async close(): Promise<void> {
    this.#finish('it was stopped');
    await this.#process.kill();
  }

  #send(message: object): void {
    const { stdin } = this.#process;
    if (this.#life.over || !stdin.writable) return;
    stdin.write(`${JSON.stringify(message)}\n`);
    // What one does not read that asks and asks, or is asked and asked, would fill the memory.
    if (stdin.writableLength > 2 * this.#limits.message) this.#giveUp('it does not read what it is sent');
  }

  #read(piece: Buffer): void {
    let rest = piece;
    for (let end = rest.indexOf(10); end >= 0 && !this.#life.over; end = rest.indexOf(10)) {
      this.#line.push(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      const line = Buffer.concat(this.#line).toString('utf8').trim();
      this.#line = [];
      this.#size = 0;
      if (line !== '') this.#take(line);
    }
    if (this.#life.over) return;
    this.#line.push(rest);
    this.#size += rest.length;
    if (this.#size > this.#limits.message)
      this.#giveUp(`it sent more than ${this.#limits.message} bytes as one message`);
  }

  #take(line: string): void {
    let message: Message;
    try {
      message = parseMessage(line);
    } catch (error) {
      this.#odd(`${(error as Error).message}: ${brief(line, 80)}`);
      this.#unreadable(line, (error as Error).message);
      return;
    }
    const idle = message.kind === 'notification' || (message.kind === 'request' && message.method === 'ping');
    if (idle && ++this.#chatter > this.#limits.chatter) {
      this.#giveUp('it says too much that nobody asked for');
      return;
    }
    if (message.kind === 'request') this.#asked(message.id, message.method);
    else if (message.kind !== 'notification') this.#answered(message);
  }

  #asked(id: Id, method: string): void {
    if (method === 'ping') {
      this.#send(result(id, {}));
      return;
    }
    this.#sightings.asked(method);
    this.#send(failure(id, Code.method, 'nothing is offered to servers here'));
    // Each such question has an answer: one that asks without end would fill the memory with them.
    if (++this.#garbage > this.#limits.garbage) this.#giveUp('it asked again and again for what it is not given');
  }

  #answered(message: Exclude<Message, { kind: 'request' | 'notification' }>): void {
    const waiting = message.id === null ? undefined : this.#waiting.get(message.id);
    if (waiting === undefined || message.id === null) {
      this.#odd('an answer that nobody waits for');
      return;
    }
    this.#waiting.delete(message.id);
    if (message.kind === 'result') {
      waiting.resolve(message.result);
      return;
    }
    waiting.reject(this.#life.answered(message));
  }

  /** What was meant as the one answer that is waited for will not come again. */
  #unreadable(line: string, why: string): void {
    const [first, second] = this.#waiting;
    if (first === undefined || second !== undefined || !/^\{.*"jsonrpc"/.test(line.slice(0, 256))) return;
    this.#waiting.delete(first[0]);
    first[1].reject(this.#life.fault('malformed', `gave an answer that cannot be read: ${why}`));
  }

  #odd(detail: string): void {
    this.#sightings.garbage(detail);
    if (++this.#garbage > this.#limits.garbage) this.#giveUp('it sent too much that has no meaning');
  }

  #giveUp(why: string): void {
    this.#finish(why);
    void this.#process.kill().catch(() => {});
  }

  #finish(why: string): void {
    this.#life.finish(why, () => {
      this.#line = [];
      for (const { reject } of this.#waiting.values()) reject(this.#life.gone());
      this.#waiting.clear();
    });
  }
}
