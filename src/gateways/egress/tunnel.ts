import type { Socket } from 'node:net';
import { type Sieve, Silence } from './answer-secrets.ts';
import { checkProtocols, checkServerName, readClientHello } from './client-hello.ts';
import type { Crossing } from './crossing.ts';
import type { Inlet } from './inlet.ts';
import type { EgressLimits } from './limits.ts';
import { asRefusal, Refusal } from './refusal.ts';

/** How a guest begins: with a ClientHello of so many bytes, or in plain HTTP. */
export type Greeting = number | 'http';

/**
 * Reads how the guest begins, and checks the name in its ClientHello. The bytes stay in the inlet: they go on to the host, or
 * to whatever in the gateway serves them. `opened`: TLS ends at the gateway. Throws `Refusal`.
 */
export async function readGreeting(inlet: Inlet, host: string, opened: boolean, time: number): Promise<Greeting> {
  let bytes: Buffer = Buffer.alloc(0);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    inlet.stream.destroy();
  }, time);
  try {
    for (;;) {
      const more = await inlet.read();
      if (more === null) throw new Refusal(late ? 'timeout' : 'guest_ended', 'the TLS handshake did not come');
      bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more]);
      if (isMethodLetter(bytes[0])) {
        inlet.unread(bytes);
        return 'http';
      }
      const hello = readClientHello(bytes);
      if (hello === null) continue;
      checkServerName(hello, host, opened);
      if (opened) checkProtocols(hello, host);
      inlet.unread(bytes);
      return hello.size;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** What begins a request line and never a TLS record. */
function isMethodLetter(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 65 && byte <= 90;
}

/** Sees what the guest sends before it goes on. */
export interface Guard {
  /** True once it needs to see no more. */
  readonly done: boolean;
  /** What may go on now. Throws `Refusal`. */
  pass(chunk: Buffer): Buffer;
  /** Sees what the host sends, until it is done. */
  answered?(chunk: Buffer): void;
}

/**
 * Carries bytes both ways until both have ended, or the crossing is cut. `checked`: how many of the guest's bytes need no
 * guard; `sieve`: sees what the host sends. Resolves when the outcome is recorded.
 */
export function joinTunnel(
  inlet: Inlet,
  upstream: Socket,
  checked: number,
  guard: Guard | null,
  crossing: Crossing,
  limits: EgressLimits,
  sieve: Sieve | null = null,
): Promise<void> {
  const guest = inlet.stream as Socket;
  return new Promise((resolve) => {
    let open = 2;
    let over = false;
    let silence: Silence | null = null;
    const finish = (refusal: Refusal | null, flush = false) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      silence?.end();
      for (const socket of [guest, upstream]) flush ? socket.destroySoon() : socket.destroy();
      crossing.end(refusal?.result ?? 'completed');
      resolve();
    };
    // What the host repeated is refused when that is recorded: until then, whatever else ends the tunnel is not how it ended.
    let stopped = false;
    const leave = (refusal: Refusal | null, flush = false) => {
      if (!stopped) finish(refusal, flush);
    };
    const timer = setTimeout(
      () => leave(new Refusal('timeout', 'the tunnel was open for too long')),
      limits.crossingTime,
    );
    crossing.onCut(finish);
    const carry = (from: Socket, to: Socket, count: (bytes: number) => void) => (chunk: Buffer) => {
      if (over || chunk.length === 0) return;
      try {
        count(chunk.length);
      } catch (error) {
        return finish(asRefusal(error));
      }
      if (!to.write(chunk)) from.pause();
    };
    const outward = carry(guest, upstream, (bytes) => crossing.up(bytes));
    let free = false;
    const guarded = (chunk: Buffer) => {
      try {
        outward(guard === null || free ? chunk : guard.pass(chunk));
        // What it held goes out with the first piece after it is done.
        free = guard?.done ?? true;
      } catch (error) {
        finish(asRefusal(error));
      }
    };
    const rest = inlet.release();
    outward(rest.subarray(0, checked));
    guarded(rest.subarray(checked));
    guest.on('data', guarded);
    const arrived = carry(upstream, guest, (bytes) => crossing.down(bytes));
    silence = sieve === null ? null : new Silence(sieve, arrived);
    const inward = (chunk: Buffer, last = false) => {
      if (stopped) return;
      const pieces = sieve === null ? [chunk] : sieve.pass(chunk, last);
      if (!(pieces instanceof Promise)) {
        pieces.forEach(arrived);
        return silence?.begin();
      }
      stopped = true;
      silence?.end();
      pieces.catch((error) => finish(asRefusal(error)));
    };
    upstream.on('data', (chunk: Buffer) => {
      if (guard?.done === false) guard.answered?.(chunk);
      inward(chunk);
    });
    const ended = (to: Socket) => () => {
      if (to === guest && sieve !== null) inward(Buffer.alloc(0), true);
      if (stopped) return;
      to.end();
      if (--open === 0) return finish(null, true);
      // One side has said all: the other may finish its sentence, and not hold the line.
      guest.setTimeout(limits.halfClosedTime);
      upstream.setTimeout(limits.halfClosedTime);
    };
    for (const [from, to] of [[guest, upstream] as const, [upstream, guest] as const]) {
      from.on('drain', () => to.resume());
      from.on('end', ended(to));
      from.on('error', () => leave(null));
      from.on('close', () => leave(null, true));
      from.on('timeout', () => {
        from.destroy();
        to.destroy();
        leave(new Refusal('timeout', 'the tunnel was idle for too long'));
      });
      from.setTimeout(limits.idleTime);
    }
    if (guest.destroyed || upstream.destroyed) return finish(null);
    guest.resume();
    upstream.resume();
  });
}
