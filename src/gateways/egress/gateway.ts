import type { SecureContext } from 'node:tls';
import type { AnswerWatch } from '../../base/redact/answer-watch.ts';
import type { Authority } from './authority.ts';
import type { Decoders } from './compressed.ts';
import type { Dialer } from './dial.ts';
import type { Header } from './head.ts';
import type { Ledger } from './ledger.ts';
import type { EgressLimits } from './limits.ts';
import type { Unjudged } from './log.ts';
import type { PackageHook } from './packages/hook.ts';
import type { EgressTape } from './tape.ts';
import type { Target } from './target.ts';

/** What the parts of one run's gateway share. */
export interface Gateway {
  readonly ledger: Ledger;
  readonly dialer: Dialer;
  readonly limits: EgressLimits;
  readonly decoders: Decoders;
  readonly secrets: SecretHook | null;
  /** Null where the policy names no registry. */
  readonly packages: PackageHook | null;
  /** Null when nothing is kept of what hosts answer. */
  readonly tape: EgressTape | null;
  readonly authority: () => Authority;
  /** Trust for upstream certificates. */
  readonly trust: () => SecureContext;
  readonly unjudged: (event: Unjudged) => void;
  /** The name that an address inside the run stands for. */
  readonly nameOf: (address: string) => string | null;
}

/** How secrets reach requests: after the verdict, at the gateway, never in the sandbox. */
export interface SecretHook {
  /** True when requests to it must be looked at because a secret is used, or searched for, there. */
  wants(target: Target): boolean;
  /** Headers to set on a permitted request, in place of those of the same name; or why it may not go. */
  apply(request: SecretRequest): Promise<{ readonly set: readonly Header[] } | { readonly refuse: string }>;
  /**
   * For what follows a permitted request's head, piece by piece in order, `last` with the last one: true when it holds what
   * must not go there; that piece goes no further. `onFailure` is told when this cannot be recorded.
   */
  watchBody(host: string, onFailure: (error: unknown) => void): (piece: Buffer, last: boolean) => boolean;
  /** For what a host answers; null where no value was sent to it. */
  watchAnswer(host: string): AnswerWatch | null;
}

export interface SecretRequest extends Target {
  readonly method: string;
  readonly path: string;
  readonly query: string | null;
  readonly headers: readonly Header[];
}

export function mustInspect(gateway: Gateway, target: Target): boolean {
  return gateway.ledger.facts(target).inspect || (gateway.secrets?.wants(target) ?? false);
}
