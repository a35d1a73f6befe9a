import type { IncomingMessage } from 'node:http';
import { formatDuration } from '../../base/duration.ts';
import { CordonError } from '../../base/errors.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import type { Incoming } from './incoming.ts';
import { withinContext } from './providers/anthropic-betas.ts';
import { asModelRefusal, ModelRefusal } from './refusal.ts';
import { readError } from './relay.ts';
import { isObject } from './wire/wire.ts';

/** Answers of a provider that another try may mend. */
const PASSING = new Set([408, 500, 502, 503, 504, 520, 522, 524, 529]);
/** Answers that are about our credentials, not about the caller's request. */
const OURS = new Set([401, 402, 403, 407]);
/** Asks until there is an answer worth passing on, or patience ends. */
export async function ask(gateway: Gateway, incoming: Incoming, crossing: Crossing): Promise<IncomingMessage> {
  const { limits, clock, transport } = gateway;
  const { provider, model } = crossing.candidate;
  const end = clock.monotonic() + limits.patience;
  for (let pause = limits.pause; ; pause = Math.min(pause * 2, limits.maxPause)) {
    crossing.attempts++;
    let failure: ModelRefusal;
    try {
      const request = await provider.prepare({
        wire: crossing.upstream.name,
        operation: incoming.operation,
        model,
        stream: incoming.ask.stream,
        requestId: crossing.requestId,
        body: crossing.sent.body,
        bytes: crossing.sent.bytes,
        headers: withinContext(incoming.headers, model),
      });
      const answer = await transport.send(request, incoming.signal, () => {
        crossing.underway = true;
        crossing.sentAt = clock.monotonic();
      });
      crossing.status = answer.statusCode ?? 0;
      crossing.upstreamId = upstreamId(answer);
      if (crossing.status === 200) return answer;
      crossing.underway = false;
      failure = await failed(gateway, crossing, answer);
    } catch (error) {
      if (error instanceof CordonError)
        throw new ModelRefusal('unreachable', 502, 'provider_key', `${provider.name}: ${error.message}`);
      failure = asModelRefusal(error);
      if (failure.result === 'unreachable') crossing.underway = false;
    }
    const passing =
      failure.result === 'unreachable' || (failure.result === 'failed' && PASSING.has(crossing.status ?? 0));
    if (!passing || incoming.signal.aborted || clock.monotonic() + pause > end) throw failure;
    gateway.onNotice(`${provider.name} does not answer (${failure.code}); trying again in ${formatDuration(pause)}`);
    await sleep(pause, incoming.signal);
    if (incoming.signal.aborted) throw failure;
  }
}

function upstreamId({ headers }: IncomingMessage): string | null {
  const id =
    headers['request-id'] ?? headers['x-request-id'] ?? headers['x-amzn-requestid'] ?? headers['apim-request-id'];
  return typeof id === 'string' ? id.slice(0, 128) : null;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** `{error: {message}}`, as most have it, or `{message}`, as Amazon has. */
function wordsIn(said: unknown): string | null {
  if (!isObject(said)) return null;
  const { message } = isObject(said.error) ? said.error : said;
  return typeof message === 'string' ? message : null;
}

/** An error of the provider's as the caller may hear it: not what it says of our credentials, and without secrets. */
async function failed(gateway: Gateway, { candidate }: Crossing, answer: IncomingMessage): Promise<ModelRefusal> {
  const status = answer.statusCode ?? 502;
  const { name } = candidate.provider;
  const text = await readError(answer);
  if (OURS.has(status))
    return new ModelRefusal(
      'failed',
      502,
      'provider_refused',
      `${name} refused the installation's credentials (${status})`,
    );
  if (status < 400)
    return new ModelRefusal(
      'failed',
      502,
      'provider_redirected',
      `${name} answered with ${status}, which is not followed`,
    );
  let said: unknown;
  try {
    said = JSON.parse(text.toString('utf8'));
  } catch {
    said = null;
  }
  const words = wordsIn(said) ?? `${name} answered with ${status}`;
  const refusal = new ModelRefusal('failed', status, 'provider_error', gateway.redactor.redact(words).slice(0, 2000));
  const after = answer.headers['retry-after'];
  return typeof after === 'string' ? Object.assign(refusal, { retryAfter: after.slice(0, 40) }) : refusal;
}
