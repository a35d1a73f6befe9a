import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { PolicyAction } from '../../policy/index.ts';
import { answerSieve, checkAnswerHead, checkShortAnswer, lookInsideAnswer } from './answer-secrets.ts';
import { type BodyWatch, type PatientLook, relayBody, relaySieved, relayWatched } from './body.ts';
import { type Gateway, mustInspect } from './gateway.ts';
import { type Framing, type Header, parseResponseHead, type RequestHead, type ResponseHead } from './head.ts';
import { type Inlet, send } from './inlet.ts';
import type { Crossing } from './ledger.ts';
import { overrideIn } from './overrides.ts';
import type { PackageExchange } from './packages/hook.ts';
import { asRefusal, problemResponse, Refusal } from './refusal.ts';
import { watchBody, watchRequest, withSecrets } from './request-secrets.ts';
import { AskedBody, playBack, type RecordedAnswer, recordedLook } from './tape.ts';
import { hostHeader, judgedPath, type RequestTarget } from './target.ts';
import type { Link, Upstream } from './upstream.ts';
import { joinUpgraded } from './websocket.ts';

/** Headers that speak of one connection (RFC 9110 §7.6.1), and those that are written anew from what was parsed. */
const HOP = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'host',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-authentication-info',
]);
/** Interim responses before the one that counts. */
const MAX_INTERIM = 8;

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
    const judged = await judge(x, head, target);
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
      return await transfer(x, head, target, judged, () => {
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

interface Judged {
  readonly crossing: Crossing;
  /** As it is sent. */
  readonly path: string;
  /** Null where the host is no registry. */
  readonly packages: PackageExchange | null;
}

async function judge(x: Exchange, head: RequestHead, target: RequestTarget): Promise<Judged> {
  const { host, port } = target;
  const inspected = x.scheme === 'https' || mustInspect(x.gateway, target);
  const path = judgedPath(target.path);
  if (inspected && !path.ok) throw malformed(x, target, path.message);
  const override = x.gateway.ledger.facts(target).inspect ? overrideIn(head.headers) : null;
  if (override !== null)
    throw malformed(x, target, `the header ${override} asks for another request than the one that is judged`);
  const connect: PolicyAction = { action: 'net.connect', host, port };
  const actions: PolicyAction[] = x.scheme === 'https' ? [] : [connect];
  if (inspected && path.ok) actions.push({ action: 'net.request', host, port, method: head.method, path: path.value });
  const request = { method: head.method, path: path.ok ? path.value : null };
  const packages = path.ok && inspected ? lookAt(x, head, target, path.value) : null;
  const crossing = await x.gateway.ledger.enter({ host, port }, request, actions, packages?.narrow);
  return { crossing, path: inspected && path.ok ? path.value : target.path, packages };
}

function lookAt(x: Exchange, head: RequestHead, target: RequestTarget, path: string): PackageExchange | null {
  const { host, port, query } = target;
  const { method, headers, upgrade } = head;
  const seen = { scheme: x.scheme, host, port, method, path, query, headers, upgrade: upgrade !== null };
  return x.gateway.packages?.look(seen) ?? null;
}

function malformed(x: Exchange, target: RequestTarget, detail: string): Refusal {
  x.gateway.unjudged({ via: x.scheme === 'http' ? 'http' : 'tls', host: target.host, detail });
  return new Refusal('malformed', detail, { host: target.host, port: target.port });
}

async function transfer(
  x: Exchange,
  head: RequestHead,
  target: RequestTarget,
  judged: Judged,
  onStart: () => void,
): Promise<boolean> {
  const { crossing } = judged;
  if (head.upgrade !== null && !x.gateway.ledger.facts(target).websocket)
    throw new Refusal('denied', `${target.host}:${target.port} is not listed for WebSockets`, {
      ...target,
      decision: crossing.decision,
      remedy: `where the policy lists it: {host: "${target.host}", port: ${target.port}, websocket: true}`,
    });
  const own = head.headers.filter((header) => !HOP.has(header.lower) && !hides(x, head, header));
  const headers = await withSecrets(x.gateway, {
    ...target,
    scheme: x.scheme,
    method: head.method,
    path: judged.path,
    headers: judged.packages?.headers(own) ?? own,
  });
  const { tape } = x.gateway;
  const asked = tape === null ? null : new AskedBody(head);
  const watching = head.framing.kind === 'none' ? undefined : watchRequest(x.gateway, target, head.headers, crossing);
  const look = asked?.before(watching) ?? watching;
  const url = urlOf(x.scheme, target, judged.path);
  if (tape?.playing === true && asked !== null)
    return playBack(x.guest, head, crossing, look, () => tape.answer(head.method, url, asked), onStart);
  const link = await x.upstream.open(target, crossing);
  const bytes = requestBytes(x.scheme, head, headers, target, judged.path);
  crossing.up(bytes.length);
  let failure: Refusal | null = null;
  let sent = false;
  if (head.framing.kind !== 'none') link.stream.cork();
  await send(link.stream, bytes);
  const sending = relayBody(x.guest, link.stream, head.framing, (count) => crossing.up(count), look).then(
    () => {
      sent = true;
    },
    (error: unknown) => {
      failure = guestSide(error);
      x.upstream.drop();
    },
  );
  if (head.framing.kind !== 'none') process.nextTick(() => link.stream.uncork());
  try {
    const response = await finalResponse(x, head, target, link, crossing);
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
    if (sent || head.framing.kind === 'none') await checkShortAnswer(x.gateway, target, response, link.inlet);
    const keepAlive = head.keepAlive && response.framing.kind !== 'close' && (sent || head.framing.kind === 'none');
    const watch = judged.packages?.answer(response, crossing.token) ?? null;
    onStart();
    const recorded = asked === null ? null : (tape?.record(head.method, url, asked) ?? null);
    const passing = respond(x, target, link, response, keepAlive, crossing, watch, recorded);
    await passing.finally(() => recorded?.end({ complete: false }));
    if (head.framing.kind === 'none' || sent) await sending;
    if (!response.keepAlive || !keepAlive) x.upstream.drop();
    crossing.end('completed');
    return keepAlive;
  } catch (error) {
    throw failure ?? error;
  }
}

/** The same words for both directions; what the guest sends wrongly is not the host's fault. */
function guestSide(error: unknown): Refusal {
  const refusal = asRefusal(error);
  return refusal.result === 'upstream_ended' ? new Refusal('guest_ended', refusal.message) : refusal;
}

/** Compressed frames could not be looked at; a host that is not offered an extension does without it. */
function hides(x: Exchange, head: RequestHead, header: Header): boolean {
  return x.gateway.secrets !== null && head.upgrade !== null && header.lower === 'sec-websocket-extensions';
}

async function finalResponse(
  x: Exchange,
  head: RequestHead,
  target: RequestTarget,
  link: Link,
  crossing: Crossing,
): Promise<ResponseHead> {
  for (let interim = 0; interim <= MAX_INTERIM; interim++) {
    const bytes = await readResponse(x, link);
    if (bytes === null) {
      if (link.late) throw new Refusal('timeout', `${link.key} did not answer in time`);
      // A server may close a kept connection at any time: the guest sees what it would have seen, and asks again.
      throw new Refusal(link.uses > 1 ? 'guest_ended' : 'upstream_ended', `${link.key} closed the connection`);
    }
    crossing.down(bytes.length);
    await checkAnswerHead(x.gateway, target, bytes);
    const response = parseResponseHead(bytes, head.method);
    if (!response.ok) throw new Refusal('upstream_malformed', `${link.key} answered with ${response.message}`);
    if (response.value.status === 101 && head.upgrade !== null) return response.value;
    if (response.value.status === 101) throw new Refusal('upstream_malformed', `${link.key} upgraded unasked`);
    if (response.value.status >= 200) return response.value;
    await send(x.guest.stream, responseBytes(response.value, true));
  }
  throw new Refusal('upstream_malformed', `${link.key} sent too many interim responses`);
}

async function readResponse(x: Exchange, link: Link): Promise<Buffer | null> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await link.inlet.readHead(() => {
      timer = setTimeout(() => {
        link.late = true;
        link.stream.destroy();
      }, x.gateway.limits.headTime);
    });
  } catch (error) {
    throw link.late
      ? new Refusal('timeout', `${link.key} did not answer in time`)
      : new Refusal('upstream_malformed', `${link.key} answered with ${asRefusal(error).message}`);
  } finally {
    clearTimeout(timer);
  }
}

