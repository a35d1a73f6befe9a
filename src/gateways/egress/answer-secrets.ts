import type { AnswerWatch } from '../../base/redact/answer-watch.ts';
import type { PatientLook } from './body.ts';
import { lookInside } from './compressed.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import type { ResponseHead } from './head.ts';
import type { Inlet } from './inlet.ts';
import { Refusal } from './refusal.ts';
import type { Target } from './target.ts';

/** Bytes of a body for which an answer waits. */
const SHORT = 64 * 1024;

/** Lets an answer's bytes on, in order, and holds back what may be the beginning of a value that was sent. Throws `Refusal`. */
export interface Sieve {
  pass(piece: Buffer, last: boolean): readonly Buffer[] | Promise<readonly Buffer[]>;
  /** As those of an `AnswerWatch`. */
  readonly waiting: boolean;
  quiet(): Buffer;
}

/** Milliseconds without a byte after which a message is taken for whole: a program may answer it before it gets more. */
const SILENCE = 50;

/** Gives on what a sieve holds back, when nothing more comes. */
export class Silence {
  readonly #sieve: Sieve;
  readonly #give: (bytes: Buffer) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(sieve: Sieve, give: (bytes: Buffer) => void) {
    this.#sieve = sieve;
    this.#give = give;
  }

  /** Everything that came has gone through the sieve, and on. */
  begin(): void {
    clearTimeout(this.#timer);
    if (this.#sieve.waiting) this.#timer = setTimeout(() => this.#give(this.#sieve.quiet()), SILENCE);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** For the body of an answer of a host to which a secret's value went; null where none did. */
export function answerSieve(gateway: Gateway, target: Target): Sieve | null {
  const watch = gateway.secrets?.watchAnswer(target.host) ?? null;
  if (watch === null) return null;
  return {
    pass(piece, last) {
      const pieces = watch.pass(piece, last);
      return watch.repeated === null ? pieces : refuse(gateway, target, watch, 'body');
    },
    get waiting() {
      return watch.waiting;
    },
    quiet: () => watch.quiet(),
  };
}

/**
 * The head of an answer, or of an interim one, as it may go on: without the cookies that the gateway itself sends. Hosts set those
 * anew with each answer, and no guest needs them. Throws `Refusal` where a value stands elsewhere.
 */
export async function checkAnswerHead(gateway: Gateway, target: Target, head: Buffer): Promise<Buffer> {
  const look = (bytes: Buffer) => {
    const watch = gateway.secrets?.watchAnswer(target.host) ?? null;
    watch?.pass(bytes, true);
    return watch === null || watch.repeated === null ? null : watch;
  };
  if (look(head) === null) return head;
  const lines = head.toString('latin1').split('\r\n');
  const isOwn = (line: string) => /^set-cookie:/i.test(line) && look(Buffer.from(line, 'latin1'))?.cookie === true;
  const rest = Buffer.from(lines.filter((line) => !isOwn(line)).join('\r\n'), 'latin1');
  const found = look(rest);
  if (found !== null) await refuse(gateway, target, found, 'head');
  return rest;
}

/** A short body is looked at whole before any of the answer goes on: then the guest can be told why it gets none. Throws `Refusal`. */
export async function checkShortAnswer(
  gateway: Gateway,
  target: Target,
  { framing }: ResponseHead,
  inlet: Inlet,
): Promise<void> {
  const watch = gateway.secrets?.watchAnswer(target.host) ?? null;
  if (watch === null || framing.kind !== 'length' || framing.length === 0 || framing.length > SHORT) return;
  const bytes = await inlet.readAtLeast(framing.length);
  if (bytes === null) return; // it was cut: whoever passes it on finds that out
  inlet.unread(bytes);
  watch.pass(bytes.subarray(0, framing.length), true);
  if (watch.repeated !== null) await refuse(gateway, target, watch, 'body');
}

/**
 * Where an answer comes compressed although it was asked for as it is: a look at what it stands for, as far as that can be told.
 * Undefined where there is nothing to look for, or no compression.
 */
export function lookInsideAnswer(
  gateway: Gateway,
  target: Target,
  { headers }: ResponseHead,
  crossing: Crossing,
): PatientLook | undefined {
  const watch = gateway.secrets?.watchAnswer(target.host) ?? null;
  if (watch === null || !headers.some(({ lower }) => lower === 'content-encoding')) return undefined;
  const inside = (piece: Buffer, last: boolean) => void watch.pass(piece, last);
  let look: PatientLook | null = null;
  try {
    look = lookInside(
      headers,
      () => {},
      () => inside,
      (make) => gateway.decoders.wait(make, (close) => crossing.onEnd(close)),
    );
  } catch {
    // In two codings: nothing is known of it.
  }
  return async (piece, last) => {
    try {
      await look?.(piece, last);
    } catch (error) {
      if (error instanceof Refusal && error.result === 'closed') throw error;
      look = null; // it is not what its head says, or very long
    }
    if (watch.repeated !== null) await refuse(gateway, target, watch, 'body');
  };
}

async function refuse(gateway: Gateway, { host, port }: Target, watch: AnswerWatch, part: string): Promise<never> {
  await watch.alarm(`the ${part} of an answer`).catch(() => gateway.ledger.broken());
  const what = `${host} repeats the value of ${watch.repeated} in the ${part} of its answer`;
  const remedy = 'the value stays outside the sandbox: ask this host for something else';
  throw new Refusal('secret_refused', what, { host, port, remedy });
}
