import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import type { Redactor } from '../../base/redact/index.ts';
import type { EffectivePolicy } from '../../policy/index.ts';
import type { Spent } from './amounts.ts';
import { parseBody, readBody } from './body.ts';
import { type Budget, Budgets, RunBudget } from './budget.ts';
import { Catalog } from './catalog.ts';
import { exchange } from './exchange.ts';
import type { Gateway } from './gateway.ts';
import { Intake } from './intake.ts';
import type { Decide, ModelLog, ModelRecorder, RecordedResult } from './ledger.ts';
import { defaultModelLimits, type ModelLimits } from './limits.ts';
import { listModels } from './models.ts';
import type { Provider } from './providers/provider.ts';
import { asModelRefusal, badRequest, ModelRefusal, unjudged } from './refusal.ts';
import { type ModelReplay, playModel } from './replay.ts';
import { type Route, route } from './route.ts';
import type { Translate } from './translate/translation.ts';
import { Transport, type TransportOptions } from './upstream.ts';
import { wires } from './wire/index.ts';
import { type JsonObject, type Wire, WireError } from './wire/wire.ts';

export interface ModelsOptions {
  readonly policy: EffectivePolicy;
  readonly providers: readonly Provider[];
  readonly aliases: ReadonlyMap<string, string>;
  /** `provider/model` that the run was told to use; null leaves it to the agent. */
  readonly chosen: string | null;
  /** Judges and counts. `ask` is a refusal here unless the callback has asked and answers with a permit. */
  readonly decide: Decide;
  readonly log: ModelLog;
  readonly redactor: Redactor;
  readonly translate: Translate;
  readonly recorder?: ModelRecorder;
  readonly replay?: ModelReplay;
  /** Besides the run's own. */
  readonly budgets?: readonly Budget[];
  /** Told of each request that a budget had no room for, before its caller is; says whether that has ended the run. */
  readonly onSpent?: (refusal: ModelRefusal) => boolean;
  /** What the run used before, in a process that died. */
  readonly spent?: Spent;
  readonly clock: Clock;
  readonly limits?: Partial<ModelLimits>;
  /** How this machine's network lets anything out. */
  readonly network?: Omit<TransportOptions, 'limits'>;
  readonly random?: (bytes: number) => Uint8Array;
  onNotice?(message: string): void;
  /** Called once, when the log has failed: the run cannot go on. */
  onBroken?(error: unknown): void;
}

export type Listening = { readonly fd: number } | { readonly port: number } | { readonly path: string };

/** The language models of one run. */
export interface Models {
  /** What the run's programs show in place of a key. Worth nothing elsewhere, and nothing after `close`. */
  readonly token: string;
  /**
   * Serves a socket that listens inside the run's network, or opens one: on loopback, or at a path in a folder of this user's alone,
   * for the trusted side. Resolves with its port; 0 for a path.
   */
  attach(listening: Listening): Promise<number>;
  /** Ends every request, as cancelled, and resolves when all are recorded. Idempotent. */
  close(): Promise<void>;
}

export function openModels(options: ModelsOptions): Models {
  return new ModelServer(options);
}

class ModelServer implements Models {
  readonly token: string;
  readonly #gateway: Gateway;
  readonly #token: Buffer;
  #ended = false;
  readonly #going = new Set<AbortController>();
  readonly #servers: Server[] = [];
  readonly #open = new Set<Promise<void>>();
  readonly #transport: Transport;
  readonly #intake: Intake;
  readonly #onSpent: (refusal: ModelRefusal) => boolean;

