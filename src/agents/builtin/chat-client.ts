import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import * as z from 'zod';
import { SseReader } from '../../base/sse.ts';
import type { AskedCall, ChatRequest } from './conversation.ts';
import { type Answer, faultOf, type Model, ModelError } from './model.ts';

/** Bytes of an answer's text, and of the arguments of all its calls. */
const MOST_TEXT = 1_000_000;
const MOST_ARGUMENTS = 4_000_000;
const MOST_CALLS = 64;
/** Bytes of an error that are read. */
const MOST_ERROR = 64 * 1024;

const callSchema = z.object({
  index: z.number().optional(),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
});
const chunkSchema = z.object({
  error: z.object({ message: z.string().nullish(), code: z.unknown(), type: z.unknown() }).optional(),
  choices: z
    .array(
      z.object({
        delta: z.object({ content: z.string().nullish(), tool_calls: z.array(callSchema).nullish() }).nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .optional(),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
});

export interface ChatOptions {
  /** The run's model gateway, at a path of this machine. */
  readonly socketPath: string;
  readonly token: string;
  readonly model: string;
}

/** Chat Completions at the run's own gateway, as a stream, put together here. What comes is the provider's word, and is bounded. */
export class ChatModel implements Model {
  readonly #options: ChatOptions;

  constructor(options: ChatOptions) {
    this.#options = options;
  }

  async ask({ messages, tools }: ChatRequest, signal: AbortSignal): Promise<Answer> {
    const body = {
      model: this.#options.model,
      messages,
      ...(tools.length === 0 ? {} : { tools }),
      stream: true,
      stream_options: { include_usage: true },
    };
    const response = await this.#send(Buffer.from(JSON.stringify(body)), signal);
    if (response.statusCode !== 200) throw await problem(response);
    const type = response.headers['content-type'] ?? '';
    try {
      return await (type.includes('event-stream') ? streamed(response) : whole(response));
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof ModelError ? error : new ModelError('broken', `the answer broke off: ${String(error)}`);
    } finally {
      response.destroy();
    }
  }

  #send(body: Buffer, signal: AbortSignal): Promise<IncomingMessage> {
    const { socketPath, token } = this.#options;
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = request(
        {
          socketPath,
          path: '/v1/chat/completions',
          method: 'POST',
          headers: {
            host: 'localhost',
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
            'content-length': body.length,
          },
          agent: false,
          signal,
        },
        resolve,
      );
      sent.on('error', (error) =>
        reject(
          signal.aborted
            ? signal.reason
            : new ModelError('busy', `the model gateway does not answer: ${error.message}`),
        ),
      );
      sent.end(body);
    });
  }
}

async function streamed(response: IncomingMessage): Promise<Answer> {
  const reader = new SseReader();
  const answer = new Assembly();
  for await (const piece of response) {
    for (const { data } of reader.push(piece as Buffer)) {
      if (data === '' || data === '[DONE]') continue;
      answer.take(parsed(data));
    }
  }
  return answer.done();
}

async function whole(response: IncomingMessage): Promise<Answer> {
  const bytes = await read(response, MOST_TEXT + MOST_ARGUMENTS);
  const value = parsed(bytes.toString('utf8')) as { choices?: { message?: unknown; finish_reason?: unknown }[] };
  const answer = new Assembly();
  answer.take({ ...value, choices: value.choices?.map((choice) => ({ ...choice, delta: choice.message })) });
  return answer.done();
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === 'object') return value;
  } catch {
    // It is no JSON: said below.
  }
  throw new ModelError('broken', 'the provider sent something that is no answer');
}

/** Tokens as they can be recorded and added up, whatever a provider says. */
function counted(tokens: number): number {
  return Math.min(Math.max(0, Math.ceil(tokens)), 1_000_000_000);
}

/** An answer, put together from its pieces. */
class Assembly {
  #text = '';
  readonly #calls: { id: string; name: string; arguments: string }[] = [];
  readonly #byIndex = new Map<number, number>();
  #size = 0;
  #finish: string | null = null;
  #used: Answer['used'] = null;

  take(value: object): void {
    const chunk = chunkSchema.safeParse(value);
    if (!chunk.success) throw new ModelError('broken', 'the provider sent something that is no answer');
    const { error, choices, usage } = chunk.data;
    if (error !== undefined) {
      const code = typeof error.code === 'string' ? error.code : '';
      throw new ModelError(faultOf(502, code, error.message ?? ''), error.message ?? 'the answer broke off');
    }
    if (usage) this.#used = { input: counted(usage.prompt_tokens), output: counted(usage.completion_tokens) };
    const [choice] = choices ?? [];
    if (choice === undefined) return;
    this.#finish = choice.finish_reason ?? this.#finish;
    this.#text += choice.delta?.content ?? '';
    for (const call of choice.delta?.tool_calls ?? []) this.#call(call);
    if (this.#text.length > MOST_TEXT || this.#size > MOST_ARGUMENTS || this.#calls.length > MOST_CALLS)
      throw new ModelError('broken', 'the answer had no end');
  }

  /** Most number their calls; some leave that out, and send each whole. */
  #call({ index, id, function: named }: z.output<typeof callSchema>): void {
    let at = index === undefined ? undefined : this.#byIndex.get(index);
    if (at === undefined || (index === undefined && id)) {
      at = this.#calls.push({ id: '', name: '', arguments: '' }) - 1;
      if (index !== undefined) this.#byIndex.set(index, at);
    }
    const call = this.#calls[at];
    if (call === undefined) return;
    call.id ||= id?.slice(0, 200) ?? '';
    call.name ||= named?.name?.slice(0, 200) ?? '';
    call.arguments += named?.arguments ?? '';
    this.#size += named?.arguments?.length ?? 0;
  }

  done(): Answer {
    const calls: AskedCall[] = this.#calls.map((call, i) => ({ ...call, id: call.id || `call_${i + 1}` }));
    if (this.#finish === null && calls.length === 0 && this.#text === '')
      throw new ModelError('broken', 'the answer broke off before it began');
    // Half a call is none: it ends only with its finish reason.
    if (this.#finish === null && calls.length > 0)
      throw new ModelError('broken', 'the answer broke off in a tool call');
    return { text: this.#text, calls, finish: this.#finish, used: this.#used };
  }
}

async function problem(response: IncomingMessage): Promise<ModelError> {
  const status = response.statusCode ?? 502;
  const text = await read(response, MOST_ERROR).catch(() => Buffer.alloc(0));
  let message = `the model gateway answered with ${status}`;
  let code = '';
  try {
    const { error } = z
      .object({ error: z.object({ message: z.string(), code: z.string().nullish() }) })
      .parse(JSON.parse(text.toString('utf8')));
    message = error.message.slice(0, 2_000);
    code = error.code ?? '';
  } catch {
    // The status says enough.
  }
  const seconds = Number(response.headers['retry-after']);
  const after =
    Number.isFinite(seconds) && response.headers['retry-after'] !== undefined ? Math.max(0, seconds * 1000) : null;
  return new ModelError(faultOf(status, code, message), message, after);
}

async function read(response: IncomingMessage, most: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of response) {
    size += (piece as Buffer).length;
    if (size > most) throw new ModelError('broken', 'the answer had no end');
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces);
}
