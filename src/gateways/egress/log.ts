/** What the gateway tells the audit log, in the order in which it happens. */
import type { Decision } from '../../policy/index.ts';
import type { DependencyEvent } from './packages/hook.ts';
import type { Result } from './refusal.ts';

/** One crossing of the boundary, before it happens. Method and path are null for a tunnel that nobody looks into. */
export interface CrossingDecided {
  readonly host: string;
  readonly port: number;
  readonly method: string | null;
  /** Canonical and without its query, where values would be secrets. */
  readonly path: string | null;
  readonly decision: Decision;
}

/** The same, afterwards. `address` is null when nothing was dialled. */
export interface CrossingClosed {
  readonly host: string;
  readonly port: number;
  readonly address: string | null;
  readonly result: Result;
  readonly status: number | null;
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly durationMs: number;
}

/** What never came to a decision: bytes with no meaning, or a name that was asked for and is not answered. */
export interface Unjudged {
  readonly via: 'proxy' | 'http' | 'tls' | 'dns';
  readonly host: string | null;
  readonly detail: string;
}

export interface EgressLog {
  /** Resolves when durable, with what `closed` will be given; nothing happens before. A rejection refuses the crossing. */
  decided(event: CrossingDecided): Promise<unknown>;
  /** A rejection ends the whole gateway: what cannot be recorded does not go on. */
  closed(token: unknown, event: CrossingClosed): void | Promise<void>;
  unjudged(event: Unjudged): void;
  /** Of the crossing with that token; in order with the others. */
  dependency(token: unknown, event: DependencyEvent): void;
}