  constructor(options: ModelsOptions) {
    const { policy, providers, aliases, chosen, clock, random = randomBytes } = options;
    const limits = { ...defaultModelLimits, ...options.limits };
    this.token = `cordon-run-${Buffer.from(random(24)).toString('base64url')}`;
    const supply = new Supply(random);
    this.#token = Buffer.from(this.token);
    this.#onSpent = (refusal) => options.onSpent?.(refusal) ?? false;
    this.#transport = new Transport({ limits, ...options.network });
    this.#intake = new Intake(limits, policy.llm.maxRequest);
    const { defaultProvider, providers: allowed } = policy.llm;
    const preferred = [...(defaultProvider === null ? [] : [defaultProvider]), ...allowed];
    const onNotice = (message: string) => options.onNotice?.(message);
    this.#gateway = {
      policy,
      catalog: new Catalog({ providers, aliases, preferred, chosen }),
      budgets: new Budgets(
        [new RunBudget(policy.llm.budget, options.spent), ...(options.budgets ?? [])],
        (budget, percent) => {
          options.log.budget({ budget, percent });
          onNotice(`${percent} % of the budget of ${budget} for language models is used`);
        },
      ),
      decide: options.decide,
      log: {
        requested: (event) => options.log.requested(event),
        unjudged: (event) => options.log.unjudged(event),
        budget: (event) => options.log.budget(event),
        answered: (token, event) =>
          options.log.answered(token, event).catch((error: unknown) => {
            options.onBroken?.(error);
            throw error;
          }),
      },
      recorder: options.recorder ?? null,
      replay: options.replay ?? null,
      redactor: options.redactor,
      transport: this.#transport,
      translate: options.translate,
      limits,
      clock,
      newRequestId: () => `req_${supply.take().toString('base64url')}`,
      onNotice,
    };
  }

  async attach(listening: Listening): Promise<number> {
    const { requestHeadTime, connections } = this.#gateway.limits;
    const server = createServer(
      {
        maxHeaderSize: 32 * 1024,
        headersTimeout: requestHeadTime,
        requestTimeout: 120_000,
        connectionsCheckingInterval: Math.min(requestHeadTime, 5_000),
        // Tests and builds that take minutes lie between two questions, and a question must not meet the end of its connection.
        keepAliveTimeout: 30 * 60_000,
      },
      (request, response) => {
        const served = this.#serve(request, response).finally(() => this.#open.delete(served));
        this.#open.add(served);
      },
    );
    server.on('upgrade', (_request: IncomingMessage, socket: Duplex) => {
      // What some clients try first; they go on over plain HTTP at once. One that resets the connection instead, or dies
      // before it has read this, would end the whole process with an error that nobody hears: from here on the socket is ours.
      socket.on('error', () => {});
      socket.end('HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', () =>
        socket.destroy(),
      );
    });
    server.maxConnections = connections;
    this.#servers.push(server);
    server.listen('port' in listening ? { port: listening.port, host: '127.0.0.1' } : listening);
    await once(server, 'listening');
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const to = route(request.method ?? '', request.url ?? '', request.headers);
    try {
      const crowded = this.#intake.crowded(this.#open.size);
      if (crowded !== null) {
        response.setHeader('connection', 'close');
        throw crowded;
      }
      this.#authenticate(request);
      await this.#answer(to, request, response);
    } catch (error) {
      const refusal = error instanceof WireError ? badRequest(error.message) : asModelRefusal(error);
      const { result, code } = refusal;
      const { log, replay } = this.#gateway;
      // What the log could not take is told by its failing; what a replay lacks, by the replay.
      if (result !== 'cancelled' && code !== 'audit_unavailable' && replay === null) unjudged(log, code, refusal);
      if (result !== 'failed' && result !== 'unreachable' && code !== 'too_many_requests' && !this.#ended)
        await this.#intake.brake(response);
      answerProblem(to, response, refusal);
    }
  }

  /** The token may stand where any of the protocols puts a key. */
  #authenticate({ headers, url = '' }: IncomingMessage): void {
    const mine =
      this.#isMine(headers.authorization?.replace(/^Bearer /i, '')) ||
      this.#isMine(headers['x-api-key']) ||
      this.#isMine(headers['api-key']) ||
      this.#isMine(headers['x-goog-api-key']) ||
      (url.includes('?') && this.#isMine(new URLSearchParams(url.split('?', 2)[1]).get('key')));
    if (mine && !this.#ended) return;
    const message = 'this is not the token of this run: use the key that the run’s environment holds';
    throw unjudged(this.#gateway.log, 'token', new ModelRefusal('denied', 401, 'wrong_token', message));
  }

  #isMine(shown: string | string[] | null | undefined): boolean {
    if (shown === undefined || shown === null) return false;
    if (typeof shown !== 'string') return shown.some((one) => this.#isMine(one));
    const bytes = Buffer.from(shown);
    return bytes.length === this.#token.length && timingSafeEqual(bytes, this.#token);
  }

  async #answer(to: Route, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, log } = this.#gateway;
    const arrived = clock.monotonic();
    if (to.kind === 'models') {
      request.resume();
      sendJson(response, 200, listModels(this.#gateway, to.wire, to.model));
      return;
    }
    if (to.kind === 'unknown') {
      const message = `${to.what.slice(0, 200)} is not offered here: this run may generate, count tokens and list models`;
      throw unjudged(log, 'endpoint', new ModelRefusal('denied', 404, 'endpoint_denied', message));
    }
    const hold = this.#intake.hold();
    try {
      const raw = await readBody(request, this.#gateway.policy.llm.maxRequest, hold);
      await this.#exchange(to, raw, request, response, arrived);
    } finally {
      hold.release();
    }
  }

  async #exchange(
    to: Exclude<Route, { kind: 'models' | 'unknown' }>,
    raw: Buffer,
    request: IncomingMessage,
    response: ServerResponse,
    arrived: number,
  ): Promise<void> {
    const { limits } = this.#gateway;
    const body = parseBody(raw);
    const wire = wires[to.wire];
    // Where the URL names the model, it is part of what is asked.
    const asked = to.model === null ? body : { ...body, model: to.model, stream: to.kind === 'generate' && to.stream };
    const operation = to.kind === 'count' ? 'count' : 'generate';
    const { replay } = this.#gateway;
    if (replay !== null) return playModel(response, replay.answer(to.wire, asked, operation));
    const gone = new AbortController();
    this.#going.add(gone);
    if (this.#ended) gone.abort(runEnded());
    const leave = () => gone.abort(new ModelRefusal('cancelled', 499, 'cancelled', 'the caller went away'));
    response.once('close', leave);
    const late = setTimeout(
      () => gone.abort(new ModelRefusal('timeout', 504, 'timeout', 'the exchange took too long')),
      limits.totalTime,
    );
    try {
      await exchange(this.#gateway, {
        wire,
        operation,
        body,
        raw: asked === body ? raw : null,
        asked,
        ask: wire.ask(body, { model: to.model, stream: to.kind === 'generate' && to.stream }),
        headers: passing(request, this.#gateway.redactor),
        guest: response,
        signal: gone.signal,
        arrived,
      });
    } catch (error) {
      const refusal = error instanceof ModelRefusal && error.result === 'budget' ? error : null;
      const ended = refusal !== null && this.#onSpent(refusal);
      const as = ended ? 'spent' : refusal?.code === 'budget_exceeded' ? 'budget' : 'completed';
      this.#recordProblem(wire, asked, error, as);
      throw error;
    } finally {
      clearTimeout(late);
      this.#going.delete(gone);
      response.off('close', leave);
    }
  }

  /** The caller gets an error in place of an answer: so it will in a replay, which ends where the run did. */
  #recordProblem(wire: Wire, asked: JsonObject, error: unknown, as: RecordedResult): void {
    const { recorder } = this.#gateway;
    if (recorder === null) return;
    const refusal = error instanceof WireError ? badRequest(error.message) : asModelRefusal(error);
    const recording = recorder.begin(wire.name, asked, null);
    recording.head(refusal.status, { 'content-type': 'application/json' });
    recording.piece(Buffer.from(JSON.stringify(wire.problem(refusal))));
    recording.end(as);
  }

  async close(): Promise<void> {
    this.#ended = true;
    for (const gone of this.#going) gone.abort(runEnded());
    this.#intake.end();
    const servers = this.#servers.splice(0);
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    await Promise.allSettled([...this.#open]);
    for (const server of servers) server.closeAllConnections();
    await Promise.all(closed);
    this.#transport.close();
  }
}

/** Random names of twelve bytes, cut from a larger piece: asking the system for each costs as much as reading the request. */
class Supply {
  readonly #random: (bytes: number) => Uint8Array;
  #left = Buffer.alloc(0);

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  take(): Buffer {
    if (this.#left.length === 0) this.#left = Buffer.from(this.#random(128 * 12));
    const name = this.#left.subarray(0, 12);
    this.#left = this.#left.subarray(12);
    return name;
  }
}

const runEnded = () => new ModelRefusal('cancelled', 499, 'run_ended', 'the run has ended');

/** Headers that are part of a protocol; the caller's credentials, organisation and everything else stay here. */
function passing({ headers }: IncomingMessage, redactor: Redactor): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of ['anthropic-version', 'anthropic-beta']) {
    if (headers[name] === undefined) continue;
    // Names with a date, and nothing else: a header is no place to carry words out by.
    const values = String(headers[name])
      .split(',')
      .map((value) => value.trim());
    const known = values.filter((value) => /^(?:[a-z0-9-]{1,64}-)?\d{4}-\d\d-\d\d$/.test(value)).slice(0, 32);
    const value = known.join(',');
    if (value !== '' && !redactor.matches(Buffer.from(value))) kept[name] = value;
  }
  return kept;
}

function answerProblem(to: Route, response: ServerResponse, refusal: ModelRefusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { retryAfter } = refusal as { retryAfter?: string };
  const headers = {
    // Clients try again at many a status by themselves; here nothing would change.
    ...(refusal.result === 'failed' || refusal.result === 'unreachable' ? {} : { 'x-should-retry': 'false' }),
    ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
  };
  sendJson(response, refusal.status === 499 ? 408 : refusal.status, wires[to.wire].problem(refusal), headers);
}

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers });
  response.end(bytes);
}
