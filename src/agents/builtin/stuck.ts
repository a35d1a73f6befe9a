import { digest } from '../../base/digest.ts';

/** Calls that are looked back upon. */
const MEMORY = 12;
/** The same call with the same result, so often: the model is told; once more: the run ends. */
const TOLD = 3;
/** Calls that failed one after the other. */
const FAILURES_TOLD = 8;
const FAILURES_MOST = 16;

export type Standstill = { readonly kind: 'told' | 'stop'; readonly why: string } | null;

/** Notices an agent that goes round in circles: alone, or by turns with a second call. */
export class Progress {
  #seen: string[] = [];
  readonly #edits = new Set<string>();
  #failures = 0;

  /** After each call. `why` is for the model and for the record alike. */
  note(tool: string, args: string, result: { readonly ok: boolean; readonly text: string }): Standstill {
    const one = digest(JSON.stringify([tool, args, result.ok, result.text]));
    // A change that was not made before makes everything new; one that comes back is part of the circle.
    if (tool === 'edit' && result.ok && !this.#edits.has(one)) {
      this.#edits.add(one);
      this.#seen = [];
    }
    this.#seen = [...this.#seen, one].slice(-MEMORY);
    this.#failures = result.ok ? 0 : this.#failures + 1;
    const times = this.#seen.filter((seen) => seen === one).length;
    const repeated = `${tool} was called ${times} times in the same way, with the same result`;
    if (times > TOLD) return { kind: 'stop', why: repeated };
    if (this.#failures >= FAILURES_MOST)
      return { kind: 'stop', why: `${this.#failures} calls failed one after the other` };
    if (times === TOLD)
      return { kind: 'told', why: `${repeated}. Do something else, or finish; once more, and the work is ended.` };
    if (this.#failures === FAILURES_TOLD)
      return {
        kind: 'told',
        why: `${this.#failures} calls failed one after the other. Look at why, and try another way.`,
      };
    return null;
  }
}
