/**
 * One turn with an agent that speaks the Agent Client Protocol, Cordon being the client:
 *
 *   initialize ▶ session/new ▶ session/prompt … session/update, session/request_permission … ◀ stop reason
 *
 * Neither files nor terminals of the client are offered: the agent is in the sandbox with all there is, and what it did not ask
 * leave for is held by the boundary all the same.
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
import { type Answer, type AskedTool, answerWith, canonicalTool } from './permission.ts';
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
  /** Milliseconds; {@link SETUP} unless given. */
  readonly setup?: number;
}

export type Verdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

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
    this.#talk().then(this.#settle, (error: unknown) => this.#settle({ ok: false, reason: wordsOf(error) }));
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

  /** Nobody listens any more. What was still coming is told. */
  close(): void {
    this.#settle({ ok: false, reason: 'it ended before it answered' });
    this.#wire.close();
    this.#tell(this.#updates.end());
  }

  async #talk(): Promise<Verdict> {
    const connection = client({ name: 'cordon' })
      .onRequest(methods.client.session.requestPermission, ({ params }) => this.#permission(params))
      .connect(this.#wire);
    const { agent } = connection;
    this.#notify = (method, params) => agent.notify(method, params);
    const hello = await this.#within(
      'initialize',
      agent.request('initialize', {
        protocolVersion: PROTOCOL_VERSION,
        clientCapabilities: { fs: { readTextFile: false, writeTextFile: false }, terminal: false },
      }),
    );
    if (hello.protocolVersion !== PROTOCOL_VERSION)
      return {
        ok: false,
        reason: `it speaks version ${hello.protocolVersion} of the protocol, Cordon ${PROTOCOL_VERSION}`,
      };
    const { cwd, prompt } = this.#host;
    const { sessionId } = await this.#within('session/new', agent.request('session/new', { cwd, mcpServers: [] }));
    this.#session = sessionId;
    const { name = null, version = null } = hello.agentInfo ?? {};
    this.#host.onPrompt({ name: name?.slice(0, 128) ?? null, version: version?.slice(0, 128) ?? null });
    const blocks = prompt.map((text): ContentBlock => ({ type: 'text', text }));
    const { stopReason, _meta } = await agent.request('session/prompt', { sessionId, prompt: blocks });
    this.#updates.used(_meta);
    if (stopReason === 'end_turn') return { ok: true };
    return { ok: false, reason: Object.hasOwn(STOPS, stopReason) ? `${STOPS[stopReason]}` : 'it stopped' };
  }

  async #permission({ toolCall, options }: RequestPermissionRequest): Promise<RequestPermissionResponse> {
    if (++this.#questions > MOST_QUESTIONS) {
      this.#settle({ ok: false, reason: `it asked for leave more than ${MOST_QUESTIONS} times` });
      throw RequestError.invalidRequest(undefined, 'too many requests');
    }
    const id = toolCall.toolCallId.slice(0, 128);
    const known = this.#updates.known(id);
    const title = toolCall.title || known.title;
    const tool = canonicalTool(toolCall.kind || known.kind, title);
    const { response } = await this.#host.permission({ id, tool, title }, (permitted) =>
      answerWith(options, permitted),
    );
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

/** JSON-RPC's code for an agent that wants somebody to log in. */
const AUTH_REQUIRED = -32000;

function wordsOf(error: unknown): string {
  const message = error instanceof Error ? error.message.slice(0, 500) : 'an unknown error';
  if (!(error instanceof RequestError)) return message;
  const details =
    typeof error.data === 'object' && error.data !== null && 'details' in error.data ? `: ${error.data.details}` : '';
  const what = `${message}${details.slice(0, 500)}`;
  return error.code === AUTH_REQUIRED ? `it wants somebody to log in: ${what}` : `it answered with an error: ${what}`;
}
