import { randomBytes } from 'node:crypto';

/** Crockford's base 32, lower case: no i, l, o, u, so that an id can be read aloud. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

export type RandomSource = (bytes: number) => Uint8Array;

/**
 * A run's id: 16 characters, the first 10 the time in milliseconds (so ids sort by age), the last 6 random (30 bits).
 * Uniqueness is the store's to enforce; the caller draws again on a clash.
 */
export function newRunId(nowMs: number, random: RandomSource = randomBytes): string {
  let time = '';
  for (let rest = nowMs, i = 0; i < 10; i++) {
    time = ALPHABET[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  let tail = '';
  for (const byte of random(6)) tail += ALPHABET[byte % 32];
  return time + tail;
}

const RUN_ID = /^[0-9a-hjkmnp-tv-z]{16}$/;

/** True for the form that {@link newRunId} makes; a run id is used in paths and ref names, so nothing else may pass. */
export function isRunId(text: string): boolean {
  return RUN_ID.test(text);
}
