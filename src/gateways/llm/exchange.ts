import { relay, settle } from './answer.ts';
import { ask } from './attempts.ts';
import { type Crossing, enter } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import type { Incoming } from './incoming.ts';
import { asModelRefusal, ModelRefusal, unjudged } from './refusal.ts';

/**
 * One request, from its verdict to its answer's last byte. Providers are tried in order of preference; each is judged, recorded and
 * reserved for on its own. Throws `ModelRefusal` for what is to be answered with a problem, before any byte of an answer went out.
 */
export async function exchange(gateway: Gateway, incoming: Incoming): Promise<void> {
  const candidates = gateway.catalog.find(incoming.ask.model);
  if (candidates.length === 0) throw unknownModel(gateway, incoming);
  refuseFeatures(gateway, incoming);
  let last: ModelRefusal | null = null;
  for (const candidate of candidates) {
    const crossing = await enter(gateway, incoming, candidate).catch((error: unknown) => {
      const refusal = asModelRefusal(error);
      // Another provider may be permitted, or speak what this one does not.
      if (refusal.result !== 'denied') throw refusal;
      return refusal;
    });
    if (crossing instanceof ModelRefusal) {
      last ??= crossing;
      continue;
    }
    const failure = await carryOut(gateway, incoming, crossing);
    if (failure === null) return;
    last = failure;
    if (!mayFallBack(failure) || incoming.guest.headersSent) throw failure;
  }
  throw last ?? unknownModel(gateway, incoming);
}

function mayFallBack({ result, status }: ModelRefusal): boolean {
  return result === 'unreachable' || result === 'timeout' || (result === 'failed' && (status >= 500 || status === 429));
}

function unknownModel({ catalog }: Gateway, { ask }: Incoming): ModelRefusal {
  const names = [...new Set(catalog.all().map(({ model }) => model.name))].slice(0, 20).join(', ');
  const offered = names === '' ? 'no provider is set up: cordon providers add' : `there are ${names}`;
  return new ModelRefusal(
    'denied',
    404,
    'model_not_found',
    `no provider offers the model ${ask.model.slice(0, 100)}; ${offered}`,
  );
}

function refuseFeatures({ policy, log }: Gateway, { ask }: Incoming): void {
  const stray = ask.wants.find(({ feature }) => !policy.llm.features.includes(feature));
  if (stray === undefined) return;
  const message = `${stray.where} wants ${stray.feature}, which the policy does not name; where it should: llm_policy: {features: [${stray.feature}]} in ${policy.grantFile}`;
  throw unjudged(log, stray.feature, new ModelRefusal('denied', 403, 'feature_denied', message));
}

/** Sends it, and passes the answer on. Null when the caller has it; a refusal otherwise, and then another provider may be tried. */
async function carryOut(gateway: Gateway, incoming: Incoming, crossing: Crossing): Promise<ModelRefusal | null> {
  const meter = crossing.upstream.meter({
    ...incoming.ask,
    wantsUsage: incoming.ask.wantsUsage || crossing.translation !== null,
  });
  let failure: ModelRefusal | null = null;
  try {
    const answer = await ask(gateway, incoming, crossing);
    await relay(gateway, incoming, crossing, answer, meter);
  } catch (error) {
    const aborted = incoming.signal.aborted ? incoming.signal.reason : null;
    failure = asModelRefusal(aborted instanceof ModelRefusal ? aborted : error);
  }
  await settle(gateway, incoming, crossing, meter, failure);
  if (failure !== null) failure.recorded = true;
  if (failure === null || !incoming.guest.headersSent) return failure;
  endBroken(incoming, failure);
  return null;
}

/** An answer that began cannot be taken back: its stream says that it failed, and then breaks off. */
function endBroken({ wire, guest, ask: { stream } }: Incoming, failure: ModelRefusal): void {
  const event = stream ? wire.problemEvent(failure) : null;
  if (failure.told) guest.end();
  else if (event === null || guest.destroyed) guest.destroy();
  else guest.end(event);
}
