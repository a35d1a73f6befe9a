import * as z from 'zod';

/** What all types of events are made of (event-types.ts has the table). */
export const text = z.string();
export const count = z.int().nonnegative();
export const seq = z.int().nonnegative();
export const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256: and 64 hex digits');
export const hex = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');
export const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'expected RFC 3339 in UTC with milliseconds');
/** A word of Cordon's own, by which programs tell one thing from another: never rewritten (event-text.ts). */
export const word = z.string().regex(/^[a-z][A-Za-z0-9_.-]{0,63}$/, 'expected a word');
/** The same, of a table that grows (runs/run.ts). */
export const ownWord = z.string();
export const runState = z.enum([
  'created',
  'preparing',
  'running',
  'delivering',
  'succeeded',
  'failed',
  'denied',
  'approval_denied',
  'limit',
  'enforcement',
  'outside',
  'cancelled',
  'lost',
]);
export const secretName = z.string().regex(/^[A-Z_][A-Z0-9_]{0,99}$/, 'expected the name of a secret');
export const runId = z.string().regex(/^[0-9a-hjkmnp-tv-z]{16}$/, 'expected a run id');
export const none = z.strictObject({});

export const principalSchema = z.strictObject({
  id: text.min(1),
  kind: z.enum(['user', 'service', 'agent', 'system']),
  onBehalfOf: text.optional(),
});

export const decisionSchema = z.strictObject({
  effect: z.enum(['permit', 'deny', 'ask']),
  /** The rules that determined it, as `file:line text`; empty when nothing permitted it. */
  rules: z.array(text),
  policyDigest: digest,
  /** Of exactly what was decided upon. */
  subjectDigest: digest,
  reason: text,
});

export const contentRefSchema = z.strictObject({
  id: z.string().regex(/^[0-9a-hjkmnp-tv-z]{16}$/, 'expected a content id'),
  /** Salted (content.ts): says nothing about low-entropy content once the salt is gone. */
  digest: z.string().regex(/^hmac-sha256:[0-9a-f]{64}$/, 'expected hmac-sha256: and 64 hex digits'),
  mediaType: text,
  bytes: count,
});

export type Phase = 'intent' | 'outcome' | 'fact';

/** Schemas are made when an event of their type is met: a process meets few of all types. */
export interface Spec {
  phase: Phase;
  /** For an outcome: the intents it closes. */
  closes?: readonly string[];
  resource: () => z.ZodType;
  outcome?: () => z.ZodType;
  /** Whether `decision` and `content` may stand there, or must. */
  decision?: 'required' | 'optional';
  content?: 'required' | 'optional';
}
