/** What the record of a lost run of the built-in agent says, for its work to go on. */
import { join } from 'node:path';
import * as z from 'zod';
import {
  type KeptAnswer,
  type KeptCall,
  keptAnswer,
  resumedSchema,
  type TakenUp,
  takeUp,
} from '../agents/builtin/resumed.ts';
import type { ContentStore } from '../audit/content.ts';
import type { AuditEvent, ContentRef } from '../audit/event.ts';
import { readEvents } from '../audit/read.ts';
import { ConflictError, NotFoundError } from '../base/errors.ts';
import type { Spent } from '../gateways/llm/amounts.ts';
import type { Source } from '../policy/index.ts';
import { callsOf, elapsedOf } from './used-before.ts';

export interface Documents {
  readonly organisation: Source | null;
  readonly repository: Source | null;
}

export interface Resumption {
  /** The lost run. */
  readonly run: string;
  readonly taken: TakenUp;
  /** What was kept of its workspace, oldest first. */
  readonly packs: readonly ContentRef[];
  /** What it, and those that it went on from, used of models. */
  readonly spent: Spent;
  /** Milliseconds that they were at work, from their start to the last that is recorded of each. */
  readonly elapsedMs: number;
  /** Their calls of each MCP server. */
  readonly calls: Readonly<Record<string, number>>;
  /** The policy documents it ran under. */
  readonly documents: Documents;
  /** `provider/model`, as far as it had asked one. */
  readonly model: string | null;
}

const source = z.object({ file: z.string(), text: z.string() }).nullable();
const begunSchema = z.object({ documents: z.object({ organisation: source, repository: source }) });

/** Bytes of one part of the record. */
const MOST = 64 * 1024 * 1024;

/** Throws `ConflictError` for a run of which too little is kept. */
export async function readResumption(home: string, content: ContentStore, run: string): Promise<Resumption> {
  const events = [...readEvents(join(home, 'audit'), { run })].map(({ event }) => event);
  const read = async <T>(schema: z.ZodType<T>, ref: ContentRef): Promise<T> => {
    try {
      return schema.parse(JSON.parse((await content.readAll(run, ref, MOST)).toString('utf8')));
    } catch (cause) {
      if (!(cause instanceof NotFoundError)) throw cause;
      throw new ConflictError(`what run ${run} kept of its work was deleted by retention`, { cause });
    }
  };
  const prepared = events.find((event) => event.type === 'agent.prepared');
  if (prepared === undefined) {
    throw new ConflictError(`the agent of run ${run} had not begun: there is nothing to go on from`, {
      remedy: 'start it again: cordon run',
    });
  }
  if (prepared.content === undefined) {
    throw new ConflictError(`run ${run} kept nothing of its agent's work to go on from`, {
      remedy:
        'runs keep it unless they are started with --no-record, or the policy says llm_policy.logging.prompt_content: none',
    });
  }
  const { documents } = await read(begunSchema, prepared.content as ContentRef);
  const before = events.find((event) => event.type === 'agent.resumed');
  const { packs, until } = packsOf(events);
  if (before !== undefined && until < 0) {
    throw new ConflictError(`run ${run}, which went on from ${before.resource.run}, could not keep its workspace`, {
      remedy: 'give the task to a new run',
    });
  }
  const resumed = before === undefined ? null : await read(resumedSchema, before.content as ContentRef);
  return {
    run,
    taken: takeUp(resumed, await answersOf(events, until, read)),
    packs,
    spent: spentOf(events),
    elapsedMs: elapsedOf(events),
    calls: callsOf(events),
    documents,
    model: modelOf(events, prepared.resource.model),
  };
}

type Read = <T>(schema: z.ZodType<T>, ref: ContentRef) => Promise<T>;

function packsOf(events: readonly AuditEvent[]): { readonly packs: readonly ContentRef[]; readonly until: number } {
  const packs: ContentRef[] = [];
  let until = -1;
  for (const event of events) {
    if (event.type !== 'workspace.kept' || event.resource.cut !== null) continue;
    until = event.seq;
    if (event.content !== undefined) packs.push(event.content as ContentRef);
  }
  return { packs, until };
}

async function answersOf(
  events: readonly AuditEvent[],
  until: number,
  read: Read,
): Promise<{ readonly answer: KeptAnswer; readonly calls: Map<string, KeptCall> }[]> {
  const answers: { answer: KeptAnswer; calls: Map<string, KeptCall> }[] = [];
  const asked = new Map<number, string>();
  for (const event of events) {
    const calls = answers.at(-1)?.calls;
    if (event.type === 'agent.message' && event.resource.kind === 'message' && event.content !== undefined) {
      answers.push({ answer: await read(keptAnswer, event.content as ContentRef), calls: new Map() });
    } else if (event.type === 'tool.requested' && event.resource.step !== null) {
      asked.set(event.seq, event.resource.id);
      calls?.set(event.resource.id, { brief: event.resource.input, outcome: null, kept: false });
    } else if (event.type === 'tool.ended') {
      const id = asked.get(event.cause ?? -1) ?? '';
      const known = calls?.get(id);
      if (known === undefined) continue;
      const { result, text } = event.outcome;
      const whole = event.content === undefined ? text : await read(z.string(), event.content as ContentRef);
      calls?.set(id, { ...known, outcome: { result, text: whole }, kept: (event.cause ?? until) < until });
    }
  }
  return answers;
}

/** Bytes a token at least, for requests whose answer nobody counted. */
const BYTES = 3;

/** What was settled; and of requests without an answer rather too much than too little. */
function spentOf(events: readonly AuditEvent[]): Spent {
  let spent: Spent = { nanoUsd: 0, tokens: 0, requests: 0 };
  const add = (more: Spent) => {
    spent = {
      nanoUsd: spent.nanoUsd + more.nanoUsd,
      tokens: spent.tokens + more.tokens,
      requests: spent.requests + more.requests,
    };
  };
  const open = new Map<number, number>();
  for (const event of events) {
    if (event.type === 'agent.resumed') {
      const { nanoUsd, tokens, requests } = event.resource;
      add({ nanoUsd, tokens, requests });
    } else if (event.type === 'llm.request' && event.decision.effect !== 'deny')
      open.set(event.seq, event.resource.bytes);
    else if (event.type === 'llm.response') {
      const { tokens, nanoUsd } = event.outcome;
      open.delete(event.cause ?? -1);
      add({ nanoUsd: nanoUsd ?? 0, tokens: tokens === null ? 0 : tokens.input + tokens.output, requests: 1 });
    }
  }
  const rate = spent.tokens === 0 ? 0 : spent.nanoUsd / spent.tokens;
  for (const bytes of open.values()) {
    const tokens = Math.ceil(bytes / BYTES);
    add({ nanoUsd: Math.ceil(tokens * rate), tokens, requests: 1 });
  }
  return spent;
}

function modelOf(events: readonly AuditEvent[], name: string): string | null {
  const first = events.find((event) => event.type === 'llm.request' && event.resource.asked === name);
  return first?.type === 'llm.request' ? `${first.resource.provider}/${name}` : null;
}
