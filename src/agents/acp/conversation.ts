/**
 * One turn with an agent that speaks the Agent Client Protocol, Cordon being the client:
 *
 *   initialize ▶ session/new ▶ session/prompt … session/update, session/request_permission, fs/*, terminal/* … ◀ stop reason
 *
 * The files and terminals of the client are those of the sandbox (services.ts): the agent could reach them itself, and what it does
 * not ask leave for is held by the boundary all the same.
 */
import type { Writable } from 'node:stream';
import {
  type ContentBlock,
  client,
  methods,
  PROTOCOL_VERSION,
  RequestError,
  type RequestPermissionRequest,
  type RequestPermissionResponse,
} from '@agentclientprotocol/sdk';
import { formatDuration } from '../../base/duration.ts';
import type { AgentStep } from '../agent.ts';
import type { GuestBench } from './files.ts';
import type { Offer } from './offer.ts';
import { type Answer, type AskedTool, answerWith, canonicalTool, type ToldCall, toldPart } from './permission.ts';
import { type ServiceHook, Services } from './services.ts';
import { type Asked, AUTH_REQUIRED, LoginError, openSession, type SessionWish } from './session.ts';
import { Updates } from './updates.ts';
import { Wire } from './wire.ts';

/** Milliseconds for an agent to say hello, and to open a session. */
const SETUP = 120_000;
/** Questions in one run. */
const MOST_QUESTIONS = 2_000;

export interface AcpHost {
  /** What the agent is told, part by part. */
  readonly prompt: readonly string[];
  readonly cwd: string;
  /** It is about to be told. As it calls itself; null where it does not. */
  onPrompt(agent: { readonly name: string | null; readonly version: string | null }): void;
  onStep(step: AgentStep): void;
  onOther(line: string): void;
  /** Decides, and records: `answer` makes the answer for either verdict. */
  permission(asked: AskedTool, answer: (permitted: boolean) => Answer): Promise<Answer>;
  /** Before each of {@link Services}. */
  readonly service: ServiceHook;
  readonly bench: GuestBench;
  readonly offer: Offer;
  readonly session: Omit<SessionWish, 'cwd' | 'env'>;
  /** Milliseconds; {@link SETUP} unless given. */
  readonly setup?: number;
}

export type Verdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: string /** What to do, where it is known. */; readonly remedy?: string };

/** Why a turn ended that did not end as asked. */
const STOPS: Readonly<Record<string, string>> = {
  max_tokens: 'it ran into its limit of tokens',
  max_turn_requests: 'it ran into its limit of requests',
  refusal: 'it refuses to do this',
  cancelled: 'it was cancelled',
};

export class Conversation {
  /** Never rejects. */
  readonly done: Promise<Verdict>;
  readonly #host: AcpHost;
  readonly #wire: Wire;
  readonly #updates = new Updates();
  readonly #services: Services;
  #settle: (verdict: Verdict) => void = () => {};
  #notify: ((method: 'session/cancel', params: { sessionId: string }) => Promise<void>) | null = null;
  #session: string | null = null;
  #questions = 0;

