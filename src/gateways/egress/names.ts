import { isAddress } from '../../policy/hosts.ts';
import { type EffectivePolicy, mayResolve } from '../../policy/index.ts';

/**
 * Addresses inside the run that stand for names (of 198.18.0.0/15, RFC 2544, which leads nowhere): a program that knows
 * no proxy connects to one, and the gateway reads the name back from the address. No name is looked up for this.
 */
export class Names {
  readonly #policy: EffectivePolicy;
  readonly #limit: number;
  readonly #base: number;
  readonly #addresses = new Map<string, string>();
  readonly #names = new Map<string, string>();

  constructor(policy: EffectivePolicy, limit: number, network = '198.18.0.0') {
    this.#policy = policy;
    this.#limit = limit;
    this.#base = network.split('.').reduce((number, part) => number * 256 + Number(part), 0);
    for (const { pattern } of policy.network) {
      if (!pattern.wildcard && !isAddress(pattern.host)) this.addressOf(pattern.host);
    }
  }

  /** The address of a canonical name; null when no rule could permit it, or when there are too many. */
  addressOf(name: string): string | null {
    const known = this.#addresses.get(name);
    if (known !== undefined) return known;
    if (this.#names.size >= this.#limit || !mayResolve(this.#policy, name)) return null;
    // From .0.1 on: the network's own address stands for nothing.
    const number = this.#base + this.#names.size + 1;
    const address = [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.');
    this.#addresses.set(name, address);
    this.#names.set(address, name);
    return address;
  }

  nameOf(address: string): string | null {
    return this.#names.get(address.replace(/^::ffff:/, '')) ?? null;
  }

  /** Names that the policy lists one by one, with their addresses: for `/etc/hosts` of the run. */
  get all(): ReadonlyMap<string, string> {
    return this.#addresses;
  }
}
