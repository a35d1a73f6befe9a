import type { TimerClock } from '../../src/base/clock.ts';

/** A clock that stands still until a test moves it; its timers ring on the way. */
export class ManualClock implements TimerClock {
  #at = 0;
  readonly #start: number;
  readonly #timers = new Set<{ readonly due: number; readonly call: () => void }>();

  constructor(start = Date.parse('2026-03-01T12:00:00Z')) {
    this.#start = start;
  }

  now(): number {
    return this.#start + this.#at;
  }

  monotonic(): number {
    return this.#at;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { due: this.#at + ms, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that still wait. */
  get waiting(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const end = this.#at + ms;
    for (;;) {
      const next = [...this.#timers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#at = next.due;
      next.call();
    }
    this.#at = end;
  }
}