  constructor(stdin: Writable, host: AcpHost) {
    this.#host = host;
    this.done = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#wire = new Wire(stdin, {
      onUpdate: (params) => this.#tell(this.#updates.read(params)),
      onOther: (line) => host.onOther(line),
      onFault: (reason) => this.#settle({ ok: false, reason }),
    });
    this.#services = new Services(host.bench, host.cwd, host.service);
    this.#talk().then(this.#settle, (error: unknown) => this.#settle({ ok: false, ...failureOf(error) }));
  }

  /** Bytes of the agent's output. Resolves when more may come. */
  feed(chunk: Buffer): Promise<void> {
    return this.#wire.feed(chunk);
  }

  get unread(): number {
    return this.#wire.unread;
  }

  /** Asks it to stop its turn. Resolves when it has, or after that many milliseconds. */
  async cancel(patience: number): Promise<void> {
    if (this.#session === null || this.#notify === null) return;
    this.#notify('session/cancel', { sessionId: this.#session }).catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patience);
    });
    await Promise.race([this.done, late]);
    clearTimeout(timer);
  }

  /** Nobody listens any more. What was still coming is told. Resolves when nothing is being done for the agent any more. */
  async close(): Promise<void> {
    this.#settle({ ok: false, reason: 'it ended before it answered' });
    this.#wire.close();
    this.#tell(this.#updates.end());
    await this.#services.close();
  }

  async #talk(): Promise<Verdict> {
    const connection = this.#client().connect(this.#wire);
    const { agent } = connection;
    this.#notify = (method, params) => agent.notify(method, params);
    const { cwd, prompt, offer, bench, session } = this.#host;
    const hello = await this.#within(
      'initialize',
      agent.request('initialize', {
        protocolVersion: PROTOCOL_VERSION,
        clientCapabilities: {
          fs: { readTextFile: offer.read, writeTextFile: offer.write },
          terminal: offer.terminal,
        },
      }),
    );
    if (hello.protocolVersion !== PROTOCOL_VERSION)
      return {
        ok: false,
        reason: `it speaks version ${hello.protocolVersion} of the protocol, Cordon ${PROTOCOL_VERSION}`,
      };
    const wish = { ...session, cwd, env: bench.env };
    const sessionId = await this.#within('session/new', openSession(agent as Asked, hello, wish));
    this.#session = sessionId;
    const { name = null, version = null } = hello.agentInfo ?? {};
    this.#host.onPrompt({ name: name?.slice(0, 128) ?? null, version: version?.slice(0, 128) ?? null });
    const blocks = prompt.map((text): ContentBlock => ({ type: 'text', text }));
    const { stopReason, _meta } = await agent.request('session/prompt', { sessionId, prompt: blocks });
    this.#updates.used(_meta);
    if (stopReason === 'end_turn') return { ok: true };
    return { ok: false, reason: Object.hasOwn(STOPS, stopReason) ? `${STOPS[stopReason]}` : 'it stopped' };
  }

  /** What an agent may ask of its client; only what was offered is there. */
  #client() {
    const { session, fs, terminal } = methods.client;
    const services = this.#services;
    const mine = <P extends { sessionId: string }, R>(serve: (params: P) => Promise<R>) => {
      return ({ params }: { params: P }): Promise<R> => {
        if (params.sessionId !== this.#session) throw RequestError.invalidParams(undefined, 'there is no such session');
        return serve(params);
      };
    };
    const app = client({ name: 'cordon' }).onRequest(session.requestPermission, ({ params }) =>
      this.#permission(params),
    );
    const { offer } = this.#host;
    if (offer.read)
      app.onRequest(
        fs.readTextFile,
        mine((params) => services.read(params)),
      );
    if (offer.write)
      app.onRequest(
        fs.writeTextFile,
        mine((params) => services.write(params)),
      );
    if (!offer.terminal) return app;
    return app
      .onRequest(
        terminal.create,
        mine((params) => services.create(params)),
      )
      .onRequest(
        terminal.output,
        mine(({ terminalId }) => services.output(terminalId)),
      )
      .onRequest(
        terminal.waitForExit,
        mine(({ terminalId }) => services.wait(terminalId)),
      )
      .onRequest(
        terminal.kill,
        mine(({ terminalId }) => services.kill(terminalId)),
      )
      .onRequest(
        terminal.release,
        mine(({ terminalId }) => services.release(terminalId)),
      );
  }

  async #permission({ toolCall, options }: RequestPermissionRequest): Promise<RequestPermissionResponse> {
    if (++this.#questions > MOST_QUESTIONS) {
      this.#settle({ ok: false, reason: `it asked for leave more than ${MOST_QUESTIONS} times` });
      throw RequestError.invalidRequest(undefined, 'too many requests');
    }
    const id = toolCall.toolCallId.slice(0, 128);
    const known = this.#updates.known(id);
    const tool = canonicalTool(toolCall.kind || known.kind, toolCall.title || known.title);
    const told = toldBy(toolCall, known);
    const { response } = await this.#host.permission({ id, tool, told }, (permitted) => answerWith(options, permitted));
    return response;
  }

  #tell(steps: readonly AgentStep[]): void {
    for (const step of steps) this.#host.onStep(step);
  }

  async #within<T>(what: string, answer: Promise<T>): Promise<T> {
    const { setup = SETUP } = this.#host;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it did not answer ${what} within ${formatDuration(setup)}`)), setup);
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What it says with the question, over what it said of the call before. */
function toldBy(toolCall: RequestPermissionRequest['toolCall'], known: ToldCall): ToldCall {
  try {
    return {
      title: toolCall.title || known.title,
      rawInput: toldPart(toolCall.rawInput) || known.rawInput,
      locations: toldPart(toolCall.locations) || known.locations,
      content: toldPart(toolCall.content) || known.content,
    };
  } catch {
    throw RequestError.invalidParams(undefined, 'nested too deeply');
  }
}

function failureOf(error: unknown): { readonly reason: string; readonly remedy?: string } {
  const message = error instanceof Error ? error.message.slice(0, 800) : 'an unknown error';
  if (error instanceof LoginError) return { reason: message, remedy: error.remedy };
  if (!(error instanceof RequestError)) return { reason: message };
  const { details } = { ...(error.data as { readonly details?: unknown } | null | undefined) };
  // Of an object no text need be to be had.
  const what = `${message}${typeof details === 'string' ? `: ${details.slice(0, 500)}` : ''}`;
  return {
    reason:
      error.code === AUTH_REQUIRED ? `it wants somebody to log in: ${what}` : `it answered with an error: ${what}`,
  };
}
