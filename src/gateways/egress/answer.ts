/** The host's answer to one request, on its way to the guest. */
import type { Duplex } from 'node:stream';
import { answerSieve, checkAnswerHead, lookInsideAnswer } from './answer-secrets.ts';
import { type BodyWatch, type PatientLook, relayBody, relaySieved, relayWatched } from './body.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import { parseResponseHead, type RequestHead, type ResponseHead } from './head.ts';
import { responseBytes } from './heads-onward.ts';
import { send } from './inlet.ts';
import { asRefusal, Refusal } from './refusal.ts';
import { type RecordedAnswer, recordedLook } from './tape.ts';
import type { Target } from './target.ts';
import type { Link } from './upstream.ts';

/** Interim responses before the one that counts. */
const MAX_INTERIM = 8;

export interface Answering {
  readonly gateway: Gateway;
  readonly guest: Duplex;
  readonly target: Target;
  /** What is answered. */
  readonly head: Pick<RequestHead, 'method' | 'upgrade'>;
  readonly link: Link;
  readonly crossing: Crossing;
}

/** The head that counts; those before it are passed on to the guest, where one asked (`guest`: null for the gateway itself). */
export async function finalResponse({
  gateway,
  guest,
  target,
  head,
  link,
  crossing,
}: Omit<Answering, 'guest'> & { readonly guest: Duplex | null }): Promise<ResponseHead> {
  for (let interim = 0; interim <= MAX_INTERIM; interim++) {
    const bytes = await readResponse(link, gateway.limits.headTime);
    if (bytes === null) {
      if (link.late) throw new Refusal('timeout', `${link.key} did not answer in time`);
      // A server may close a kept connection at any time: the guest sees what it would have seen, and asks again.
      throw new Refusal(
        guest !== null && link.uses > 1 ? 'guest_ended' : 'upstream_ended',
        `${link.key} closed the connection`,
      );
    }
    crossing.down(bytes.length);
    const response = parseResponseHead(await checkAnswerHead(gateway, target, bytes), head.method);
    if (!response.ok) throw new Refusal('upstream_malformed', `${link.key} answered with ${response.message}`);
    if (response.value.status === 101 && head.upgrade !== null) return response.value;
    if (response.value.status === 101) throw new Refusal('upstream_malformed', `${link.key} upgraded unasked`);
    if (response.value.status >= 200) return response.value;
    if (guest !== null) await send(guest, responseBytes(response.value, true));
  }
  throw new Refusal('upstream_malformed', `${link.key} sent too many interim responses`);
}

async function readResponse(link: Link, headTime: number): Promise<Buffer | null> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await link.inlet.readHead(() => {
      timer = setTimeout(() => {
        link.late = true;
        link.stream.destroy();
      }, headTime);
    });
  } catch (error) {
    throw link.late
      ? new Refusal('timeout', `${link.key} did not answer in time`)
      : new Refusal('upstream_malformed', `${link.key} answered with ${asRefusal(error).message}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Passes the answer on: its head, then its body as it comes. */
export async function respond(
  { gateway, guest, target, link, crossing }: Answering,
  response: ResponseHead,
  keepAlive: boolean,
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
    await relayWatched(inlet, guest, framing, count, seen === undefined ? watch : both(watch, seen), sieve);
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
