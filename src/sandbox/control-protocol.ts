/**
 * What the trusted side and `cordon-init` (src/guest/init.c) say to each other over a SOCK_SEQPACKET socket.
 *
 *   message   word NUL word NUL …            numbers in decimal, a program of bytes in hex, bytes of a file as they are
 *   request   to the outer half: operations one after the other, see mount-plan.ts and root-plan.ts
 *             to process 1 inside: limit RESOURCE SOFT HARD · affinity CPU… · filter FLAGS HEX
 *                · exec ID CWD ARGC ARGV… NAME=VALUE… (with three descriptors) · kill PID SIGNAL · quiesce
 *   reply     KIND A B                       sometimes with one descriptor
 *             outer: opened FD · descriptor (+fd) · started PID · error INDEX ERRNO · done
 *             init:  ready · listener (+fd) · running ID PID · failed ID ERRNO · reaped PID STATUS · quiet · error WHAT ERRNO
 *                    (WHAT: the number of a limit, -1 for affinity, 0 for all else)
 *
 * Replies of process 1 are made by our own code, but inside the sandbox: they are parsed as an attacker's.
 */
export type Words = readonly (string | number | Buffer)[];

/** Throws `TypeError` for a word with a NUL in it: it would become two. */
export function encodeWords(words: Words): Buffer {
  const parts: Buffer[] = [];
  for (const word of words) {
    const bytes = Buffer.isBuffer(word) ? word : Buffer.from(String(word));
    if (bytes.includes(0)) {
      throw new TypeError(`a NUL byte in ${Buffer.isBuffer(word) ? 'the bytes of a file' : JSON.stringify(word)}`);
    }
    parts.push(bytes, NUL);
  }
  return Buffer.concat(parts);
}

const NUL = Buffer.of(0);

const REPLIES = [
  'opened',
  'descriptor',
  'started',
  'error',
  'done',
  'ready',
  'listener',
  'running',
  'failed',
  'reaped',
  'quiet',
] as const;
export type ReplyKind = (typeof REPLIES)[number];

export interface Reply {
  readonly kind: ReplyKind;
  readonly a: number;
  readonly b: number;
}

/** Null for anything that is not exactly a reply. */
export function decodeReply(data: Buffer): Reply | null {
  if (data.length === 0 || data.length > 64 || data.at(-1) !== 0) return null;
  const [kind, a, b, ...rest] = data.subarray(0, -1).toString('latin1').split('\0');
  if (rest.length > 0 || a === undefined || b === undefined || !/^-?\d{1,15}$/.test(a) || !/^-?\d{1,15}$/.test(b))
    return null;
  const known = REPLIES.find((reply) => reply === kind);
  return known === undefined ? null : { kind: known, a: Number(a), b: Number(b) };
}
