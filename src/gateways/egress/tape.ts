import { createHash } from 'node:crypto';
import { type Duplex, Writable } from 'node:stream';
import { type PatientLook, relayBody } from './body.ts';
import type { Crossing } from './crossing.ts';
import type { Dialer } from './dial.ts';
import type { Header, RequestHead, ResponseHead } from './head.ts';
import { type Inlet, send } from './inlet.ts';
import { Refusal } from './refusal.ts';

/** What hosts answered: kept for a replay, or given again in place of them. Tunnels that nobody looks into cannot be kept. */
export interface EgressTape {
  /** True when nothing is dialled: every answer comes from the recording, or there is none. */
  readonly playing: boolean;
  record(method: string, url: string, body: AskedBody): RecordedAnswer;
  /** Null when it was not recorded; the tape remembers that. */
  answer(method: string, url: string, body: AskedBody): PlayedAnswer | null;
}

/** Bytes of a request's body that are kept until its answer is there; of longer ones only the digest. */
const MAX_BODY = 1024 * 1024;

/** The body of one request, as it passes. */
export class AskedBody {
  readonly #hash = createHash('sha256');
  #pieces: Buffer[] | null = [];
  size = 0;
  /** True when all of it passed. */
  whole: boolean;
  /** `Content-Type`; empty when there is none. */
  readonly type: string;

  constructor({ framing, headers }: { readonly framing: RequestHead['framing']; readonly headers: readonly Header[] }) {
    this.whole = framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
    this.type = headers.find(({ lower }) => lower === 'content-type')?.value ?? '';
  }

  static none(): AskedBody {
    return new AskedBody({ framing: { kind: 'none' }, headers: [] });
  }

  take(piece: Buffer, last: boolean): void {
    this.size += piece.length;
    this.#hash.update(piece);
    if (this.size > MAX_BODY) this.#pieces = null;
    else this.#pieces?.push(Buffer.from(piece));
    this.whole ||= last;
  }

  /** Null when it is longer than is kept. */
  get bytes(): Buffer | null {
    return this.#pieces === null ? null : Buffer.concat(this.#pieces);
  }

  /** 64 hex digits, of what passed until now. */
  get digest(): string {
    return this.#hash.copy().digest('hex');
  }

  /** Sees each piece before `look`, which may refuse it. */
  before(look: PatientLook | undefined): PatientLook {
    return (piece, last) => {
      this.take(piece, last);
      return look?.(piece, last);
    };
  }
}

export interface RecordedAnswer {
  head(status: number, headers: [string, string][], reason: string): void;
  /** A promise where the recording has to be waited for: it resolves, within seconds at most. */
  piece(bytes: Buffer): void | Promise<void>;
  /** Once; what comes later is not heard. */
  end(how: { readonly complete: boolean }): void;
}

export interface PlayedAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly pieces: readonly Buffer[];
  readonly complete: boolean;
}

/** In a replay nothing goes online, whatever asks. */
export function playingDialer(tape: EgressTape): Dialer {
  return {
    async dial({ host, port }) {
      tape.answer('CONNECT', `${host}:${port}`, AskedBody.none());
      const detail = `${host}:${port} cannot be answered from the recording: nobody looked into that connection`;
      throw new Refusal('not_recorded', detail, { host, port });
    },
  };
}

/** The answer from the recording. Returns whether the connection is good for another request. */
export async function playBack(
  guest: Inlet,
  head: RequestHead,
  crossing: Crossing,
  look: PatientLook | undefined,
  answered: () => PlayedAnswer | null,
  onStart: () => void,
): Promise<boolean> {
  const nowhere = new Writable({ write: (_piece, _encoding, done) => done() }) as Duplex;
  await relayBody(guest, nowhere, head.framing, (count) => crossing.up(count), look);
  const answer = answered();
  if (answer === null) throw new Refusal('not_recorded', 'the recording has no answer to this request');
  onStart();
  crossing.status = answer.status;
  const body = Buffer.concat(answer.pieces);
  const bare = head.method === 'HEAD' || answer.status === 204 || answer.status === 304;
  const fields = answer.headers.filter(
    ([name]) => !/^(content-length|transfer-encoding|connection|keep-alive)$/i.test(name),
  );
  const length = bare ? [] : [['Content-Length', String(body.length)] as const];
  const end = head.keepAlive ? [] : [['Connection', 'close'] as const];
  const lines = [...fields, ...length, ...end].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  await send(guest.stream, Buffer.from(`HTTP/1.1 ${answer.status} ${answer.reason}\r\n${lines}\r\n`, 'latin1'));
  crossing.down(body.length);
  if (!bare && answer.complete) await send(guest.stream, body);
  if (!bare && !answer.complete) {
    await send(guest.stream, body.subarray(0, -1)); // as it broke off then
    throw new Refusal('upstream_ended', 'the recorded answer broke off');
  }
  crossing.end('completed');
  return head.keepAlive;
}

/** Tells the recording of a response's pieces as they pass. */
export function recordedLook(recorded: RecordedAnswer, response: ResponseHead): PatientLook {
  recorded.head(
    response.status,
    response.headers.map(({ name, value }) => [name, value]),
    response.reason,
  );
  return (piece) => (piece.length > 0 ? recorded.piece(piece) : undefined);
}
