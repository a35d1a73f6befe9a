import { sha256Hex } from '../../base/digest.ts';
import { assumesContext, mostSpent, outputBound } from './amounts.ts';
import type { Reservation } from './budget.ts';
import type { Candidate } from './catalog.ts';
import type { Gateway } from './gateway.ts';
import type { Incoming } from './incoming.ts';
import type { ModelAnswered, ModelRecording } from './ledger.ts';
import { type Redacted, redactRequest } from './redact.ts';
import { asModelRefusal, badRequest, ModelRefusal } from './refusal.ts';
import type { Translation } from './translate/translation.ts';
import { wires } from './wire/index.ts';
import { type JsonObject, type Wire, WireError, type WireName } from './wire/wire.ts';

/** A request that has its verdict, its form and its budget, on its way to one provider. */
export interface Crossing {
  readonly candidate: Candidate;
  readonly upstream: Wire;
  readonly translation: Translation | null;
  readonly sent: Redacted;
  readonly requestId: string;
  readonly token: unknown;
  readonly reservation: Reservation;
  readonly recording: ModelRecording | null;
  attempts: number;
  /** The provider has it, or is getting it, and has not refused it. */
  underway: boolean;
  /** When it last went out to the provider, of the clock that never goes back: what came before (an approval, other tries) is not its time. */
  sentAt: number | null;
  bytesIn: number;
  firstByte: number | null;
  status: number | null;
  upstreamId: string | null;
  /** An answer that is no stream, until it is recorded. */
  whole: { readonly headers: Readonly<Record<string, string>>; readonly bytes: Buffer } | null;
}

/** Verdict, form, budget and record, in this order: nothing has left when it throws. */
export async function enter(gateway: Gateway, incoming: Incoming, candidate: Candidate): Promise<Crossing> {
  const { ask, wire, operation } = incoming;
  const { provider, model } = candidate;
  const requestId = gateway.newRequestId();
  const form = formed(gateway, incoming, candidate, requestId);
  const decision = await gateway.decide({ action: 'llm.request', provider: provider.name, model: model.name });
  const { items, ...sent } = redactRequest(form.body, gateway.redactor, gateway.policy.llm.secrets, incoming.raw);
  const digest = sha256Hex(sent.bytes);
  const token = await recorded(() =>
    gateway.log.requested({
      provider: provider.name,
      model: model.name,
      asked: ask.model.slice(0, 256),
      wire: wire.name,
      operation,
      stream: ask.stream,
      requestDigest: `sha256:${digest}`,
      bytes: sent.bytes.length,
      requestId,
      features: [...new Set(ask.wants.map(({ feature }) => feature))],
      redacted: sent.marks,
      dropped: wire
        .unknownFields(incoming.body)
        .map((name) => name.slice(0, 64))
        .slice(0, 20),
      decision,
    }),
  );
  const close = (refusal: ModelRefusal) => refused(gateway, incoming, candidate, token, refusal);
  if (decision.effect !== 'permit') {
    const reason = decision.effect === 'ask' ? `${decision.reason}; nobody can be asked here` : decision.reason;
    throw await close(new ModelRefusal('denied', 403, 'policy_denied', reason));
  }
  const reservation = await reserve(gateway, incoming, candidate, sent.bytes.length).catch(async (error: unknown) => {
    throw await close(asModelRefusal(error));
  });
  // The caller's own bytes: what is searched and sent is what was asked.
  const own = sent.bytes === incoming.raw && items !== null;
  const searched = () => (own ? { digest, knowledge: sent.knowledge, items: items.map(sha256Hex) } : null);
  const recording = gateway.recorder?.begin(wire.name, incoming.asked, searched()) ?? null;
  return {
    candidate,
    upstream: form.upstream,
    translation: form.translation,
    sent,
    requestId,
    token,
    reservation,
    recording,
    attempts: 0,
    underway: false,
    sentAt: null,
    bytesIn: 0,
    firstByte: null,
    status: null,
    upstreamId: null,
    whole: null,
  };
}

/** A request as one provider gets it. */
interface Form {
  readonly upstream: Wire;
  readonly translation: Translation | null;
  readonly body: JsonObject;
}

