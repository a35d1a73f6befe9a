import { canonicalHost, isAddress } from '../../policy/hosts.ts';
import { shown } from '../../policy/parsed.ts';
import { Refusal } from './refusal.ts';

/**
 * The first message of TLS (RFC 8446 §4.1.2), read for the one thing a tunnel is judged by: the name that the guest asks
 * the server for. Without it, with another one, or with one that is encrypted for somebody else (ECH), a permitted
 * address of a shared front would lead to any of the names behind it.
 */
export interface ClientHello {
  readonly serverName: string | null;
  readonly encrypted: boolean;
  /** Protocols to speak in it, by preference (ALPN, RFC 7301); null where it does not say. */
  readonly protocols: readonly string[] | null;
  /** Bytes it took, records and all. */
  readonly size: number;
}

/** Bytes of a handshake message; those of post-quantum key shares are below 4 KiB. */
const HELLO_LIMIT = 32 * 1024;
const RECORD_LIMIT = 16 * 1024 + 256;
const HANDSHAKE = 22;
const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const APPLICATION_DATA = 23;

/**
 * The handshake message at the start of `bytes`, over as many records as it takes; null while more bytes are needed.
 * Throws `Refusal` for what is no TLS, or no ClientHello.
 */
export function readClientHello(bytes: Buffer): ClientHello | null {
  const parts: Buffer[] = [];
  let have = 0;
  let at = 0;
  while (true) {
    const record = readRecord(bytes, at);
    if (record === null) return null;
    if (record.type !== HANDSHAKE) throw notTls();
    parts.push(record.body);
    have += record.body.length;
    at = record.end;
    const message = parts.length === 1 ? record.body : Buffer.concat(parts);
    if (message[0] !== undefined && message[0] !== 1) throw notTls();
    if (have >= 4) {
      const length = message.readUIntBE(1, 3);
      if (length > HELLO_LIMIT) throw new Refusal('handshake_refused', 'a TLS handshake that is too long');
      if (have > 4 + length) throw new Refusal('handshake_refused', 'a TLS handshake with bytes after its end');
      if (have === 4 + length) return { ...parseClientHello(message.subarray(4)), size: at };
    }
  }
}

function readRecord(bytes: Buffer, at: number): { type: number; body: Buffer; end: number } | null {
  if (bytes.length > at && bytes[at] !== HANDSHAKE) throw notTls();
  if (bytes.length > at + 1 && bytes[at + 1] !== 3) throw notTls();
  if (bytes.length < at + 5) return null;
  const length = bytes.readUInt16BE(at + 3);
  if (length === 0 || length > RECORD_LIMIT) throw notTls();
  const end = at + 5 + length;
  return bytes.length < end ? null : { type: HANDSHAKE, body: bytes.subarray(at + 5, end), end };
}

function notTls(): Refusal {
  return new Refusal('handshake_refused', 'what is sent through this tunnel is not TLS', {
    remedy: 'use https, or ask the proxy for http://HOST/PATH instead of CONNECT',
  });
}

/** Reads vectors of TLS; running out of bytes is malformed. */
class Vector {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  number(size: 1 | 2): number {
    return this.take(size).readUIntBE(0, size);
  }

  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Refusal('handshake_refused', 'a TLS handshake with wrong lengths');
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  vector(size: 1 | 2): Vector {
    return new Vector(this.take(this.number(size)));
  }
}

function parseClientHello(bytes: Buffer): Omit<ClientHello, 'size'> {
  const hello = new Vector(bytes);
  hello.take(2 + 32); // version, random
  hello.vector(1); // session
  hello.vector(2); // cipher suites
  hello.vector(1); // compression
  let serverName: string | null = null;
  let encrypted = false;
  let protocols: readonly string[] | null = null;
  const seen = new Set<number>();
  const extensions = hello.done ? new Vector(Buffer.alloc(0)) : hello.vector(2);
  while (!extensions.done) {
    const type = extensions.number(2);
    const body = extensions.vector(2);
    if (seen.has(type)) throw new Refusal('handshake_refused', 'a TLS extension that stands twice');
    seen.add(type);
    if (type === 0) serverName = readServerName(body);
    if (type === 16) protocols = readProtocols(body);
    // encrypted_client_hello, its draft forms, and the encrypted_server_name before it.
    if (type === 0xfe0d || (type >= 0xfe08 && type <= 0xfe0c) || type === 0xffce || type === 0xfd00) encrypted = true;
  }
  if (!hello.done) throw new Refusal('handshake_refused', 'a TLS handshake with bytes after its end');
  return { serverName, encrypted, protocols };
}

/** RFC 6066 §3: one name of type host_name. */
function readServerName(body: Vector): string {
  const list = body.vector(2);
  const type = list.number(1);
  const name = list.vector(2);
  if (type !== 0 || !list.done || !body.done)
    throw new Refusal('handshake_refused', 'a TLS handshake with more than one server name');
  let text = '';
  while (!name.done) text += String.fromCharCode(name.number(1));
  return text;
}

