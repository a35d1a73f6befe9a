import { Redactor, SHORTEST_SECRET } from '../base/redact/index.ts';
import type { Grant } from './grant.ts';

/** An answer's bytes, in order, on their way to the guest. */
export interface AnswerWatch {
  /** What can go on: all but what may be the beginning of a value. Nothing of it may, once `repeated` is set. */
  pass(piece: Buffer, last: boolean): readonly Buffer[];
  /** The secret whose value is in what was passed; null while there is none. */
  readonly repeated: string | null;
  /** Resolves when it is recorded that the host repeated it. */
  alarm(where: string): Promise<void>;
}

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
    for (const form of [value, ...passwordIn(before, value)]) {
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
    return {
      pass: (piece, last) => redaction.write(piece, last),
      get repeated() {
        return found?.name ?? null;
      },
      alarm: async (where) => (found === null ? undefined : alarm(found, where)),
    };
  }
}

/** `Authorization: Basic {}` holds a name and a password in base64 (RFC 7617): hosts repeat either. */
function passwordIn(before: string, value: Buffer): readonly Buffer[] {
  if (!/^basic $/i.test(before)) return [];
  const pair = Buffer.from(value.toString('latin1'), 'base64');
  const colon = pair.indexOf(':');
  return colon < 0 ? [] : [pair, pair.subarray(colon + 1)];
}
