import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import type { Look, PatientLook } from './body.ts';
import { type Header, headerValue } from './head.ts';
import { Refusal } from './refusal.ts';

/** Bytes that one body may become: what is searched costs time, and a few bytes can stand for gigabytes. */
const MOST = 64 * 1024 * 1024;

/** Binary logarithm of the largest window, in bytes: what RFC 9659 permits in a content coding. */
const ZSTD_WINDOW = 23;

/** `bytesWritten`: of what it was given, those that it decoded. */
export type Decoder = Transform & { readonly bytesWritten: number };

/** RFC 9110 §8.4.1 and RFC 8878. `deflate` is zlib's format; some programs send it bare. */
const CODINGS: Readonly<Record<string, (first: number) => Decoder>> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  deflate: (first) => ((first & 15) === 8 ? zlib.createInflate() : zlib.createInflateRaw()),
  br: () => zlib.createBrotliDecompress(),
  zstd: () => zlib.createZstdDecompress({ params: { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW } }),
};

/** Gives a decoder a place, or finds that there is none: throws `Refusal`. */
export type Open = (make: () => Decoder) => Decoder | Promise<Decoder>;

/** Decoders that one run may have open at once: each takes the memory of its window, for a few bytes that say how large that is. */
const MOST_DECODERS = 16;

/** The decoders of one run's gateway. */
export class Decoders {
  #open = 0;
  readonly #waiting = new Set<() => void>();

  /** `onEnd`: told how to give the decoder up when nobody will feed it any more. Throws `Refusal` when there are too many. */
  add(make: () => Decoder, onEnd: (close: () => void) => void): Decoder {
    if (this.#open >= MOST_DECODERS)
      throw new Refusal('too_many', `more than ${MOST_DECODERS} compressed bodies at once`, {
        remedy: 'send them one after the other, or as they are',
      });
    this.#open++;
    return this.#held(make, onEnd);
  }

  /** As `add`, when there is room: for what comes without the guest's doing. Throws `Refusal` when it is given up before. */
  async wait(make: () => Decoder, onEnd: (close: () => void) => void): Promise<Decoder> {
    if (this.#open < MOST_DECODERS) return this.add(make, onEnd);
    await new Promise<void>((resolve, reject) => {
      this.#waiting.add(resolve);
      onEnd(() => {
        if (this.#waiting.delete(resolve)) reject(new Refusal('closed', 'nobody waits for what is compressed'));
      });
    });
    return this.#held(make, onEnd);
  }

  #held(make: () => Decoder, onEnd: (close: () => void) => void): Decoder {
    const decoder = make();
    decoder.once('close', () => this.#leave());
    onEnd(() => decoder.destroy());
    return decoder;
  }

  /** Its place goes to whoever waits longest. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#open--;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}

/**
 * Looks at a body as it is, and where its head states one coding that is known here, at what it stands for as well. Throws
 * `Refusal` for a body that is not what its head says, and for one that becomes too long.
 */
export function lookInside(headers: readonly Header[], look: Look, inside: () => Look, open: Open): PatientLook {
  const stated = (headerValue(headers, 'content-encoding') ?? '').toLowerCase().split(',');
  const codings = stated.map((coding) => coding.trim()).filter((coding) => coding !== '' && coding !== 'identity');
  const known = codings.filter((coding) => Object.hasOwn(CODINGS, coding));
  if (known.length === 0) return look;
  if (codings.length > 1) throw new Refusal('malformed', 'a body with two codings', { remedy: 'send it with one' });
  const decode = new Decoded(known[0] as string, inside(), open);
  return async (piece, last) => {
    look(piece, last);
    await decode.write(piece, last);
  };
}

class Decoded {
  readonly #coding: string;
  readonly #look: Look;
  readonly #place: Open;
  #decoder: Decoder | null = null;
  #failure: Error | null = null;
  #given = 0;
  #size = 0;

  constructor(coding: string, look: Look, place: Open) {
    this.#coding = coding;
    this.#look = look;
    this.#place = place;
  }

  async write(piece: Buffer, last: boolean): Promise<void> {
    if (piece.length === 0 && this.#decoder === null) return;
    this.#decoder ??= await this.#open(piece[0] as number);
    const decoder = this.#decoder;
    try {
      this.#given += piece.length;
      await fed(decoder, piece, last);
      // A second part that starts behind padding, or at once: some hosts read on there, and this decoder has stopped.
      if (decoder.bytesWritten < this.#given)
        throw new Refusal('malformed', `bytes behind the end of what is compressed (${this.#coding})`, {
          remedy: 'send one body as one compressed part, without padding',
        });
      if (last) this.#look(Buffer.alloc(0), true);
    } catch (error) {
      this.#failure ??= error as Error;
    }
    if (this.#failure === null) return;
    decoder.destroy();
    if (this.#failure instanceof Refusal) throw this.#failure;
    throw new Refusal('malformed', `a body that is not in the coding its head states (${this.#coding})`, {
      cause: this.#failure,
    });
  }

  async #open(first: number): Promise<Decoder> {
    const decoder = await this.#place(() => (CODINGS[this.#coding] as (first: number) => Decoder)(first));
    decoder.on('error', (error: Error) => {
      this.#failure ??= error;
    });
    decoder.on('data', (part: Buffer) => {
      if (this.#failure !== null) return;
      try {
        this.#size += part.length;
        if (this.#size > MOST)
          throw new Refusal('malformed', `a body that becomes more than ${MOST} bytes (${this.#coding})`, {
            remedy: 'send it as it is: what cannot be searched for placeholders does not go on',
          });
        this.#look(part, false);
      } catch (error) {
        decoder.destroy(error as Error);
      }
    });
    return decoder;
  }
}

/** Resolves when everything that these bytes stand for has come out. */
function fed(decoder: Decoder, piece: Buffer, last: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    // Behind its end it is closed too, and well.
    const closed = () => settled(decoder.readableEnded ? null : new Error('it was given up'));
    const settled = (error?: Error | null) => {
      decoder.off('error', settled);
      decoder.off('end', settled);
      decoder.off('close', closed);
      if (error == null) resolve();
      else reject(error);
    };
    if (decoder.destroyed && !decoder.readableEnded) return closed();
    decoder.once('error', settled);
    decoder.once('close', closed);
    if (!last) decoder.write(piece, settled);
    else if (decoder.readableEnded)
      settled(); // what came behind the end was noticed
    else {
      decoder.once('end', settled);
      decoder.end(piece);
    }
  });
}
