import * as z from 'zod';
import { count, digest, type Spec, text } from './event-fields.ts';

/** Agents that are programs of their own: where they came from, and what they said. */
export const agentSpecs = {
  /** The files an agent is made of, fetched from npm; of no run. */
  'agent.install': { phase: 'intent', resource: z.strictObject({ agent: text, package: text, version: text }) },
  'agent.installed': {
    phase: 'outcome',
    closes: ['agent.install'],
    resource: z.strictObject({ agent: text, package: text, version: text }),
    outcome: z.strictObject({
      result: z.enum(['done', 'failed']),
      reason: text.nullable(),
      /** Of the package, as the registry told; of npm's lock file; over every file. */
      integrity: text.nullable(),
      lock: digest.nullable(),
      tree: digest.nullable(),
    }),
  },
  /** Which agent a run starts, and what of: before it starts. */
  'agent.prepared': {
    phase: 'fact',
    resource: z.strictObject({
      agent: text,
      version: text,
      source: z.enum(['installed', 'host']),
      tree: digest,
      lock: digest.nullable(),
      model: text,
      /** Where the parts of the prompt came from, in order. */
      prompt: z.array(z.strictObject({ from: text, bytes: count })),
    }),
  },
  /** What an agent said it did, in order; its own words, cut. All of it is in what was kept of its output. */
  'agent.message': {
    phase: 'fact',
    resource: z.strictObject({ kind: z.enum(['message', 'reasoning', 'trouble']), text, characters: count }),
  },
  'agent.tool.called': {
    phase: 'fact',
    resource: z.strictObject({ id: text, tool: text, input: text, characters: count }),
  },
  'agent.tool.returned': {
    phase: 'fact',
    resource: z.strictObject({ id: text, ok: z.boolean(), text, characters: count }),
  },
  'agent.ended': {
    phase: 'fact',
    resource: z.strictObject({
      ok: z.boolean(),
      reason: text.nullable(),
      steps: count,
      toolCalls: count,
      /** Steps beyond what is recorded one by one, and lines that were no part of its stream. */
      unrecorded: count,
      unread: count,
      /** As the agent tells it. */
      tokens: z.strictObject({ input: count, output: count }),
    }),
  },
} as const satisfies Record<string, Spec>;