async function respond(
  { gateway, guest: { stream: guest } }: Exchange,
  target: RequestTarget,
  link: Link,
  response: ResponseHead,
  keepAlive: boolean,
  crossing: Crossing,
  watch: BodyWatch | null,
  recorded: RecordedAnswer | null,
): Promise<void> {
  const look = recorded === null ? undefined : recordedLook(recorded, response);
  // Head and first bytes in one write: the uncork runs when everything that is here already has been passed on.
  guest.cork();
  process.nextTick(() => guest.uncork());
  await send(guest, responseBytes(response, keepAlive));
  const count = (bytes: number) => crossing.down(bytes);
  const { inlet } = link;
  const { framing } = response;
  const sieve = answerSieve(gateway, target);
  const seen = inTurn(look, lookInsideAnswer(gateway, target, response, crossing));
  if (watch !== null)
    await relayWatched(
      inlet,
      guest,
      framing,
      count,
      seen === undefined ? watch : both(watch, seen),
      sieve ?? undefined,
    );
  else if (sieve !== null) await relaySieved(inlet, guest, framing, count, seen ?? (() => {}), sieve);
  else await relayBody(inlet, guest, framing, count, seen);
  recorded?.end({ complete: true });
}

function inTurn(first: PatientLook | undefined, second: PatientLook | undefined): PatientLook | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return async (piece, last) => {
    await first(piece, last);
    await second(piece, last);
  };
}