/** In the caller's own protocol where the provider speaks it; otherwise in the first that has words for it. Throws `ModelRefusal`. */
function formed(gateway: Gateway, incoming: Incoming, { provider, model }: Candidate, id: string): Form {
  const { body, ask, wire, operation } = incoming;
  const { budgets, translate, clock } = gateway;
  const spoken = provider.wiresOf?.(model) ?? provider.wires;
  const bound = outputBound(ask, model);
  const maxOutput = budgets.bounded && operation === 'generate' ? bound : null;
  const own = wire.outgoing(body, ask, { model: model.upstream, maxOutput });
  if (spoken.includes(wire.name)) return { upstream: wire, translation: null, body: own };
  let problem: ModelRefusal | null = null;
  const set = {
    stream: ask.stream,
    wantsUsage: ask.wantsUsage,
    maxOutput: bound,
    reasoning: model.reasoning,
    id: id.replace(/[^A-Za-z0-9_-]/g, '_'),
    at: Math.floor(clock.now() / 1000),
  };
  for (const name of operation === 'count' ? [] : spoken) {
    const translation = translate(wire.name, name, set);
    try {
      const translated = translation.request(own);
      const sent = { ...ask, wantsUsage: true };
      const put = wires[name].outgoing(translated, sent, { model: model.upstream, maxOutput });
      return { upstream: wires[name], translation, body: put };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      problem ??= badRequest(error.message);
    }
  }
  throw problem ?? unsupported(incoming, spoken);
}

function unsupported({ wire, operation }: Incoming, spoken: readonly WireName[]): ModelRefusal {
  const what = operation === 'count' ? 'tokens cannot be counted' : 'a request cannot be made';
  return new ModelRefusal(
    'denied',
    400,
    'protocol_unsupported',
    `${what} in ${wire.name} where the provider speaks ${spoken.join(', ')}`,
  );
}

async function reserve(
  { budgets }: Gateway,
  { ask, operation }: Incoming,
  { provider, model }: Candidate,
  bytes: number,
) {
  if (budgets.money && model.price === null)
    throw spent(
      403,
      'model_unpriced',
      `${provider.name}/${model.name} has no price, and the policy counts money: cordon providers add can state one`,
      'state what it costs: cordon providers add … --price, or `price` in providers.yaml',
    );
  const most = operation === 'count' ? { nanoUsd: 0, tokens: 0, requests: 1 } : mostSpent(ask, model, bytes);
  const result = await budgets.reserve(most);
  if ('reservation' in result) return result.reservation;
  const message = `${result.refused}; this request could use up to ${most.tokens} tokens`;
  const feature = operation === 'count' || result.what === 'requests' ? null : assumesContext(ask, model);
  const stated = `state \`context\` of the model ${model.name} in providers.yaml (cordon providers add … --context): without it, a request with ${feature} counts as a million tokens and more; or ${result.remedy}`;
  const refusal = spent(429, 'budget_exceeded', message, feature === null ? result.remedy : stated);
  refusal.never = result.never;
  throw refusal;
}

function spent(status: number, code: string, message: string, remedy: string): ModelRefusal {
  const refusal = new ModelRefusal('budget', status, code, message);
  refusal.remedy = remedy;
  return refusal;
}

async function recorded<T>(append: () => Promise<T>): Promise<T> {
  try {
    return await append();
  } catch (cause) {
    throw new ModelRefusal(
      'unreachable',
      503,
      'audit_unavailable',
      'nothing leaves while the audit log takes no records',
      { cause },
    );
  }
}

/** Closes the record of a request that never left. */
async function refused(
  gateway: Gateway,
  incoming: Incoming,
  { provider, model }: Candidate,
  token: unknown,
  refusal: ModelRefusal,
): Promise<ModelRefusal> {
  await gateway.log.answered(token, {
    ...NO_ANSWER,
    provider: provider.name,
    model: model.name,
    result: refusal.result,
    reason: refusal.message.slice(0, 1000),
    durationMs: Math.round(gateway.clock.monotonic() - incoming.arrived),
  });
  refusal.recorded = true;
  return refusal;
}

const NO_ANSWER = {
  status: null,
  finish: null,
  usage: null,
  estimated: false,
  nanoUsd: null,
  bytesIn: 0,
  attempts: 0,
  firstByteMs: null,
  upstreamId: null,
} as const satisfies Partial<ModelAnswered>;
