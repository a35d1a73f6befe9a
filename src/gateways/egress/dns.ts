import type { Socket } from 'node:net';
import { canonicalHost } from '../../policy/hosts.ts';
import { shown } from '../../policy/parsed.ts';
import { Inlet, send } from './inlet.ts';
import type { Names } from './names.ts';

/** A header, one name, one type and class: what a stub resolver asks. Longer questions hold what nobody needs to be told. */
const MAX_QUERY = 512;
const TYPE_A = 1;
const CLASS_IN = 1;
/** Addresses are good for the whole run. */
const TTL = 60;

const NOERROR = 0;
const FORMERR = 1;
const NXDOMAIN = 3;
const NOTIMP = 4;

/**
 * The answer to one DNS message (RFC 1035 §4), made here and never asked of anybody: a permitted name has the address
 * that stands for it, any other does not exist. Null for what gets no answer at all. A name that is looked up is itself
 * a message, so nothing of it leaves, whatever it says.
 */
export function answerDns(
  query: Buffer,
  names: Names,
  denied: (host: string | null, detail: string) => void,
): Buffer | null {
  if (query.length < 12 || query.length > MAX_QUERY) return null;
  const flags = query.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return null; // an answer: two responders must not talk to each other
  if ((flags & 0x7800) !== 0) return reply(query, NOTIMP, null, null);
  const question = readQuestion(query);
  if (question === null) {
    denied(null, 'a DNS question without meaning');
    return reply(query, FORMERR, null, null);
  }
  const host = question.qclass === CLASS_IN ? canonicalHost(question.name) : null;
  const address = host?.ok === true ? names.addressOf(host.value) : null;
  if (address === null) {
    denied(host?.ok === true ? host.value : null, `a DNS question for ${shown(question.name)}`);
    return reply(query, NXDOMAIN, question.bytes, null);
  }
  return reply(query, NOERROR, question.bytes, question.qtype === TYPE_A ? address : null);
}

/** Questions over TCP (RFC 7766), one after the other, each with its length before it. `time`: of silence, in milliseconds. */
export async function serveDns(socket: Socket, time: number, answer: (query: Buffer) => Buffer | null): Promise<void> {
  socket.setTimeout(time, () => socket.destroy());
  const inlet = new Inlet(socket);
  for (;;) {
    const size = await inlet.readAtLeast(2);
    if (size === null) break;
    const end = 2 + size.readUInt16BE(0);
    inlet.unread(size);
    const message = await inlet.readAtLeast(end);
    if (message === null) break;
    inlet.unread(message.subarray(end));
    const reply = answer(message.subarray(2, end));
    if (reply === null) break;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    await send(socket, Buffer.concat([length, reply]));
  }
  socket.destroySoon();
}

interface Question {
  readonly name: string;
  readonly qtype: number;
  readonly qclass: number;
  readonly bytes: Buffer;
}

/** One question; no compression, which a first name cannot need. */
function readQuestion(query: Buffer): Question | null {
  if (query.readUInt16BE(4) !== 1) return null;
  const labels: string[] = [];
  let at = 12;
  let total = 0;
  for (;;) {
    const length = query[at];
    if (length === undefined || length > 63) return null;
    at += 1;
    if (length === 0) break;
    total += length + 1;
    if (total > 254 || at + length > query.length) return null;
    const label = query.toString('latin1', at, at + length);
    if (label.includes('.')) return null;
    labels.push(label);
    at += length;
  }
  if (at + 4 > query.length || labels.length === 0) return null;
  return {
    name: labels.join('.'),
    qtype: query.readUInt16BE(at),
    qclass: query.readUInt16BE(at + 2),
    bytes: query.subarray(12, at + 4),
  };
}

function reply(query: Buffer, code: number, question: Buffer | null, address: string | null): Buffer {
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  // Response, authoritative, recursion as asked and available: what a stub takes without asking elsewhere.
  header.writeUInt16BE(0x8480 | (query.readUInt16BE(2) & 0x0100) | code, 2);
  header.writeUInt16BE(question === null ? 0 : 1, 4);
  header.writeUInt16BE(address === null ? 0 : 1, 6);
  if (address === null) return Buffer.concat([header, question ?? Buffer.alloc(0)]);
  const answer = Buffer.alloc(16);
  answer.writeUInt16BE(0xc00c, 0); // the name of the question
  answer.writeUInt16BE(TYPE_A, 2);
  answer.writeUInt16BE(CLASS_IN, 4);
  answer.writeUInt32BE(TTL, 6);
  answer.writeUInt16BE(4, 10);
  for (const [i, part] of address.split('.').entries()) answer[12 + i] = Number(part);
  return Buffer.concat([header, question ?? Buffer.alloc(0), answer]);
}
