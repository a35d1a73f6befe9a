/** What a policy lends to MCP servers themselves: decided upon and granted with their first use, never in the run's own sandbox. */
import type { McpServer } from '../policy/index.ts';
import { secretHost } from '../policy/index.ts';
import type { RunScope } from './scope.ts';

/** Milliseconds that a value is kept in memory between uses; a revocation ends it at once. */
const KEPT = 60_000;

export interface ServerKey {
  readonly name: string;
  /** Throws when it was not granted, or taken back. */
  value(): Promise<string>;
  /** Aborted when it is taken back; null before the first use. */
  readonly signal: AbortSignal | null;
}

/** One for a server and a secret of it: a server that is started again uses the same grant. */
export class ServerKeys {
  readonly #scope: RunScope;
  readonly #keys = new Map<string, Key>();

  constructor(scope: RunScope) {
    this.#scope = scope;
  }

  of({ name, how }: McpServer, secret: string): ServerKey {
    const id = `${name} ${secret}`;
    const host = how.kind === 'url' ? how.host : secretHost(name);
    const key = this.#keys.get(id) ?? new Key(this.#scope, secret, name, host);
    this.#keys.set(id, key);
    return key;
  }
}

class Key implements ServerKey {
  readonly name: string;
  readonly #scope: RunScope;
  readonly #server: string;
  readonly #host: string;
  #grant: Promise<{ readonly id: string; readonly signal: AbortSignal }> | null = null;
  #known: { readonly value: string; readonly until: number } | null = null;
  signal: AbortSignal | null = null;

  constructor(scope: RunScope, name: string, server: string, host: string) {
    this.#scope = scope;
    this.name = name;
    this.#server = server;
    this.#host = host;
  }

  async value(): Promise<string> {
    const { clock } = this.#scope.system;
    if (this.#known !== null && this.#known.until > clock.monotonic() && this.signal?.aborted === false)
      return this.#known.value;
    const { lendToServer, openLender } = await import('./secrets.ts');
    this.#grant ??= lendToServer(this.#scope, this.name, { server: this.#server, host: this.#host }).catch((error) => {
      this.#grant = null;
      throw error;
    });
    const { id, signal } = await this.#grant;
    this.signal = signal;
    const { broker } = await openLender(this.#scope);
    const value = (await broker.reveal(id, this.#scope.run.id)).reveal().toString('utf8').trim();
    // It becomes a variable or a header: what would end one is no value of either.
    if (!/^[\x20-\x7e]+$/.test(value))
      throw new RangeError(`the value of ${this.name} cannot stand in a header or a variable`);
    this.#known = { value, until: clock.monotonic() + KEPT };
    return value;
  }
}
