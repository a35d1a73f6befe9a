import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Answering, finalResponse, respond } from './answer.ts';
import { answerSieve, checkShortAnswer } from './answer-secrets.ts';
import { type PatientLook, relayBody } from './body.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import type { Header, RequestHead } from './head.ts';
import { endToEnd, requestBytes, responseBytes, urlOf } from './heads-onward.ts';
import { type Inlet, send } from './inlet.ts';
import { type AskedRequest, checkUpgrade, type JudgedRequest, judgeRequest } from './judge-request.ts';
import { asRefusal, problemResponse, Refusal } from './refusal.ts';
import { watchBody, watchRequest, withSecrets } from './request-secrets.ts';
import { AskedBody, playBack } from './tape.ts';
import type { RequestTarget } from './target.ts';
import type { Link, Upstream } from './upstream.ts';
import { joinUpgraded } from './websocket.ts';

export interface Exchange {
  readonly gateway: Gateway;
  readonly guest: Inlet;
  readonly upstream: Upstream;
  readonly scheme: 'http' | 'https';
}

/**
 * One request, judged on its own, and its response. Returns true when the connection is good for another one.
 * What goes wrong before the response began is answered with a problem; after that the connection is cut.
 */
export async function exchange(x: Exchange, head: RequestHead, target: RequestTarget): Promise<boolean> {
  let crossing: Crossing | null = null;
  let started = false;
  try {
    const asked: AskedRequest = { gateway: x.gateway, scheme: x.scheme, head, target };
    const judged = await judgeRequest(asked);
    crossing = judged.crossing;
    crossing.onCut(() => {
      x.upstream.drop();
      if (started) sever(x.guest.stream);
    });
    const limit = setTimeout(
      () => judged.crossing.cut(new Refusal('timeout', 'the request took too long', target)),
      x.gateway.limits.crossingTime,
    );
    const gone = () => x.upstream.drop();
    x.guest.stream.once('close', gone);
    try {
      return await transfer(x, asked, judged, () => {
        started = true;
      });
    } finally {
      clearTimeout(limit);
      x.guest.stream.off('close', gone);
    }
  } catch (error) {
    x.upstream.drop();
    const refusal = crossing === null ? asRefusal(error) : crossing.fail(asRefusal(error));
    if (started || refusal.result === 'guest_ended') {
      sever(x.guest.stream);
      return false;
    }
    const keepAlive = head.keepAlive && head.framing.kind === 'none' && refusal.status !== 400;
    await send(x.guest.stream, problemResponse(refusal, keepAlive, head.method === 'HEAD'));
    return keepAlive;
  }
}

/** Not an orderly end: what was answered so far must not be taken for the whole. */
function sever(stream: Duplex): void {
  if (stream instanceof Socket && !('encrypted' in stream)) stream.resetAndDestroy();
  else stream.destroy();
}

async function transfer(
  x: Exchange,
  asked: AskedRequest,
  judged: JudgedRequest,
  onStart: () => void,
): Promise<boolean> {
  const { head, target } = asked;
  const { crossing } = judged;
  checkUpgrade(asked, crossing);
  const headers = await headersOnward(asked, judged);
  const { tape } = x.gateway;
  const question = tape === null ? null : new AskedBody(head);
  const watching = head.framing.kind === 'none' ? undefined : watchRequest(x.gateway, target, head.headers, crossing);
  const look = question?.before(watching) ?? watching;
  const url = urlOf(x.scheme, target, judged.path);
  if (tape?.playing === true && question !== null)
    return playBack(x.guest, head, crossing, look, () => tape.answer(head.method, url, question), onStart);
  const link = await x.upstream.open(target, crossing);
  const bytes = requestBytes(x.scheme, head, headers, target, judged.path);
  const sending = await sendRequest(x, link, head, bytes, crossing, look);
  const answering: Answering = { gateway: x.gateway, guest: x.guest.stream, target, head, link, crossing };
  try {
    const response = await finalResponse(answering);
    crossing.status = response.status;
    if (response.status === 101) {
      onStart();
      await send(x.guest.stream, responseBytes(response, false));
      const looks = x.gateway.secrets === null ? null : () => watchBody(x.gateway, target);
      const sieve = answerSieve(x.gateway, target);
      await joinUpgraded(x.guest, link.inlet, crossing, x.gateway.limits, looks, sieve);
      return false;
    }
    // A host that answers while it is still being asked may wait for the rest, as the guest may wait for the answer.
    if (sending.sent || isBodiless(head)) await checkShortAnswer(x.gateway, target, response, link.inlet);
    const keepAlive = head.keepAlive && response.framing.kind !== 'close' && (sending.sent || isBodiless(head));
    const watch = judged.packages?.answer(response, crossing.token) ?? null;
    onStart();
    const recorded = question === null ? null : (tape?.record(head.method, url, question) ?? null);
    const passing = respond(answering, response, keepAlive, watch, recorded);
    await passing.finally(() => recorded?.end({ complete: false }));
    if (isBodiless(head) || sending.sent) await sending.done;
    if (!response.keepAlive || !keepAlive) x.upstream.drop();
    crossing.end('completed');
    return keepAlive;
  } catch (error) {
    throw sending.failure ?? error;
  }
}

/** The guest's own headers without what is of this connection, and with the secrets that this request is lent. */
function headersOnward(
  { gateway, scheme, head, target }: AskedRequest,
  { path, packages }: JudgedRequest,
): Promise<readonly Header[]> {
  const own = endToEnd(head.headers).filter((header) => !hides(gateway, head, header));
  const headers = packages?.headers(own) ?? own;
  return withSecrets(gateway, { ...target, scheme, method: head.method, path, headers });
}

/** Compressed frames could not be looked at; a host that is not offered an extension does without it. */
function hides(gateway: Gateway, head: RequestHead, header: Header): boolean {
  return gateway.secrets !== null && head.upgrade !== null && header.lower === 'sec-websocket-extensions';
}

function isBodiless({ framing }: RequestHead): boolean {
  return framing.kind === 'none';
}

/** A request whose body may still be on its way when the answer comes. */
interface Sending {
  sent: boolean;
  /** What went wrong on the guest's side: it goes before what the host makes of it. */
  failure: Refusal | null;
  /** Resolves in either case. */
  done: Promise<void>;
}

/** Resolves when the head is sent and the body is being sent. */
async function sendRequest(
  x: Exchange,
  link: Link,
  head: RequestHead,
  bytes: Buffer,
  crossing: Crossing,
  look: PatientLook | undefined,
): Promise<Sending> {
  crossing.up(bytes.length);
  // Head and first bytes in one write.
  if (!isBodiless(head)) link.stream.cork();
  await send(link.stream, bytes);
  const sending: Sending = { sent: false, failure: null, done: Promise.resolve() };
  sending.done = relayBody(x.guest, link.stream, head.framing, (count) => crossing.up(count), look).then(
    () => {
      sending.sent = true;
    },
    (error: unknown) => {
      sending.failure = guestSide(error);
      x.upstream.drop();
    },
  );
  if (!isBodiless(head)) process.nextTick(() => link.stream.uncork());
  return sending;
}

/** The same words for both directions; what the guest sends wrongly is not the host's fault. */
function guestSide(error: unknown): Refusal {
  const refusal = asRefusal(error);
  return refusal.result === 'upstream_ended' ? new Refusal('guest_ended', refusal.message) : refusal;
}