function readProtocols(body: Vector): string[] {
  const list = body.vector(2);
  const names: string[] = [];
  while (!list.done) {
    const name = list.vector(1);
    let text = '';
    while (!name.done) text += String.fromCharCode(name.number(1));
    names.push(text);
  }
  return names;
}

/** Requests are judged as HTTP/1.1: a program of HTTP/2 alone (gRPC) is told so, where its handshake would merely fail. */
export function checkProtocols({ protocols }: ClientHello, host: string): void {
  if (protocols === null || protocols.includes('http/1.1')) return;
  const offered = protocols.slice(0, 4).map(shown).join(', ') || 'nothing';
  throw new Refusal(
    'handshake_refused',
    `the TLS handshake to ${host} offers ${offered}, and requests to it are judged in http/1.1 alone`,
    {
      host,
      remedy: `let the program offer http/1.1 too, or list ${host} without methods and paths: its TLS then stays end to end`,
      alert: 120, // no_application_protocol
    },
  );
}

/**
 * Throws `Refusal` unless the handshake asks for exactly the host that was judged. Where TLS is opened at the gateway, an
 * encrypted inner name reaches nobody: the gateway's own TLS knows none.
 */
export function checkServerName(hello: ClientHello, host: string, opened = false): void {
  if (hello.encrypted && !opened)
    throw new Refusal('handshake_refused', `the TLS handshake to ${host} hides the name it is for (ECH)`, {
      host,
      remedy: `switch ECH off in the program that connects, or list ${host} with methods, so that the gateway opens its TLS`,
    });
  if (hello.serverName === null) {
    // RFC 6066 §3: a literal address is not sent.
    if (isAddress(host)) return;
    throw new Refusal('handshake_refused', `the TLS handshake to ${host} names no server (SNI)`, { host });
  }
  const name = canonicalHost(hello.serverName);
  if (name.ok && name.value === host) return;
  throw new Refusal('handshake_refused', `the TLS handshake to ${host} asks for ${shown(hello.serverName)}`, { host });
}

/** Random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3). */
const RETRY = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
/** In the first message of a server, behind the record's head, the message's and the version. */
const RANDOM_AT = 5 + 4 + 2;
/** Changes of cipher and alerts in a handshake: a few are usual, and servers take some more. */
const MOST_ASIDE = 16;

/**
 * Watches what the guest sends after its first handshake message, until there can be no other ClientHello: after a
 * HelloRetryRequest a second one comes, in the clear, and a server may go by the name in that one. Before it servers pass over
 * changes of cipher, warnings and data sent early, so that none of these is an end of the watch; the host's answer is.
 */
export class SecondHelloGuard {
  readonly #host: string;
  #held: Buffer = Buffer.alloc(0);
  #answer: Buffer = Buffer.alloc(0);
  #aside = 0;
  done = false;

  constructor(host: string) {
    this.#host = host;
  }

  /** What the host sends. */
  answered(chunk: Buffer): void {
    const end = RANDOM_AT + RETRY.length;
    if (this.done || this.#answer.length >= end) return;
    this.#answer = Buffer.concat([this.#answer, chunk.subarray(0, end)]);
    if (this.#answer[0] !== HANDSHAKE) this.done = true;
    else if (this.#answer.length >= end) this.done = !this.#answer.subarray(RANDOM_AT, end).equals(RETRY);
  }

  /** What may go on now; empty while it cannot be told. Throws `Refusal`. */
  pass(chunk: Buffer): Buffer {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    let at = 0;
    while (!this.done) {
      const end = this.#recordEnd(at);
      if (end === null) break;
      at = end;
    }
    if (this.done) at = this.#held.length;
    const passed = this.#held.subarray(0, at);
    this.#held = this.#held.subarray(at);
    return passed;
  }

  /** Of a whole record that is no other hello; null while it is not there. */
  #recordEnd(at: number): number | null {
    const held = this.#held;
    if (held.length < at + 6) return null;
    const type = held[at] as number;
    const length = held.readUInt16BE(at + 3);
    if (length === 0 || length > RECORD_LIMIT) throw notTls();
    if (type === HANDSHAKE) {
      if (held[at + 5] === 1) {
        const hello = readClientHello(held.subarray(at));
        if (hello === null) return null;
        checkServerName(hello, this.#host);
      }
      this.done = true;
      return held.length;
    }
    if (type === CHANGE_CIPHER_SPEC ? length !== 1 : type !== ALERT && type !== APPLICATION_DATA) throw notTls();
    const end = at + 5 + length;
    if (held.length < end) return null;
    if (type !== APPLICATION_DATA && ++this.#aside > MOST_ASIDE) throw notTls();
    return end;
  }
}
