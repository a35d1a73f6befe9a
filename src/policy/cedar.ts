import { createRequire } from 'node:module';
import type * as Cedar from '@cedar-policy/cedar-wasm/nodejs';
import { cedarSchema } from './cedar-schema.ts';

/**
 * The Cedar engine. It is a 4 MB WebAssembly module that takes 20 to 60 ms to get going, so it is loaded when first
 * needed, not when this file is. Its caches of parsed schemas and policy sets live as long as the thread and cannot be
 * emptied, only overwritten: sets are kept in a fixed number of slots, the one used longest ago makes room.
 */
export type { Cedar };

const SCHEMA_NAME = 'cordon';
const SLOTS = 64;

let module: typeof Cedar | undefined;
/** Policy set key → slot; a Map keeps the order of use. */
const slots = new Map<string, string>();

/** The engine, ready. Calling it early (while something else is waited for) takes its start off the path of a run. */
export function cedar(): typeof Cedar {
  if (module === undefined) {
    const loaded: typeof Cedar = createRequire(import.meta.url)('@cedar-policy/cedar-wasm/nodejs');
    const answer = loaded.preparseSchema(SCHEMA_NAME, cedarSchema);
    if (answer.type === 'failure')
      throw new Error(`the built-in Cedar schema does not parse: ${answer.errors[0]?.message}`);
    const version = loaded.getCedarSDKVersion();
    if (version !== CEDAR_VERSION) throw new Error(`Cedar is ${version}, but digests would say ${CEDAR_VERSION}`);
    module = loaded;
  }
  return module;
}

/** Part of every policy's digest. A constant, so that compiling a document without `rules` needs no engine at all. */
export const CEDAR_VERSION = '4.13.0';

/** Policies by id. `key` names this set among all sets (policy digest and action). */
export interface PolicySet {
  readonly key: string;
  readonly policies: Readonly<Record<string, Cedar.PolicyJson>>;
}

export interface CedarRequest {
  readonly action: string;
  readonly resource: { readonly type: string; readonly id: string };
  readonly context: Cedar.Context;
}

export interface CedarAnswer {
  readonly allow: boolean;
  /** Ids of the policies that determined it. */
  readonly reasons: readonly string[];
  /** Policies that could not be evaluated. Cedar skips those, so a `forbid` that errors would let a permit stand: callers deny. */
  readonly errors: readonly { readonly id: string; readonly message: string }[];
  /** Set when the request itself was refused (it does not fit the schema). */
  readonly failure?: string;
}

const principal = { type: 'Agent', id: 'run' } as const;

export function ask(set: PolicySet, request: CedarRequest): CedarAnswer {
  const engine = cedar();
  const answer = engine.statefulIsAuthorized({
    principal,
    action: { type: 'Action', id: request.action },
    resource: request.resource,
    context: request.context,
    entities: [],
    preparsedSchemaName: SCHEMA_NAME,
    validateRequest: true,
    preparsedPolicySetId: slotOf(set, engine),
  });
  if (answer.type === 'failure')
    return { allow: false, reasons: [], errors: [], failure: answer.errors.map((e) => e.message).join('; ') };
  const { decision, diagnostics } = answer.response;
  const errors = diagnostics.errors.map((e) => ({ id: e.policyId, message: e.error.message }));
  return { allow: decision === 'allow' && errors.length === 0, reasons: diagnostics.reason, errors };
}

function slotOf(set: PolicySet, engine: typeof Cedar): string {
  const known = slots.get(set.key);
  if (known !== undefined) {
    slots.delete(set.key);
    slots.set(set.key, known);
    return known;
  }
  const oldest = slots.size < SLOTS ? undefined : slots.entries().next().value;
  const slot = oldest === undefined ? `slot-${slots.size}` : oldest[1];
  const answer = engine.preparsePolicySet(slot, { staticPolicies: { ...set.policies } });
  if (answer.type === 'failure') throw new Error(`compiled policies do not parse: ${answer.errors[0]?.message}`);
  if (oldest !== undefined) slots.delete(oldest[0]);
  slots.set(set.key, slot);
  return slot;
}
