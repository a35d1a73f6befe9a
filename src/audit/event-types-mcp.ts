import * as z from 'zod';
import { count, digest, hex, type Spec, text, word } from './event-fields.ts';

/** MCP servers that the policy names. Calls of their tools are `tool.requested` and `tool.ended`. */
export const mcpSpecs = {
  /** A server is about to be started in a sandbox of its own, or reached over the network. */
  'mcp.start': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        server: text,
        how: z.enum(['command', 'url']),
        /** Its command line, or its URL without the query. */
        where: z.array(text),
        /** The line of the policy that names it. */
        rule: text,
        attempt: count,
      }),
  },
  'mcp.started': {
    phase: 'outcome',
    closes: ['mcp.start'],
    /** As it calls itself. */
    resource: () =>
      z.strictObject({
        server: text,
        name: text.nullable(),
        version: text.nullable(),
        protocol: text.nullable(),
      }),
    outcome: () => z.strictObject({ result: z.enum(['done', 'failed']), reason: text.nullable() }),
  },
  /** What it wrote to its standard error, as far as that is kept, is content. */
  'mcp.stopped': {
    phase: 'fact',
    resource: () => z.strictObject({ server: text, reason: text, stderrBytes: count }),
    content: 'optional',
  },
  /** The tools that an agent was told of; in `changed`, those that were told otherwise before. The listing is content. */
  'mcp.tools': {
    phase: 'fact',
    resource: () => z.strictObject({ server: text, digest, tools: count, hidden: count, changed: z.array(text) }),
    content: 'optional',
  },
  /** What a server asked of its client and did not get, or sent without meaning. */
  'mcp.refused': { phase: 'fact', resource: () => z.strictObject({ server: text, what: word, detail: text }) },
  /** What of the guest never came to a decision: a token that is not this run's, a message that is none. */
  'mcp.unjudged': {
    phase: 'fact',
    resource: () => z.strictObject({ what: word, server: text.nullable(), detail: text }),
  },
  /** A program that ran in a server's sandbox, when it ended. */
  'mcp.command': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        server: text,
        argv: z.array(text),
        path: text,
        sha256: hex.nullable(),
        end: text,
      }),
  },
  /** An answer that a replay gave from the recording: `exact`, `like`, `missing`. */
  'mcp.replayed': { phase: 'fact', resource: () => z.strictObject({ server: text, method: text, fit: word }) },
} as const satisfies Record<string, Spec>;
