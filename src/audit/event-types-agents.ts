import * as z from 'zod';
import { count, digest, runId, type Spec, text, time, word } from './event-fields.ts';

/** A part of what an agent is told to do: whose word it is, and which text. */
export const promptPart = () =>
  z.strictObject({
    /** `requester`, or where it came from in short. */
    from: text,
    kind: word.optional(),
    by: text.nullable().optional(),
    source: text.nullable().optional(),
    bytes: count,
    digest: digest.optional(),
  });

/** Agents: where they came from, what they said, and the tools that Cordon carried out for them. */
export const agentSpecs = {
  /** The files an agent is made of, fetched from npm; of no run. */
  'agent.install': { phase: 'intent', resource: () => z.strictObject({ agent: text, package: text, version: text }) },
  'agent.installed': {
    phase: 'outcome',
    closes: ['agent.install'],
    resource: () => z.strictObject({ agent: text, package: text, version: text }),
    outcome: () =>
      z.strictObject({
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
    resource: () =>
      z.strictObject({
        agent: text,
        version: text,
        source: z.enum(['installed', 'host', 'built-in']),
        /** Null for the one that is part of Cordon. */
        tree: digest.nullable(),
        lock: digest.nullable(),
        model: text,
        /** Where the parts of the prompt came from, in order. */
        prompt: z.array(promptPart()),
      }),
    /** Of the built-in agent: all that it takes to begin this run again, its policy documents. */
    content: 'optional',
  },
  /** What an agent said it did, in order; its own words, cut. All of it is in what was kept of its output. */
  'agent.message': {
    phase: 'fact',
    resource: () =>
      z.strictObject({ kind: z.enum(['message', 'reasoning', 'plan', 'trouble']), text, characters: count }),
    /** Of the built-in agent: the whole answer of its model, with the calls in it. */
    content: 'optional',
  },
  'agent.tool.called': {
    phase: 'fact',
    resource: () => z.strictObject({ id: text, tool: text, input: text, characters: count }),
  },
  'agent.tool.returned': {
    phase: 'fact',
    resource: () => z.strictObject({ id: text, ok: z.boolean(), text, characters: count }),
  },
  /** A tool that Cordon itself carries out is asked for: decided upon, and not yet done. The whole call is content. */
  'tool.requested': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        server: text,
        tool: text,
        id: text,
        /** Answers of the model so far; null where the agent is inside, and its steps are its own. */
        step: count.nullable(),
        /** In a few words. */
        input: text,
        characters: count,
      }),
    decision: 'required',
    content: 'optional',
  },
  /** What came of it; what the model was told of that is content. */
  'tool.ended': {
    phase: 'outcome',
    closes: ['tool.requested'],
    resource: () => z.strictObject({ server: text, tool: text, id: text }),
    outcome: () =>
      z.strictObject({
        result: z.enum(['done', 'failed', 'denied']),
        text,
        characters: count,
        durationMs: count,
      }),
    content: 'optional',
  },
  /** What a tool left in the workspace, so that the run can go on if its process dies. The files are content. */
  'workspace.kept': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        /** Names that are other than they were the last time. */
        files: count,
        gone: count,
        bytes: count,
        /** Files that hold what may be a secret, and are not kept for that. */
        withheld: count,
        /** Why it is not all of it, and no more will be; null when it is. */
        cut: text.nullable(),
      }),
    content: 'optional',
  },
  /** A run goes on where a lost one was. The conversation so far is content. */
  'agent.resumed': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        run: runId,
        /** Of the lost run, and of those that it went on from. */
        steps: count,
        toolCalls: count,
        requests: count,
        tokens: count,
        nanoUsd: count,
        /** Milliseconds that their agents were at work, as far as the record tells. */
        elapsedMs: count.optional(),
        /** Calls of each MCP server. */
        calls: z.record(text, count).optional(),
        /** Calls of which it is not known whether they were done, or what of them is left; in words. */
        uncertain: z.array(text),
        /** Names of the workspace that were put back. */
        files: count,
      }),
    content: 'optional',
  },
  /** What an agent that is talked with is told; its name and version as it says them. */
  'agent.prompted': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        name: text.nullable(),
        version: text.nullable(),
        prompt: z.array(promptPart()),
      }),
  },
  /** A tool that was asked about before it is used, and what was said. */
  'tool.asked': {
    phase: 'intent',
    resource: () => z.strictObject({ server: text, tool: text, /** As the caller names the call. */ call: text }),
    decision: 'required',
    /** All that it said of the call. */
    content: 'optional',
  },
  'tool.answered': {
    phase: 'outcome',
    closes: ['tool.asked'],
    resource: () => z.strictObject({ server: text, tool: text, call: text }),
    outcome: () => z.strictObject({ result: text, reason: text.nullable() }),
  },
  'agent.ended': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        ok: z.boolean(),
        reason: text.nullable(),
        steps: count,
        toolCalls: count,
        /** Steps beyond what is recorded one by one, and lines that were no part of its stream. */
        unrecorded: count,
        unread: count,
        /** As the agent tells it. */
        tokens: z.strictObject({ input: count, output: count }),
        /** When it had said all, where that is not the end of its program: what goes on after it is ended with the run. */
        at: time.optional(),
      }),
  },
} as const satisfies Record<string, Spec>;
