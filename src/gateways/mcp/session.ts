/** One server in one run: started when it is first needed, spoken to, started again when it died, within bounds. */
import { asFault, McpFault } from './fault.ts';
import { isObject, type JsonObject } from './jsonrpc.ts';
import type { McpLimits } from './limits.ts';
import { brief } from './text.ts';
import type { Upstream } from './upstream.ts';
import { LATEST, OLDER } from './versions.ts';

/** As a server calls itself; nothing goes by it. */
export interface ServerFacts {
  readonly name: string | null;
  readonly version: string | null;
  readonly protocol: string;
}

export interface SessionLog {
  /** Durable before anything is started or dialled. */
  starting(server: string, attempt: number): Promise<unknown>;
  started(
    token: unknown,
    server: string,
    outcome: { readonly facts: ServerFacts | null; readonly reason: string | null },
  ): Promise<void>;
  stopped(server: string, reason: string): void;
}

export interface SessionOptions {
  readonly name: string;
  readonly limits: McpLimits;
  readonly log: SessionLog;
  /** Starts it, or opens the way to it. */
  open(attempt: number, signal: AbortSignal): Promise<Upstream>;
}

export class Session {
  readonly #options: SessionOptions;
  #starts = 0;
  #running = 0;
  #closed = false;
  #up: Promise<Upstream> | null = null;
  readonly #over = new AbortController();
  /** Starts and ends that are under way: what is recorded of them belongs to the run. */
  readonly #pending = new Set<Promise<unknown>>();

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** Throws `McpFault`. */
  async request(method: string, params: JsonObject, time: number, signal?: AbortSignal): Promise<JsonObject> {
    const { name, limits } = this.#options;
    if (this.#running >= limits.concurrent)
      throw new McpFault(
        'busy',
        `the MCP server ${name} is asked ${limits.concurrent} things at once already: ask again later`,
      );
    this.#running++;
    try {
      const up = await this.#server();
      return await this.#timed(name, time, signal, (late) => up.request(method, params, late));
    } catch (error) {
      throw asFault(error, name);
    } finally {
      this.#running--;
    }
  }

  async #timed<T>(
    name: string,
    time: number,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(new McpFault('timeout', `the MCP server ${name} did not answer within ${Math.round(time / 1000)} s`));
    }, time);
    const any = AbortSignal.any([late.signal, this.#over.signal, ...(signal === undefined ? [] : [signal])]);
    try {
      return await work(any);
    } finally {
      clearTimeout(timer);
    }
  }

  #server(): Promise<Upstream> {
    if (this.#closed) throw new McpFault('cancelled', 'the run has ended');
    this.#up ??= this.#track(this.#start());
    return this.#up;
  }

  async #start(): Promise<Upstream> {
    const { name, limits, log, open } = this.#options;
    if (this.#starts >= limits.starts) {
      this.#up = null;
      throw new McpFault(
        'start',
        `the MCP server ${name} ended ${this.#starts} times in this run, and is not started again`,
      );
    }
    const attempt = ++this.#starts;
    const token = await log.starting(name, attempt);
    let up: Upstream | null = null;
    try {
      const facts = await this.#timed(name, limits.startTime, undefined, async (signal) => {
        up = await open(attempt, signal);
        return await greet(name, up, signal);
      });
      const ready = up as unknown as Upstream;
      await log.started(token, name, { facts, reason: null });
      void ready.ended.then((why) => this.#ended(why, ready));
      return ready;
    } catch (error) {
      this.#up = null;
      const fault = asFault(error, name);
      await (up as Upstream | null)?.close().catch(() => {});
      await log.started(token, name, { facts: null, reason: fault.message });
      throw fault.kind === 'cancelled'
        ? fault
        : new McpFault('start', `the MCP server ${name} does not start: ${fault.message}`, { cause: error });
    }
  }

  #ended(why: string, up: Upstream): void {
    this.#up = null;
    this.#options.log.stopped(this.#options.name, why);
    void this.#track(up.close().catch(() => {}));
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => this.#pending.delete(tracked));
    tracked.catch(() => {}); // whoever waits for it hears of it
    this.#pending.add(tracked);
    return tracked;
  }

  /** Resolves when nothing of it is left, and nothing more is recorded. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#over.abort(new McpFault('cancelled', 'the run has ended'));
    const up = await this.#up?.catch(() => null);
    await up?.close();
    while (this.#pending.size > 0) await Promise.allSettled([...this.#pending]);
  }
}

async function greet(name: string, up: Upstream, signal: AbortSignal): Promise<ServerFacts> {
  const answer = await up.request(
    'initialize',
    { protocolVersion: LATEST, capabilities: {}, clientInfo: { name: 'cordon', version: '1' } },
    signal,
  );
  const protocol = answer.protocolVersion;
  if (typeof protocol !== 'string' || ![LATEST, ...OLDER].includes(protocol))
    throw new McpFault('malformed', `the MCP server ${name} speaks a revision of the protocol that is not known here`);
  if (!isObject(answer.capabilities) || !isObject(answer.capabilities.tools))
    throw new McpFault('malformed', `the MCP server ${name} offers no tools`);
  up.speaks(protocol);
  await up.notify('notifications/initialized', {});
  const info = isObject(answer.serverInfo) ? answer.serverInfo : {};
  const word = (value: unknown) => (typeof value === 'string' ? brief(value, 100) : null);
  return { name: word(info.name), version: word(info.version), protocol };
}
