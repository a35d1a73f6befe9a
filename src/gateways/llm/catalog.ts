import { placesOf } from './model-names.ts';
import type { ModelFacts, Provider } from './providers/provider.ts';

/** One place where a model can be had. */
export interface Candidate {
  readonly provider: Provider;
  readonly model: ModelFacts;
}

export interface CatalogOptions {
  readonly providers: readonly Provider[];
  /** Name an agent may use → `provider/model`, or a model's name. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Names of providers in order of preference. */
  readonly preferred: readonly string[];
  /** What the run was told to use, as `provider/model`; it goes before all preferences. */
  readonly chosen: string | null;
}

/** Names that are remembered with what was found for them; whoever asks chooses them. */
const MAX_NAMES = 256;

/** Which models there are, and under which names agents find them. */
export class Catalog {
  readonly #providers: readonly Provider[];
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #chosen: string | null;
  readonly #found = new Map<string, readonly Candidate[]>();

  constructor({ providers, aliases, preferred, chosen }: CatalogOptions) {
    const rank = (name: string) => (preferred.includes(name) ? preferred.indexOf(name) : preferred.length);
    this.#providers = [...providers].sort((a, b) => rank(a.name) - rank(b.name));
    this.#aliases = aliases;
    this.#chosen = chosen;
  }

  /** Where the model can be had, in the order it is tried; empty when nowhere. */
  find(name: string): readonly Candidate[] {
    const before = this.#found.get(name);
    if (before !== undefined) return before;
    const found = this.#search(name);
    if (found.length > 0 && this.#found.size < MAX_NAMES) this.#found.set(name, found);
    return found;
  }

  #search(name: string): Candidate[] {
    const found: Candidate[] = placesOf<ModelFacts, Provider>(name, this.#providers, this.#aliases);
    const chosen = ({ provider, model }: Candidate) => Number(`${provider.name}/${model.name}` !== this.#chosen);
    return found.sort((a, b) => chosen(a) - chosen(b));
  }

  /** All that could be asked for, in order of preference. */
  all(): Candidate[] {
    return this.#providers.flatMap((provider) => provider.models.map((model) => ({ provider, model })));
  }
}
