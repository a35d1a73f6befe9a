/** The MCP servers of one run, as its agent reaches them: which tools there are, and what becomes of a call. */
import type { Clock } from '../../base/clock.ts';
import { TOOL_NAME } from '../../policy/index.ts';
import { asFault, McpFault } from './fault.ts';
import type { JsonObject } from './jsonrpc.ts';
import { defaultMcpLimits, type McpLimits } from './limits.ts';
import { Session, type SessionLog } from './session.ts';
import { bounded, brief } from './text.ts';
import {
  answerText,
  changedTools,
  failed,
  type Listing,
  readAnswer,
  readListing,
  type Tool,
  type ToolAnswer,
} from './tools.ts';
import type { Upstream } from './upstream.ts';

export interface McpCall {
  readonly server: string;
  readonly tool: string;
  /** As whoever calls names it; for the record. */
  readonly id: string;
  readonly args: JsonObject;
}

/** A verdict on one call that is recorded already. `done` records what came of it, exactly once. */
export type Judged =
  | {
      readonly permitted: true;
      done(answer: { readonly ok: boolean; readonly text: string }, ms: number): Promise<void>;
    }
  | { readonly permitted: false; readonly reason: string };

export interface McpLog extends SessionLog {
  listed(server: string, listing: Listing, changed: readonly string[]): Promise<void>;
  unjudged(event: { readonly what: string; readonly server: string | null; readonly detail: string }): void;
}

/** Answers in place of servers: null for one that was not recorded. */
export interface McpReplay {
  answer(server: string, method: string, params: JsonObject): JsonObject | null;
}

export interface McpRecorder {
  record(server: string, method: string, params: JsonObject, answer: JsonObject): void;
}

export interface ServerSpec {
  readonly name: string;
  /** Milliseconds for one call. */
  readonly timeout: number;
  /** Of one run. */
  readonly calls: number;
}

export interface McpOptions {
  readonly servers: readonly ServerSpec[];
  open(server: string, attempt: number, signal: AbortSignal): Promise<Upstream>;
  /** True when a call could be permitted, now or after somebody was asked. */
  mayCall(server: string, tool: string): boolean;
  /** `until`: nobody waits for it any more. */
  judge(call: McpCall, until?: AbortSignal): Promise<Judged>;
  /** Why such arguments may not leave: they hold a secret, or what stands for one. Null when they may. */
  holdsSecret(server: string, args: JsonObject): Promise<string | null>;
  /** Takes secrets out of what an agent is told. */
  redact<T>(value: T): T;
  readonly log: McpLog;
  readonly clock: Clock;
  readonly recorder: McpRecorder | null;
  readonly replay: McpReplay | null;
  /** For an agent that ends over a server without a list of tools: it is given an empty one, and this is told why. */
  readonly onUnlisted?: (server: string, fault: McpFault) => void;
  /** Calls of each server that count already. */
  readonly made?: Readonly<Record<string, number>>;
  readonly limits?: Partial<McpLimits>;
}

/** Characters of a fault that an agent is told. */
const TOLD = 1_200;

export class Mcp {
  readonly limits: McpLimits;
  readonly #options: McpOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #listings = new Map<string, Listing>();
  #judged = 0;
  #characters = 0;
  readonly #calls: Map<string, number>;
  readonly #listed = new Map<string, number>();

  constructor(options: McpOptions) {
    this.#options = options;
    this.limits = { ...defaultMcpLimits, ...options.limits };
    this.#calls = new Map(Object.entries(options.made ?? {}));
    for (const { name } of options.servers) {
      const open = (attempt: number, signal: AbortSignal) => options.open(name, attempt, signal);
      this.#sessions.set(name, new Session({ name, limits: this.limits, log: options.log, open }));
    }
  }

  get servers(): readonly string[] {
    return this.#options.servers.map(({ name }) => name);
  }

  get log(): McpLog {
    return this.#options.log;
  }

  /** The permitted tools, as the server has them now. Throws `McpFault`. */
  async list(server: string, signal?: AbortSignal): Promise<readonly Tool[]> {
    const { log, mayCall } = this.#options;
    const times = (this.#listed.get(server) ?? 0) + 1;
    this.#listed.set(server, times);
    const before = this.#listings.get(server);
    if (before !== undefined && times > this.limits.listings) return before.tools;
    const values = await this.#listAll(server, signal);
    const listing = this.#options.redact(readListing(values, (tool) => mayCall(server, tool), this.limits));
    const changed = before === undefined ? [] : changedTools(before, listing);
    this.#listings.set(server, listing);
    if (before?.digest !== listing.digest) await log.listed(server, listing, changed);
    return listing.tools;
  }

  /** The same, for an agent inside. */
  async offer(server: string, signal?: AbortSignal): Promise<readonly Tool[]> {
    try {
      return await this.list(server, signal);
    } catch (error) {
      const { onUnlisted } = this.#options;
      if (onUnlisted === undefined || !(error instanceof McpFault) || error.kind === 'cancelled') throw error;
      onUnlisted(server, error);
      return [];
    }
  }

  async #listAll(server: string, signal: AbortSignal | undefined): Promise<unknown[]> {
    const all: unknown[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < this.limits.pages; page++) {
      const params: JsonObject = cursor === null ? {} : { cursor };
      const { tools, nextCursor } = await this.#ask(server, 'tools/list', params, this.limits.listTime, signal);
      if (!Array.isArray(tools)) throw new McpFault('malformed', `the MCP server ${server} tells no tools`);
      all.push(...tools.slice(0, this.limits.tools * 4));
      if (typeof nextCursor !== 'string' || nextCursor.length > 4096 || all.length >= this.limits.tools * 4) return all;
      cursor = nextCursor;
    }
    return all;
  }

