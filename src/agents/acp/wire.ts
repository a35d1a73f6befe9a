/**
 * The byte side of the Agent Client Protocol: one JSON-RPC 2.0 message a line, UTF-8, in both directions.
 *
 *   → {"jsonrpc":"2.0","id":0,"method":"initialize","params":{…}}
 *   ← {"jsonrpc":"2.0","id":0,"result":{…}}
 *   ← {"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"…","update":{…}}}
 *   ← {"jsonrpc":"2.0","id":"a","method":"session/request_permission","params":{…}}
 *
 * What comes in is an attacker's. Only requests, answers to what was asked, and updates get past here; nothing is answered that
 * is no request, and no more is read while the agent leaves its answers lying.
 */
import type { Writable } from 'node:stream';
import type { AnyMessage } from '@agentclientprotocol/sdk';

/** Bytes of one message. A file's whole content may be in it. */
export const LONGEST_MESSAGE = 16 << 20;
/** Requests of the agent's that are being answered at a time: one that waits for each terminal, and room beside. */
const MOST_OPEN = 64;
/** Characters of an id, and of a method's name. */
const LONGEST_NAME = 256;

export interface WireReader {
  /** The params of a `session/update`, as they came. */
  onUpdate(params: unknown): void;
  /** A line that is no message: warnings, banners, garbage. At most 4 KiB of it. */
  onOther(line: string): void;
  /** What cannot be gone on from. */
  onFault(reason: string): void;
}

type Id = string | number;

export class Wire {
  readonly readable: ReadableStream<AnyMessage>;
  readonly writable: WritableStream<AnyMessage>;
  readonly #reader: WireReader;
  readonly #stdin: Writable;
  #controller: ReadableStreamDefaultController<AnyMessage> | null = null;
  /** Ours that wait for an answer, theirs that do. By type too: 1 and "1" are two. */
  readonly #asked = new Set<string>();
  readonly #open = new Set<string>();
  #line: Buffer[] = [];
  #size = 0;
  #closed = false;
  #wake: () => void = () => {};
  /** Lines that are no part of the protocol, or of another conversation than this. */
  unread = 0;

  constructor(stdin: Writable, reader: WireReader) {
    this.#reader = reader;
    this.#stdin = stdin;
    stdin.on('error', () => {}); // it closed its input: its end, or its silence, tells
    this.readable = new ReadableStream<AnyMessage>({
      start: (controller) => {
        this.#controller = controller;
      },
    });
    this.writable = new WritableStream<AnyMessage>({ write: (message) => this.#write(message) });
  }

  /** Resolves when more may come. */
  async feed(chunk: Buffer): Promise<void> {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1 && !this.#closed; end = chunk.indexOf(10, start)) {
      this.#add(chunk.subarray(start, end));
      start = end + 1;
      this.#finish();
      await this.#room();
    }
    this.#add(chunk.subarray(start));
  }

  /** Nothing comes in or goes out any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#line = [];
    this.#wake();
    try {
      this.#controller?.close();
    } catch {
      // Whoever reads it has given it up.
    }
  }

  #add(piece: Buffer): void {
    if (this.#closed) return;
    this.#size += piece.length;
    if (this.#size > LONGEST_MESSAGE) {
      this.#reader.onFault(`it sent a message of more than ${LONGEST_MESSAGE >> 20} MiB`);
      this.close();
    } else if (piece.length > 0) this.#line.push(piece);
  }

  #finish(): void {
    if (this.#closed) return;
    const line = Buffer.concat(this.#line).toString('utf8').trim();
    this.#line = [];
    this.#size = 0;
    if (line === '') return;
    const message = messageOf(line);
    if (message === null) {
      this.unread++;
      this.#reader.onOther(line.slice(0, 4096));
    } else this.#take(message);
  }

  #take(message: Record<string, unknown>): void {
    const { id, method } = message;
    if (method === undefined) this.#answer(message, id);
    else if (typeof method !== 'string' || method.length > LONGEST_NAME) this.unread++;
    else if (id === undefined) {
      if (method === 'session/update') this.#reader.onUpdate(message.params);
    } else if (!isId(id) || this.#open.has(key(id))) this.unread++;
    else {
      this.#open.add(key(id));
      this.#pass(message);
    }
  }

  #answer(message: Record<string, unknown>, id: unknown): void {
    if (isId(id) && this.#asked.delete(key(id))) this.#pass(message);
    else this.unread++;
  }

  #pass(message: Record<string, unknown>): void {
    try {
      this.#controller?.enqueue(message as unknown as AnyMessage);
    } catch {
      this.#reader.onFault('it sent what cannot be read');
      this.close();
    }
  }

  async #room(): Promise<void> {
    while (this.#open.size >= MOST_OPEN && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async #write(message: AnyMessage): Promise<void> {
    const { id, method } = message as { id?: unknown; method?: unknown };
    const isAnswer = method === undefined && isId(id);
    if (method !== undefined && isId(id)) this.#asked.add(key(id));
    await new Promise<void>((resolve) => {
      if (this.#closed || this.#stdin.destroyed) resolve();
      else this.#stdin.write(`${JSON.stringify(message)}\n`, () => resolve());
    });
    if (!isAnswer) return;
    this.#open.delete(key(id));
    this.#wake();
  }
}

function messageOf(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return (value as { jsonrpc?: unknown }).jsonrpc === '2.0' ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function isId(id: unknown): id is Id {
  return typeof id === 'string' ? id.length <= LONGEST_NAME : Number.isSafeInteger(id);
}

function key(id: Id): string {
  return JSON.stringify(id);
}
