import type { IncomingMessage } from 'node:http';
import { estimate, spent, unheard } from './amounts.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import type { Incoming } from './incoming.ts';
import { ModelRefusal } from './refusal.ts';
import { relayStream, relayWhole } from './relay.ts';
import type { Meter, Usage } from './wire/wire.ts';

/** What callers may see of an answer's head. */
const ANSWER_HEADERS = [
  'retry-after',
  'retry-after-ms',
  'x-should-retry',
  'request-id',
  'x-request-id',
  'openai-processing-ms',
];

/** Passes the answer on as it comes. Throws `ModelRefusal` where it is none, or breaks off. */
export async function relay(
  gateway: Gateway,
  incoming: Incoming,
  crossing: Crossing,
  answer: IncomingMessage,
  meter: Meter,
): Promise<void> {
  const { guest, ask: asked, arrived } = incoming;
  const { provider } = crossing.candidate;
  if ((answer.headers['content-encoding'] ?? 'identity') !== 'identity') {
    answer.destroy();
    throw new ModelRefusal('cut', 502, 'answer_malformed', `${provider.name} answered compressed, unasked`);
  }
  const type = String(answer.headers['content-type'] ?? '').toLowerCase();
  const stream = asked.stream && incoming.operation === 'generate';
  const decode = stream ? provider.decode : undefined;
  if (stream && decode === undefined && !type.startsWith('text/event-stream')) {
    answer.destroy();
    throw new ModelRefusal('cut', 502, 'answer_malformed', `${provider.name} did not answer with a stream of events`);
  }
  const headers = answerHeaders(answer, stream);
  const begin = () => {
    if (crossing.firstByte !== null) return;
    crossing.firstByte = gateway.clock.monotonic() - arrived;
    crossing.recording?.head(200, headers);
    if (stream) guest.writeHead(200, headers);
  };
  const parts = {
    answer,
    decode: decode === undefined ? null : (bytes: AsyncIterable<Buffer>) => decode(bytes, crossing.upstream.name),
    guest,
    meter,
    translation: crossing.translation,
    recording: crossing.recording,
    limits: gateway.limits,
    onBytes: (count: number) => {
      crossing.bytesIn += count;
    },
    begin,
  };
  if (stream) await relayStream(parts);
  else crossing.whole = { headers, bytes: await relayWhole(parts) };
}

function answerHeaders({ headers }: IncomingMessage, stream: boolean): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of ANSWER_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string') kept[name] = value;
  }
  kept['content-type'] = stream ? 'text/event-stream; charset=utf-8' : 'application/json';
  kept['cache-control'] = 'no-cache';
  return kept;
}

/** Counts what was used, closes the record, and only then lets the caller's answer end. */
export async function settle(
  gateway: Gateway,
  incoming: Incoming,
  crossing: Crossing,
  meter: Meter,
  failure: ModelRefusal | null,
): Promise<void> {
  const { provider, model } = crossing.candidate;
  const seconds = crossing.sentAt === null ? 0 : (gateway.clock.monotonic() - crossing.sentAt) / 1000;
  const { usage, estimated } =
    incoming.operation === 'count'
      ? { usage: null, estimated: false }
      : used(incoming, crossing, meter, failure, seconds);
  const actual = usage === null ? { nanoUsd: 0, tokens: 0, requests: 1 } : spent(model.price, usage);
  await crossing.reservation.settle(actual);
  const result = failure?.result ?? (meter.failure === null ? 'completed' : 'failed');
  crossing.recording?.end(result);
  await gateway.log.answered(crossing.token, {
    provider: provider.name,
    model: model.name,
    result,
    reason: failure?.message.slice(0, 1000) ?? null,
    status: crossing.status,
    finish: meter.finish?.slice(0, 64) ?? null,
    usage,
    estimated,
    nanoUsd: model.price === null || usage === null ? null : actual.nanoUsd,
    bytesIn: crossing.bytesIn,
    attempts: crossing.attempts,
    firstByteMs: crossing.firstByte === null ? null : Math.round(crossing.firstByte * 10) / 10,
    durationMs: Math.round(gateway.clock.monotonic() - incoming.arrived),
    upstreamId: crossing.upstreamId,
  });
  if (failure !== null) return;
  const { whole } = crossing;
  if (whole !== null) incoming.guest.writeHead(200, { ...whole.headers, 'content-length': whole.bytes.length });
  incoming.guest.end(whole?.bytes);
}

/** What the provider told; where the answer broke off, at least what its bytes let one think. What nobody waited for is paid for all the same. */
function used(
  { ask }: Incoming,
  { bytesIn, sent, underway, candidate }: Crossing,
  meter: Meter,
  failure: ModelRefusal | null,
  seconds: number,
): { readonly usage: Usage | null; readonly estimated: boolean } {
  const told = meter.usage;
  if (meter.complete && told !== null) return { usage: told, estimated: false };
  const left = underway && (failure?.result === 'cancelled' || failure?.result === 'timeout');
  if (bytesIn === 0 && !left) return { usage: told, estimated: false };
  const guess = estimate(sent.bytes.length, bytesIn);
  const most = left ? unheard(ask, candidate.model, sent.bytes.length, seconds) : guess;
  return {
    usage: { ...(told ?? most), output: Math.max(told?.output ?? 0, guess.output, most.output) },
    estimated: true,
  };
}
