/** The placeholders that this process gave out: whose each is, when it is met again, also some time after its run. */
import type { Grant } from './grant.ts';
import { nameIn, Placeholders } from './placeholder.ts';

/** A placeholder that was met where it does not belong. */
export interface Sighting {
  readonly name: string;
  /** Null when it was given out by another process, or never. */
  readonly grant: Grant | null;
}

/** Placeholders of ended runs that are still recognised. */
const REMEMBERED = 1_000;

export class GivenPlaceholders {
  readonly #grants = new Map<string, Grant>();
  readonly #search = new Placeholders();

  add(grant: Grant): void {
    this.#grants.set(grant.placeholder, grant);
    this.#search.add(grant.placeholder);
  }

  /** In what a guest sends: those of this process in every encoding, of others as they are written. */
  find(bytes: Buffer | string): readonly Sighting[] {
    return this.#search.find(bytes).map((placeholder) => this.#sighting(placeholder));
  }

  /** The same for a stream; `onFound` is told each placeholder once. To be called with its pieces in order. */
  watch(onFound: (sighting: Sighting) => void): (piece: Buffer, last: boolean) => void {
    return this.#search.watch((placeholder) => onFound(this.#sighting(placeholder)));
  }

  /** Forgets the oldest of those whose grants are held no more. */
  forgetOldest(isHeld: (grant: Grant) => boolean): void {
    const ended = [...this.#grants].filter(([, grant]) => !isHeld(grant));
    for (const [placeholder] of ended.slice(0, Math.max(0, ended.length - REMEMBERED))) {
      this.#grants.delete(placeholder);
      this.#search.remove(placeholder);
    }
  }

  #sighting(placeholder: string): Sighting {
    return { name: nameIn(placeholder), grant: this.#grants.get(placeholder) ?? null };
  }
}
