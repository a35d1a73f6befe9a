import type { Socket } from 'node:net';
import type { Sieve } from './answer-secrets.ts';
import type { Look } from './body.ts';
import type { Crossing } from './crossing.ts';
import type { Inlet } from './inlet.ts';
import type { EgressLimits } from './limits.ts';
import { Refusal } from './refusal.ts';
import { type Guard, joinTunnel } from './tunnel.ts';

/**
 * After 101 the connection carries frames, which nobody judges: that is why a rule has to name WebSockets. Where a run
 * has secrets, what `looks` makes sees what the guest sends in them, and `sieve` what the host does.
 */
export function joinUpgraded(
  guest: Inlet,
  host: Inlet,
  crossing: Crossing,
  limits: EgressLimits,
  looks: (() => Look | undefined) | null,
  sieve: Sieve | null,
): Promise<void> {
  const early = host.release();
  const upstream = host.stream as Socket;
  if (early.length > 0) upstream.unshift(early);
  const [messages, control] = [looks?.(), looks?.()];
  const guard = messages === undefined || control === undefined ? null : new FrameGuard(messages, control);
  return joinTunnel(guest, upstream, 0, guard, crossing, limits, sieve);
}

const CONTROL = 8;
const OPCODES = new Set([0, 1, 2, 8, 9, 10]);

/**
 * A client's frames (RFC 6455 §5.2), unmasked for one look and passed on as they are. Frames that mean something else to
 * somebody (no mask, extensions, unknown types) are refused: what was looked at is what the host reads.
 *
 * Messages are looked at as one stream, and control frames, which may stand between a message's pieces, as another.
 */
export class FrameGuard implements Guard {
  readonly done = false;
  readonly #messages: Look;
  readonly #controls: Look;
  #head: number[] = [];
  #need = 2;
  #left = 0;
  #at = 0;
  #mask: readonly number[] = [];
  #control = false;

  constructor(messages: Look, controls: Look) {
    this.#messages = messages;
    this.#controls = controls;
  }

  /** The same bytes, once they were looked at. Throws `Refusal`. */
  pass(chunk: Buffer): Buffer {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        this.#takeHead(chunk[at] as number);
        at += 1;
        continue;
      }
      const end = Math.min(chunk.length, at + this.#left);
      this.#payload(chunk.subarray(at, end));
      this.#left -= end - at;
      at = end;
    }
    return chunk;
  }

  #takeHead(byte: number): void {
    const head = this.#head;
    head.push(byte);
    if (head.length === 2) this.#need = 2 + checkStart(head[0] as number, byte) + 4;
    if (head.length < 2 || head.length < this.#need) return;
    const short = (head[1] as number) & 127;
    const long = head.slice(2, -4).reduce((length, part) => length * 256 + part, 0);
    this.#left = short < 126 ? short : long;
    if (!Number.isSafeInteger(this.#left)) throw malformed('a frame that is too long');
    this.#mask = head.slice(-4);
    this.#control = ((head[0] as number) & CONTROL) !== 0;
    this.#at = 0;
    this.#head = [];
    this.#need = 2;
  }

  #payload(masked: Buffer): void {
    const plain = Buffer.from(masked);
    for (let i = 0; i < plain.length; i++) plain[i] = (plain[i] as number) ^ (this.#mask[(this.#at + i) & 3] as number);
    this.#at += plain.length;
    (this.#control ? this.#controls : this.#messages)(plain, false);
  }
}

/** Bytes of the extended length. */
function checkStart(first: number, second: number): 0 | 2 | 8 {
  if ((first & 0x70) !== 0) throw malformed('an extension that was not agreed upon');
  if (!OPCODES.has(first & 15)) throw malformed('a frame of an unknown type');
  if ((second & 128) === 0) throw malformed('a frame without a mask');
  const length = second & 127;
  if ((first & CONTROL) !== 0 && (length > 125 || (first & 128) === 0)) throw malformed('a control frame in pieces');
  return length === 127 ? 8 : length === 126 ? 2 : 0;
}

function malformed(what: string): Refusal {
  return new Refusal('malformed', `WebSocket: ${what}`);
}
