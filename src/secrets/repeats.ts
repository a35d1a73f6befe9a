import type { AnswerWatch } from '../base/redact/answer-watch.ts';
import { type Redaction, Redactor, SHORTEST_SECRET } from '../base/redact/index.ts';
import type { Grant } from './grant.ts';

/**
 * The values that one run's gateway has sent, by host: an error message or a page for debugging that repeats the headers it got would
 * hand the guest what it is never to hold. Found as they are, and in every encoding that the redactor knows.
 */
export class Repeats {
  readonly #sent = new Map<string, { readonly values: Redactor; readonly grants: Map<string, Grant> }>();

  /** `filled`: the whole header that is sent for this grant. */
  add(grant: Grant, filled: Buffer): void {
    if (grant.use.kind !== 'header') return;
    const { host, template } = grant.use;
    const sent = this.#sent.get(host) ?? { values: new Redactor({ shapes: false }), grants: new Map<string, Grant>() };
    this.#sent.set(host, sent);
    sent.grants.set(grant.id, grant);
    const [before = '', after = ''] = template.split('{}');
    const value = filled.subarray(before.length, filled.length - after.length);
    for (const form of [value, ...credentialsIn(before, value)]) {
      if (form.length >= SHORTEST_SECRET) sent.values.add(grant.id, form);
    }
  }

  /** Null where nothing was sent. `alarm` records what was found. */
  watch(host: string, alarm: (grant: Grant, where: string) => Promise<void>): AnswerWatch | null {
    const sent = this.#sent.get(host);
    if (sent === undefined) return null;
    let found: Grant | null = null;
    const redaction = sent.values.open((id) => {
      found ??= sent.grants.get(id) ?? null;
    });
    const lead = new Lead(redaction);
    return {
      pass: (piece, last) => lead.pass(piece, last),
      get waiting() {
        return found === null && lead.waiting;
      },
      quiet: () => (found === null ? lead.quiet() : Buffer.alloc(0)),
      get repeated() {
        return found?.name ?? null;
      },
      get cookie() {
        return found?.use.kind === 'header' && found.use.header === 'cookie';
      },
      alarm: async (where) => (found === null ? undefined : alarm(found, where)),
    };
  }
}

/** A search of which the first bytes that it holds back may go on before it has decided on them. */
class Lead {
  readonly #redaction: Redaction;
  /** What the search holds back: all of it, or its last bytes, as many as are too many. */
  #held: Buffer = Buffer.alloc(0);
  /** Bytes in the stream, and of those the ones that have gone on. */
  #seen = 0;
  #given = 0;

  constructor(redaction: Redaction) {
    this.#redaction = redaction;
  }

  pass(piece: Buffer, last: boolean): readonly Buffer[] {
    this.#seen += piece.length;
    const pieces = this.#redaction
      .place(piece, last)
      // Of what had gone on already, the rest; a mark stands in no answer: that is refused.
      .map(({ bytes, at }) => bytes.subarray(Math.min(bytes.length, Math.max(0, this.#given - at))));
    const { decided } = this.#redaction;
    this.#given = Math.max(this.#given, decided);
    const length = this.#seen - decided;
    const known = Buffer.concat([this.#held, piece.subarray(-SHORTEST_SECRET)]);
    this.#held = known.subarray(known.length - Math.min(length, SHORTEST_SECRET));
    return pieces;
  }

  get waiting(): boolean {
    const { length } = this.#held;
    return length > 0 && length < SHORTEST_SECRET && this.#given < this.#seen;
  }

  quiet(): Buffer {
    if (!this.waiting) return Buffer.alloc(0);
    const bytes = this.#held.subarray(-(this.#seen - this.#given));
    this.#given = this.#seen;
    return bytes;
  }
}

/** What is no secret where a token stands as the other half of a pair. */
const CONSTANTS = new Set(['x-oauth-basic', 'x-access-token', 'api_token']);

/**
 * `Authorization: Basic {}` holds a name and a password in base64 (RFC 7617): hosts repeat either. Some take a token for the
 * name, with no password, or one that is the same for all.
 */
function credentialsIn(before: string, value: Buffer): readonly Buffer[] {
  if (!/^basic $/i.test(before)) return [];
  const pair = Buffer.from(value.toString('latin1'), 'base64');
  const colon = pair.indexOf(':');
  if (colon < 0) return [];
  const isSecret = (half: Buffer) => half.length >= SHORTEST_SECRET && !CONSTANTS.has(half.toString('latin1'));
  const [name, password] = [pair.subarray(0, colon), pair.subarray(colon + 1)];
  return [pair, ...(isSecret(password) ? [password] : [name].filter(isSecret))];
}