  /** One call from inside, judged and recorded. Never throws for what the guest, the policy or the server did. */
  async call(call: McpCall, signal?: AbortSignal): Promise<ToolAnswer> {
    const { log, clock, judge } = this.#options;
    if (!TOOL_NAME.test(call.tool)) {
      log.unjudged({ what: 'tool', server: call.server, detail: brief(call.tool) });
      return failed('This is no name of a tool.');
    }
    if (this.#isTooMuch(call)) {
      log.unjudged({ what: 'calls', server: call.server, detail: call.tool });
      return failed('This run has asked for more calls than are looked at: it is refused.');
    }
    const judged = await judge(call, signal);
    if (!judged.permitted) return failed(`This call is not permitted: ${judged.reason}`);
    const start = clock.monotonic();
    let answer = failed('It was interrupted.');
    try {
      answer = await this.perform(call, signal);
      return answer;
    } finally {
      await judged.done({ ok: !answer.isError, text: answerText(answer) }, clock.monotonic() - start);
    }
  }

  /** Each call that is judged is kept, permitted or not: a guest must not fill the disk with what is refused. */
  #isTooMuch({ args }: McpCall): boolean {
    const { refusals, arguments: most } = this.limits;
    const permitted = this.#options.servers.reduce((sum, { calls }) => sum + calls, 0);
    this.#characters += JSON.stringify(args).length;
    return ++this.#judged > permitted + refusals || this.#characters > most;
  }

  /** A call that was permitted and recorded; the answer is bounded, visible, and without secrets. Never throws. */
  async perform({ server, tool, args }: McpCall, signal?: AbortSignal): Promise<ToolAnswer> {
    try {
      const secret = await this.#options.holdsSecret(server, args);
      if (secret !== null) throw new McpFault('refused', `This call is refused: ${secret}`);
      this.#count(server);
      await this.#known(server, tool, signal);
      const { timeout } = this.#spec(server);
      const result = await this.#ask(server, 'tools/call', { name: tool, arguments: args }, timeout, signal);
      return this.#options.redact(readAnswer(result, this.limits));
    } catch (error) {
      return failed(this.#options.redact(asFault(error, server).message));
    }
  }

  #spec(server: string): ServerSpec {
    const spec = this.#options.servers.find(({ name }) => name === server);
    if (spec === undefined) throw new McpFault('refused', `the policy names no MCP server ${brief(server, 40)}`);
    return spec;
  }

  #count(server: string): void {
    const { calls } = this.#spec(server);
    const made = (this.#calls.get(server) ?? 0) + 1;
    if (made > calls)
      throw new McpFault(
        'refused',
        `more than ${calls} calls of the MCP server ${server} in this run (mcp_servers.${server}.calls)`,
      );
    this.#calls.set(server, made);
  }

  /** A tool that a server does not tell of is not called: it could do anything. */
  async #known(server: string, tool: string, signal: AbortSignal | undefined): Promise<void> {
    const told = () => this.#listings.get(server)?.tools.some(({ name }) => name === tool) ?? false;
    if (told()) return;
    await this.list(server, signal);
    if (!told()) throw new McpFault('refused', `the MCP server ${server} has no tool ${tool}`);
  }

  async #ask(
    server: string,
    method: string,
    params: JsonObject,
    time: number,
    signal?: AbortSignal,
  ): Promise<JsonObject> {
    const { replay, recorder, redact } = this.#options;
    this.#spec(server);
    if (replay !== null) return played(server, replay.answer(server, method, params));
    try {
      // Before anything of it is cut: what is left of a secret is not known for one.
      const answer = redact(await (this.#sessions.get(server) as Session).request(method, params, time, signal));
      recorder?.record(server, method, params, { result: answer });
      return answer;
    } catch (error) {
      const { kind, code, message } = asFault(error, server);
      const told = code === null ? {} : { code };
      const fault = new McpFault(kind, bounded(redact(message), TOLD), { ...told, cause: error });
      recorder?.record(server, method, params, { fault: { kind: fault.kind, message: fault.message } });
      throw fault;
    }
  }

  /** Ends every server. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => session.close()));
  }
}

function played(server: string, answer: JsonObject | null): JsonObject {
  if (answer === null) throw new McpFault('refused', `this call of the MCP server ${server} is not in the recording`);
  const { result, fault } = answer as { result?: JsonObject; fault?: { kind: McpFault['kind']; message: string } };
  if (result !== undefined) return result;
  throw new McpFault(fault?.kind ?? 'ended', fault?.message ?? 'the recording holds no answer');
}
