import type { AskedCall, ChatRequest } from './conversation.ts';

/** A language model that speaks Chat Completions. */
export interface Model {
  /** Throws {@link ModelError}, or the signal's reason. */
  ask(request: ChatRequest, signal: AbortSignal): Promise<Answer>;
}

export interface Answer {
  readonly text: string;
  readonly calls: readonly AskedCall[];
  /** `stop`, `tool_calls`, `length`, …; null when the stream did not tell. */
  readonly finish: string | null;
  /** Tokens, as the provider counts them; null when it does not tell. */
  readonly used: { readonly input: number; readonly output: number } | null;
}

/**
 * `budget`: spent, for good. `denied`: the policy, or what is set up, does not let this run have it. `context`: the conversation is too long for
 * the model. `tools`: it knows no tools. `busy`: later, perhaps. `broken`: this answer was none. `failed`: asking again would not help.
 */
export type ModelFault = 'budget' | 'denied' | 'context' | 'tools' | 'busy' | 'broken' | 'failed';

export class ModelError extends Error {
  readonly fault: ModelFault;
  /** Milliseconds to wait, where the provider said so. */
  readonly after: number | null;

  constructor(fault: ModelFault, message: string, after: number | null = null) {
    super(message);
    this.fault = fault;
    this.after = after;
  }
}

/** Providers say it in words, and each in its own. */
const TOO_LONG =
  /context.{0,20}(length|window|size|limit)|maximum.{0,20}(context|tokens)|too many (input )?tokens|(prompt|input|request).{0,20}too (long|large)|exceeds?.{0,40}tokens|tokens.{0,20}exceed/i;
const NO_TOOLS =
  /(does not|doesn't|not|no) .{0,20}support.{0,40}(tool|function)|(tool|function).{0,40}(not supported|unsupported)|tools?.{0,20}(unknown|unrecognized|not permitted)/i;

/** What an answer's status, code and words mean for whoever asked. */
export function faultOf(status: number, code: string, message: string): ModelFault {
  if (code === 'budget_exceeded') return 'budget';
  if (status === 429) return 'busy';
  if (status === 413 || (status === 400 && TOO_LONG.test(message))) return 'context';
  if (status === 400 && NO_TOOLS.test(message)) return 'tools';
  if (status === 401 || status === 403 || code === 'model_not_found') return 'denied';
  if (code === 'provider_refused' || code === 'provider_key') return 'failed';
  return status >= 500 || status === 408 ? 'busy' : 'failed';
}
