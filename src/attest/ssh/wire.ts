/**
 * The data types of the SSH protocols (RFC 4251, section 5): byte, uint32, uint64, and string = uint32 length and bytes.
 * Pure. Everything read here may be hostile: what does not fit exactly is refused, nothing is skipped.
 */

/** Not what the format says. Callers at the edge turn it into an error of their own. */
export class SshFormatError extends Error {}

/** Bytes of one string; no key, certificate or signature of ours comes near it. */
const MAX_STRING = 1024 * 1024;

export class SshReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  /** `what` stands in messages: `the certificate`. */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  /** Bytes read so far. */
  get offset(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** A copy of `length` bytes as they stand. */
  raw(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new SshFormatError(`${this.#what} ends too early`);
    this.#at += length;
    return Buffer.from(this.#bytes.subarray(this.#at - length, this.#at));
  }

  byte(): number {
    return this.raw(1)[0] as number;
  }

  uint32(): number {
    return this.raw(4).readUInt32BE();
  }

  uint64(): bigint {
    return this.raw(8).readBigUInt64BE();
  }

  string(): Buffer {
    const length = this.uint32();
    if (length > MAX_STRING) throw new SshFormatError(`${this.#what} has a string of ${length} bytes`);
    return this.raw(length);
  }

  /** A string that is text: well-formed UTF-8 without control characters, as it will be shown and compared. */
  text(): string {
    const bytes = this.string();
    const text = bytes.toString('utf8');
    if (!Buffer.from(text, 'utf8').equals(bytes) || /\p{Cc}/u.test(text))
      throw new SshFormatError(`${this.#what} has text with control characters or broken UTF-8`);
    return text;
  }

  /** Refuses what follows the end. */
  end(): void {
    if (!this.done) throw new SshFormatError(`${this.#what} has ${this.#bytes.length - this.#at} bytes after its end`);
  }
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

export function sshString(value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** Standard base64, only in the one spelling that encoding gives back: two texts never stand for one value. */
export function strictBase64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new SshFormatError(`${what} is not base64`);
  return bytes;
}
