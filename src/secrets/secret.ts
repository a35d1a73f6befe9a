import { inspect } from 'node:util';
import { UsageError } from '../base/errors.ts';
import { LONGEST_SECRET, SHORTEST_SECRET } from '../base/redact/index.ts';
import { hasPlaceholder } from './placeholder.ts';

const HIDDEN = '[secret]';

/**
 * A value that shows itself nowhere: not in JSON, templates, `console.log`, errors or `util.inspect`. Only `reveal` gives it away,
 * so that a search for that word finds every place that touches one.
 */
export class Secret {
  readonly #bytes: Buffer;

  /**
   * Copies the bytes. Throws `UsageError`, naming `what`, for a value that could not be redacted: shorter than 8 bytes or
   * longer than 64 KiB, and for a placeholder.
   */
  constructor(bytes: Uint8Array, what: string) {
    if (bytes.length < SHORTEST_SECRET) {
      throw new UsageError(
        bytes.length === 0
          ? `the value of ${what} is empty`
          : `the value of ${what} has ${bytes.length} bytes; a secret has at least ${SHORTEST_SECRET}`,
        {
          remedy:
            bytes.length === 0
              ? '`cordon secrets set` takes it from standard input, or at the prompt'
              : 'use a longer one: so short a text stands in ordinary output too, which could not be told from it',
        },
      );
    }
    if (bytes.length > LONGEST_SECRET) {
      throw new UsageError(
        `the value of ${what} has ${bytes.length} bytes, more than the ${LONGEST_SECRET} of a secret`,
        {
          remedy: 'keep the file elsewhere and make the key to it the secret',
        },
      );
    }
    this.#bytes = Buffer.from(bytes);
    if (!hasPlaceholder(this.#bytes)) return;
    throw new UsageError(`the value of ${what} is what stands for a secret inside a run, and not one`, {
      remedy: 'give the secret itself, from where it was issued',
    });
  }

  /** The value itself; not a copy. */
  reveal(): Buffer {
    return this.#bytes;
  }

  toJSON(): string {
    return HIDDEN;
  }

  toString(): string {
    return HIDDEN;
  }

  [Symbol.toPrimitive](): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
