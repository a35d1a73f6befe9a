/** A scripted model behind a real server, in all four protocols: what agents and the gateway are tried against. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { chat } from './chat.ts';
import { gemini } from './gemini.ts';
import { ScriptedServer } from './http.ts';
import { messages } from './messages.ts';
import { responses } from './responses.ts';
import type { Encoder, Turn } from './turn.ts';

export type Protocol = 'chat' | 'responses' | 'messages' | 'gemini';

/** One request as the model got it. */
export interface Heard {
  readonly protocol: Protocol;
  readonly model: string;
  readonly stream: boolean;
  readonly headers: IncomingMessage['headers'];
  readonly url: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the caller sent
  readonly body: any;
  /** As it came. */
  readonly bytes: Buffer;
}

export type Script = readonly Turn[] | ((heard: Heard, index: number) => Turn | Promise<Turn>);

const encoders: Readonly<Record<Protocol, Encoder>> = { chat, responses, messages, gemini };

export class ModelServer extends ScriptedServer {
  readonly heard: Heard[] = [];
  readonly #script: Script;

  constructor(script: Script) {
    super();
    this.#script = script;
  }

  protected override async serve(request: IncomingMessage, bytes: Buffer, response: ServerResponse): Promise<void> {
    const url = request.url ?? '';
    const body = bytes.length === 0 ? {} : JSON.parse(bytes.toString());
    if (/count_tokens|countTokens/.test(url)) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(url.includes('countTokens') ? { totalTokens: 7 } : { input_tokens: 7 }));
      return;
    }
    const protocol = protocolOf(url);
    const model = protocol === 'gemini' ? (/models\/([^:/]+)/.exec(url)?.[1] ?? '') : body.model;
    const stream = protocol === 'gemini' ? url.includes('streamGenerateContent') : body.stream === true;
    const heard: Heard = { protocol, model, stream, headers: request.headers, url, body, bytes };
    const index = this.heard.push(heard) - 1;
    const turn = typeof this.#script === 'function' ? await this.#script(heard, index) : this.#script[index];
    await answer(turn ?? { text: 'nothing more to say' }, heard, response);
  }
}

function protocolOf(url: string): Protocol {
  if (url.includes('/chat/completions')) return 'chat';
  if (url.includes('/responses')) return 'responses';
  if (url.includes('/messages')) return 'messages';
  if (url.includes('enerateContent')) return 'gemini';
  throw new Error(`no protocol has ${url}`);
}

async function answer(turn: Turn, { protocol, model, stream }: Heard, response: ServerResponse): Promise<void> {
  const encoder = encoders[protocol];
  if (turn.thinks !== undefined) await new Promise((resolve) => setTimeout(resolve, turn.thinks));
  if (turn.raw !== undefined) {
    response.writeHead(turn.raw.status, turn.raw.headers).end(turn.raw.body);
    return;
  }
  if (turn.error !== undefined) {
    const { status, message, headers } = turn.error;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(encoder.error(status, message)));
    return;
  }
  response.setHeader('x-request-id', 'upstream-1');
  if (!stream) {
    response.setHeader('content-type', 'application/json');
    if (turn.drip !== undefined) await new Promise((resolve) => setTimeout(resolve, turn.drip));
    response.end(JSON.stringify(encoder.whole(turn, model)));
    return;
  }
  response.setHeader('content-type', 'text/event-stream');
  let sent = 0;
  for (const event of encoder.events(turn, model)) {
    if (turn.drip !== undefined) await new Promise((resolve) => setTimeout(resolve, turn.drip));
    if (sent === turn.failAfter?.events) {
      response.end(encoder.failure(turn.failAfter.message));
      return;
    }
    if (sent++ === turn.cutAfter || response.destroyed) {
      response.destroy();
      return;
    }
    response.write(event);
  }
  response.end();
}
