/**
 * A run as OpenTelemetry spans, in OTLP's JSON (https://opentelemetry.io/docs/specs/otlp/), with the attributes of its conventions for
 * generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/) and for processes. A view of the log for dashboards: the log is the
 * evidence. Ids follow from the run's, so that the same run exported twice is the same trace.
 */
import { createHash } from 'node:crypto';
import type { AuditEvent } from './event.ts';

type Value =
  | { readonly stringValue: string }
  | { readonly intValue: string }
  | { readonly doubleValue: number }
  | { readonly boolValue: boolean }
  | { readonly arrayValue: { readonly values: readonly Value[] } };
interface Attribute {
  readonly key: string;
  readonly value: Value;
}

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  /** 1 internal, 3 client. */
  readonly kind: 1 | 3;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  /** 1 ok, 2 error. */
  readonly status: { readonly code: 0 | 1 | 2; readonly message?: string };
}

export interface OtlpTraces {
  readonly resourceSpans: readonly [
    {
      readonly resource: { readonly attributes: readonly Attribute[] };
      readonly scopeSpans: readonly [{ readonly scope: { readonly name: string }; readonly spans: readonly Span[] }];
    },
  ];
}

type Of<T extends AuditEvent['type']> = Extract<AuditEvent, { type: T }>;
type Plain = string | number | boolean | readonly string[] | null | undefined;

/** The events of one run, in order. What has no outcome yet ends with the last event. */
export function otlpOf(run: string, events: readonly AuditEvent[]): OtlpTraces {
  const spans = new Spans(run, events);
  const attributes = attributesOf({ 'service.name': 'cordon', 'cordon.run.id': run });
  return {
    resourceSpans: [{ resource: { attributes }, scopeSpans: [{ scope: { name: 'cordon' }, spans: spans.all() }] }],
  };
}

class Spans {
  readonly #run: string;
  readonly #events: readonly AuditEvent[];
  readonly #outcomes = new Map<number, AuditEvent>();
  /** Image in the sandbox → the seq of its event. */
  readonly #images = new Map<number, number>();

  constructor(run: string, events: readonly AuditEvent[]) {
    this.#run = run;
    this.#events = events;
    for (const event of events) {
      if (event.cause !== null && 'outcome' in event) this.#outcomes.set(event.cause, event);
      if (event.type === 'command.started') this.#images.set(event.resource.id, event.seq);
    }
  }

  all(): Span[] {
    const created = this.#events.find((event): event is Of<'run.created'> => event.type === 'run.created');
    const last = this.#events.at(-1);
    if (created === undefined || last === undefined) return [];
    return [this.#whole(created, last), ...this.#events.flatMap((event) => this.#one(event) ?? [])];
  }

  #whole(created: Of<'run.created'>, last: AuditEvent): Span {
    const stopped = this.#events.find((event): event is Of<'run.stopped'> => event.type === 'run.stopped');
    const { agent, model, workspace } = created.resource;
    const failed = stopped !== undefined && stopped.outcome.status !== 'succeeded';
    return {
      ...this.#frame(created, stopped ?? last, null),
      name: `invoke_agent ${agent.kind}`,
      kind: 1,
      attributes: attributesOf({
        'gen_ai.operation.name': 'invoke_agent',
        'gen_ai.agent.name': agent.kind,
        'gen_ai.request.model': model,
        'cordon.repository': workspace,
        'enduser.id': created.principal.id,
        'cordon.status': stopped?.outcome.status,
      }),
      status: failed ? { code: 2, message: stopped.outcome.reason } : { code: stopped === undefined ? 0 : 1 },
    };
  }

