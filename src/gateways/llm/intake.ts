import type { ServerResponse } from 'node:http';
import type { ModelLimits } from './limits.ts';
import { ModelRefusal } from './refusal.ts';

/** Memory of one request's body, given back when the request is over. */
export interface Hold {
  /** More of it. Throws `ModelRefusal` when all requests together would hold too much. */
  take(bytes: number): void;
  release(): void;
}

/** Of how many refusals for crowding one event tells. */
const CROWD = 1000;

/** What one run's programs may have under way at once, and how fast they may be refused: each refusal is an event in the log. */
export class Intake {
  readonly #limits: ModelLimits;
  readonly #maxHeld: number;
  #held = 0;
  #refused = 0;
  #crowded = 0;
  readonly #braked = new Set<() => void>();

  constructor(limits: ModelLimits, maxRequest: number) {
    this.#limits = limits;
    this.#maxHeld = Math.max(limits.bodies, 2 * maxRequest);
  }

  hold(): Hold {
    let mine = 0;
    return {
      take: (bytes) => {
        if (this.#held + bytes > this.#maxHeld)
          throw new ModelRefusal(
            'denied',
            429,
            'too_many_bytes',
            `the requests that are under way hold more than ${this.#maxHeld} bytes: send fewer at once`,
          );
        mine += bytes;
        this.#held += bytes;
      },
      release: () => {
        this.#held -= mine;
        mine = 0;
      },
    };
  }

  /** What to answer when there are already too many; null while there are not. Every thousandth of them is for the record. */
  crowded(open: number): ModelRefusal | null {
    const { concurrent } = this.#limits;
    if (open <= concurrent) return null;
    const refusal = new ModelRefusal('denied', 429, 'too_many_requests', `more than ${concurrent} requests at once`);
    refusal.recorded = this.#crowded++ % CROWD !== 0;
    return refusal;
  }

  /** Holds up refusals that are too many, so that a program cannot fill the log with them. Resolves earlier when the caller leaves, or the run ends. */
  async brake(guest: ServerResponse): Promise<void> {
    const { refusals, brake } = this.#limits;
    if (++this.#refused <= refusals || guest.destroyed) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        guest.off('close', done);
        this.#braked.delete(done);
        resolve();
      };
      const timer = setTimeout(done, brake);
      guest.on('close', done);
      this.#braked.add(done);
    });
  }

  /** Nobody is held up any more. */
  end(): void {
    for (const done of [...this.#braked]) done();
  }
}
