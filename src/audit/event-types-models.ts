import * as z from 'zod';
import { count, digest, type Spec, text, word } from './event-fields.ts';

/** Events of language models: their requests, and what a replay answers in their place. */
export const modelSpecs = {
  /** A request to a language model, judged and redacted, before it leaves. */
  'llm.request': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        provider: text,
        model: text,
        /** The name the agent used. */
        asked: text,
        wire: word,
        operation: word,
        stream: z.boolean(),
        /** Of the body as it leaves. */
        requestDigest: digest,
        bytes: count,
        requestId: text,
        features: z.array(text),
        /** Names of secrets that were taken out of the prompt, with how often. */
        redacted: z.record(text, count),
        dropped: z.array(text),
      }),
    decision: 'required',
  },
  'llm.response': {
    phase: 'outcome',
    closes: ['llm.request'],
    resource: () => z.strictObject({ provider: text, model: text }),
    outcome: () =>
      z.strictObject({
        result: word,
        reason: text.nullable(),
        status: count.nullable(),
        finish: text.nullable(),
        tokens: z
          .strictObject({
            input: count,
            output: count,
            cached: count,
            cacheWrite: count,
            cacheWriteLong: count.optional(),
          })
          .nullable(),
        /** Worked out from bytes: the provider did not tell. */
        estimated: z.boolean(),
        /** Billionths of a US dollar; null for a model without a price. */
        nanoUsd: count.nullable(),
        bytesIn: count,
        attempts: count,
        firstByteMs: count.nullable(),
        durationMs: count,
        upstreamId: text.nullable(),
      }),
  },
  /** A question to a model that a replay answered from the recording: `exact`, `like`, `next`, `missing`. */
  'llm.replayed': { phase: 'fact', resource: () => z.strictObject({ wire: word, fit: word }) },
  /** Most of a budget is used. */
  'llm.budget': { phase: 'fact', resource: () => z.strictObject({ budget: text, percent: count }) },
  /** What never came to a decision: an endpoint that is not offered, a wrong token, a request that no provider has words for. */
  'llm.unjudged': { phase: 'fact', resource: () => z.strictObject({ what: word, detail: text }) },
} as const satisfies Record<string, Spec>;
