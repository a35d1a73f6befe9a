import * as z from 'zod';
import { count, none, type Spec, secretName, text, word } from './event-fields.ts';

const result = z.strictObject({ result: z.enum(['done', 'failed']), reason: text.nullable() });
const patterns = z.array(text).optional();
const scopesSchema = z.strictObject({
  repositories: patterns,
  agents: patterns,
  workflows: patterns,
  environments: patterns,
  hosts: patterns,
});

const secretUse = () =>
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('header'), host: text, header: text }),
    z.strictObject({ kind: z.literal('env'), variable: text }),
    z.strictObject({ kind: z.literal('file'), path: text }),
    z.strictObject({ kind: z.literal('provider'), provider: text, host: text }),
  ]);

/** Secrets: what may be granted, what a run was lent, and what became of it. Never a value. */
export const secretSpecs = {
  /** What may be granted is about to change; without a value, as all events of secrets. */
  'secret.change': {
    phase: 'intent',
    resource: () => z.strictObject({ secret: secretName, change: z.enum(['set', 'remove']), scopes: scopesSchema }),
  },
  'secret.changed': {
    phase: 'outcome',
    closes: ['secret.change'],
    resource: () => z.strictObject({ secret: secretName, version: text.nullable() }),
    outcome: () => result,
  },
  /** All secrets of this machine are about to be sealed with another master key; the keys by where they are. */
  'secret.key.change': { phase: 'intent', resource: () => none },
  'secret.key.changed': {
    phase: 'outcome',
    closes: ['secret.key.change'],
    resource: () => z.strictObject({ from: text.nullable(), to: text.nullable(), secrets: count }),
    outcome: () => result,
  },
  /** A run may from now on have a secret used for it. */
  'secret.granted': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        secret: secretName,
        /** Names the grant in the other events; no part of its placeholder. */
        grant: text,
        use: secretUse(),
        source: word,
        version: text.nullable(),
      }),
    decision: 'optional',
  },
  /** Policy, or the secret's own scopes, did not let the run have it. */
  'secret.refused': {
    phase: 'fact',
    resource: () => z.strictObject({ secret: secretName, use: secretUse(), reason: text }),
    decision: 'required',
  },
  /** Recorded before the value leaves; what came of it is the outcome of the request that is its cause. */
  'secret.used': {
    phase: 'fact',
    resource: () => z.strictObject({ secret: secretName, grant: text, host: text.nullable(), header: text.nullable() }),
    decision: 'optional',
  },
  /** Of one run by the process that drives it; of all (`run` null) by who revoked it: `unanswered` did not confirm in time. */
  'secret.revoked': {
    phase: 'fact',
    resource: () => z.strictObject({ secret: secretName, runs: z.array(text), unanswered: z.array(text) }),
  },
  /** A placeholder where it has no business, or one that is not this run's; or a value in what its host answered. */
  'secret.alarm': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        secret: secretName,
        grant: text.nullable(),
        where: text,
        host: text.nullable(),
        what: text,
      }),
  },
} as const satisfies Record<string, Spec>;