  #one(event: AuditEvent): Span | null {
    if (event.type === 'llm.request') return this.#model(event, this.#end(event, 'llm.response'));
    if (event.type === 'command.started') return this.#command(event, this.#end(event, 'command.exited'));
    if (event.type === 'network.decided') return this.#crossing(event, this.#end(event, 'network.closed'));
    return null;
  }

  #end<T extends AuditEvent['type']>(event: AuditEvent, type: T): Of<T> | null {
    const outcome = this.#outcomes.get(event.seq);
    return outcome?.type === type ? (outcome as Of<T>) : null;
  }

  #model(event: Of<'llm.request'>, answer: Of<'llm.response'> | null): Span {
    const { provider, model, operation, stream, requestId } = event.resource;
    const { tokens, finish, result, status, upstreamId, firstByteMs, nanoUsd } = answer?.outcome ?? {};
    const failed = result !== undefined && result !== 'completed';
    return {
      ...this.#frame(event, answer, this.#root()),
      name: `${operation === 'count' ? 'count_tokens' : 'chat'} ${model}`,
      kind: 3,
      attributes: attributesOf({
        'gen_ai.operation.name': operation === 'count' ? 'count_tokens' : 'chat',
        'gen_ai.provider.name': provider,
        'gen_ai.request.model': model,
        'gen_ai.response.id': upstreamId,
        'gen_ai.response.finish_reasons': finish == null ? null : [finish],
        'gen_ai.usage.input_tokens': tokens?.input,
        'gen_ai.usage.output_tokens': tokens?.output,
        'gen_ai.usage.cache_read.input_tokens': tokens?.cached,
        'http.response.status_code': status,
        'error.type': failed ? result : null,
        'cordon.request.id': requestId,
        'cordon.request.stream': stream,
        'cordon.first_byte_ms': firstByteMs,
        'cordon.cost.usd': nanoUsd == null ? null : nanoUsd / 1e9,
        'cordon.decision': event.decision?.effect,
      }),
      status: failed ? { code: 2, message: answer?.outcome.reason ?? result } : { code: answer === null ? 0 : 1 },
    };
  }

  #command(event: Of<'command.started'>, exited: Of<'command.exited'> | null): Span {
    const { argv, cwd, pid, parent } = event.resource;
    const how = exited?.outcome.how;
    const seq = this.#images.get(parent);
    return {
      ...this.#frame(event, exited, seq === undefined || seq >= event.seq ? this.#root() : this.#id(seq)),
      name: exited?.resource.path ?? event.resource.requested,
      kind: 1,
      attributes: attributesOf({
        'process.command_args': argv,
        'process.working_directory': cwd,
        'process.pid': pid,
        'process.executable.path': exited?.resource.path,
        'process.exit.code': how?.kind === 'exited' ? how.code : null,
        'cordon.ended': how?.kind,
      }),
      status: { code: how?.kind === 'exited' && how.code !== 0 ? 2 : 0 },
    };
  }

  #crossing(event: Of<'network.decided'>, closed: Of<'network.closed'> | null): Span {
    const { host, port, method, path } = event.resource;
    const denied = event.decision?.effect !== 'permit';
    return {
      ...this.#frame(event, closed, this.#root()),
      name: method ?? 'CONNECT',
      kind: 3,
      attributes: attributesOf({
        'server.address': host,
        'server.port': port,
        'http.request.method': method,
        'url.path': path,
        'network.peer.address': closed?.resource.address,
        'http.response.status_code': closed?.outcome.status,
        'cordon.bytes.out': closed?.outcome.bytesOut,
        'cordon.bytes.in': closed?.outcome.bytesIn,
        'cordon.decision': event.decision?.effect,
      }),
      status: denied ? { code: 2, message: event.decision?.reason ?? 'denied' } : { code: 0 },
    };
  }

  #root(): string {
    return this.#id('run');
  }

  #id(what: number | 'run'): string {
    return hash(`${this.#run} ${what}`).slice(0, 16);
  }

  #frame(from: AuditEvent, to: AuditEvent | null, parent: string | null) {
    const last = this.#events.at(-1) ?? from;
    return {
      traceId: hash(this.#run).slice(0, 32),
      spanId: parent === null ? this.#root() : this.#id(from.seq),
      ...(parent === null ? {} : { parentSpanId: parent }),
      startTimeUnixNano: nanoseconds(from.time),
      endTimeUnixNano: nanoseconds((to ?? last).time),
    };
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function nanoseconds(time: string): string {
  return `${BigInt(Date.parse(time)) * 1_000_000n}`;
}

/** Without those that have no value. */
function attributesOf(values: Readonly<Record<string, Plain>>): Attribute[] {
  return Object.entries(values).flatMap(([key, value]) => (value == null ? [] : [{ key, value: otlpValue(value) }]));
}

function otlpValue(value: string | number | boolean | readonly string[]): Value {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  return { arrayValue: { values: value.map((text) => ({ stringValue: text })) } };
}