function both(watch: BodyWatch, look: PatientLook): BodyWatch {
  return {
    async take(part) {
      await watch.take(part);
      return look(part, false);
    },
    end: () => watch.end(),
  };
}

/** As it is asked for again in a replay. */
function urlOf(scheme: 'http' | 'https', target: RequestTarget, path: string): string {
  const query = target.query === null ? '' : `?${target.query}`;
  return `${scheme}://${hostHeader(target, scheme === 'http' ? 80 : 443)}${path}${query}`;
}

function requestBytes(
  scheme: 'http' | 'https',
  head: RequestHead,
  headers: readonly Header[],
  target: RequestTarget,
  path: string,
): Buffer {
  const query = target.query === null ? '' : `?${target.query}`;
  let text = `${head.method} ${path}${query} HTTP/1.1\r\nHost: ${hostHeader(target, scheme === 'http' ? 80 : 443)}\r\n`;
  for (const header of headers) text += `${header.name}: ${header.value}\r\n`;
  text += framingLine(head.framing);
  if (head.upgrade !== null) text += 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  return Buffer.from(`${text}\r\n`, 'latin1');
}

function responseBytes(response: ResponseHead, keepAlive: boolean): Buffer {
  let text = `HTTP/1.1 ${response.status} ${response.reason}\r\n`;
  for (const header of response.headers) {
    // A response without a body still says how long the one of a GET would be.
    const stated =
      header.lower === 'content-length' &&
      response.framing.kind === 'none' &&
      response.status >= 200 &&
      response.status !== 204;
    if (!HOP.has(header.lower) || stated) text += `${header.name}: ${header.value}\r\n`;
  }
  text += framingLine(response.framing);
  if (response.status === 101) text += 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  else if (response.status >= 200 && !keepAlive) text += 'Connection: close\r\n';
  return Buffer.from(`${text}\r\n`, 'latin1');
}

function framingLine(framing: Framing): string {
  if (framing.kind === 'length') return `Content-Length: ${framing.length}\r\n`;
  return framing.kind === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : '';
}
