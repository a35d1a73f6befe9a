import * as z from 'zod';
import { count, digest, runId, type Spec, text, time } from './event-fields.ts';

/** Signatures of commits, and of statements about them. */
export const signingSpecs = {
  /** The key of a run, made for its first signature; it exists in the memory of the process that drives the run. */
  'git.certified': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        /** Decimal, 64 bits. */
        serial: z.string().regex(/^[1-9]\d{0,19}$/),
        keyId: text,
        /** `SHA256:…` of the public keys, as ssh-keygen shows them. */
        key: text,
        authority: text,
        principals: z.array(text),
        validAfter: time,
        validBefore: time,
      }),
  },
  /** A commit that is to be signed; nulls where it is none. */
  'git.sign.decided': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        /** Of exactly what would be signed. */
        payload: digest,
        tree: text.nullable(),
        parents: z.array(text),
        author: text.nullable(),
        committer: text.nullable(),
      }),
    decision: 'optional',
  },
  'git.signed': {
    phase: 'outcome',
    closes: ['git.sign.decided'],
    resource: () => z.strictObject({ payload: digest, /** With its signature. */ commit: text.nullable() }),
    outcome: () => z.strictObject({ result: z.enum(['signed', 'refused']), reason: text.nullable() }),
  },
  'git.revoked': {
    phase: 'fact',
    resource: () => z.strictObject({ run: runId, serial: text, authority: text }),
  },
  /** A statement about a push that was permitted was signed; made durable before the push is forwarded. */
  'attestation.issued': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        /** Of the DSSE envelope in canonical JSON, its signature included. */
        envelope: digest,
        /** Of the public key. */
        key: digest,
        predicateType: text,
        repository: text,
        ref: text,
        to: text,
        commits: count,
      }),
  },
} as const satisfies Record<string, Spec>;
