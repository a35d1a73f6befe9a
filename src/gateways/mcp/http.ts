/** A server over the network: streamable HTTP, one message a POST, its answer as JSON or at the end of a stream of events. */
import { SseReader } from '../../base/sse.ts';
import type { McpFault } from './fault.ts';
import {
  Code,
  failure,
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

export interface HttpAnswer {
  readonly status: number;
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Buffer>;
}

/** Sends one request to the server's one address, with its credential; a crossing of the boundary. */
export type Send = (
  method: 'POST' | 'DELETE',
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  signal: AbortSignal,
) => Promise<HttpAnswer>;

/** Milliseconds that the end of a session is waited for. */
const FAREWELL = 2_000;

export class HttpUpstream implements Upstream {
  readonly #life: ServerLife;
  readonly #send: Send;
  readonly #limits: McpLimits;
  readonly #sightings: Sightings;
  #last = 0;
  #version: string | null = null;
  #session: string | null = null;
  #odd = 0;

  constructor(name: string, send: Send, limits: McpLimits, sightings: Sightings) {
    this.#life = new ServerLife(name);
    this.#send = send;
    this.#limits = limits;
    this.#sightings = sightings;
  }

  get ended(): Promise<string> {
    return this.#life.ended;
  }

  speaks(version: string): void {
    this.#version = version;
  }

  async request(method: string, params: JsonObject, signal: AbortSignal): Promise<JsonObject> {
    if (this.#life.over) throw this.#life.gone();
    const id = ++this.#last;
    const answer = await this.#post(request(id, method, params), signal);
    this.#checkStatus(answer);
    if (method === 'initialize') this.#learnSession(answer.headers['mcp-session-id']);
    const message = await this.#answerTo(id, answer, signal);
    if (message.kind === 'result') return message.result;
    throw this.#life.answered(message);
  }

  async notify(method: string, params: JsonObject): Promise<void> {
    await this.#tell(notification(method, params));
  }

  /** A message without an answer. */
  async #tell(message: object): Promise<void> {
    const { body } = await this.#post(message, AbortSignal.timeout(this.#limits.listTime));
    for await (const _ of body) break;
  }

  #post(message: object, signal: AbortSignal): Promise<HttpAnswer> {
    const headers = {
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      ...this.#own(),
    };
    return this.#send('POST', headers, Buffer.from(JSON.stringify(message)), signal);
  }

  #own(): Record<string, string> {
    return {
      ...(this.#version === null ? {} : { 'MCP-Protocol-Version': this.#version }),
      ...(this.#session === null ? {} : { 'Mcp-Session-Id': this.#session }),
    };
  }

  #learnSession(id: string | undefined): void {
    if (id === undefined) return;
    if (!/^[\x21-\x7e]{1,1024}$/.test(id))
      throw this.#life.fault('malformed', 'names its session with what no header may hold');
    this.#session = id;
  }

  #checkStatus({ status }: HttpAnswer): void {
    if (status === 200) return;
    if (status === 404 && this.#session !== null) {
      this.#life.finish('it ended the session');
      throw this.#life.fault('ended', 'has ended its session: ask again');
    }
    if (status >= 300 && status < 400)
      throw this.#life.fault('malformed', `answers ${status}: redirects are not followed`);
    if (status === 401 || status === 403)
      throw this.#life.fault(
        'ended',
        `answers ${status}: it does not take the credential that the policy names for it`,
      );
    throw this.#life.fault('malformed', `answers ${status}`);
  }

  async #answerTo(
    id: number,
    { headers, body }: HttpAnswer,
    signal: AbortSignal,
  ): Promise<Extract<Message, { kind: 'result' | 'error' }>> {
    const type = (headers['content-type'] ?? '').toLowerCase().split(';', 1)[0]?.trim();
    if (type === 'text/event-stream') return this.#fromEvents(id, body, signal);
    if (type !== 'application/json') throw this.#life.fault('malformed', 'answers with neither JSON nor events');
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of body) {
      size += piece.length;
      if (size > this.#limits.message) throw this.#tooLarge();
      pieces.push(piece);
    }
    const message = this.#parsed(Buffer.concat(pieces).toString('utf8'));
    if ((message.kind === 'result' || message.kind === 'error') && message.id === id) return message;
    throw this.#life.fault('malformed', 'answers something else than it was asked');
  }

  async #fromEvents(id: number, body: AsyncIterable<Buffer>, signal: AbortSignal) {
    const reader = new SseReader();
    let size = 0;
    for await (const piece of body) {
      size += piece.length;
      if (size > this.#limits.message) throw this.#tooLarge();
      for (const { data } of reader.push(piece)) {
        if (data === '') continue;
        const message = this.#parsed(data);
        if ((message.kind === 'result' || message.kind === 'error') && message.id === id) return message;
        if (message.kind === 'request') await this.#asked(message, signal);
      }
    }
    throw this.#life.fault('ended', 'ended its stream before its answer');
  }

  async #asked({ id, method }: Extract<Message, { kind: 'request' }>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (++this.#odd > this.#limits.garbage)
      throw this.#life.fault('malformed', 'asks again and again for what it is not given');
    if (method === 'ping') return this.#tell(result(id, {}));
    this.#sightings.asked(method);
    await this.#tell(failure(id, Code.method, 'nothing is offered to servers here'));
  }

  #parsed(text: string): Message {
    try {
      return parseMessage(text);
    } catch (error) {
      this.#sightings.garbage(`${(error as Error).message}: ${brief(text, 80)}`);
      throw this.#life.fault('malformed', `gives an answer that cannot be read: ${(error as Error).message}`);
    }
  }

  #tooLarge(): McpFault {
    return this.#life.fault('too_large', `answers with more than ${this.#limits.message} bytes`);
  }

  async close(): Promise<void> {
    const session = this.#session;
    if (!this.#life.finish('the run has ended') || session === null) return;
    try {
      const { body } = await this.#send('DELETE', this.#own(), Buffer.alloc(0), AbortSignal.timeout(FAREWELL));
      for await (const _ of body) break;
    } catch {
      // It will find out by itself.
    }
  }
}
