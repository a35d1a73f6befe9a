import type { Message } from './conversation.ts';

/** Tokens, where the settings name none. */
const DEFAULT_CONTEXT = 128_000;
/** Characters a token, until a provider has told how it counts. Code has fewer than prose. */
const CHARACTERS = 3.5;
/** Characters that a message costs besides its text. */
const OVERHEAD = 24;
/** Share of the window that a prompt may fill; and down to which it is cut when it would be more. */
const FULL = 0.75;
const AFTER = 0.5;
/** Results that are kept whole when older ones go. */
const RECENT = 6;
/** Characters of a result below which dropping it saves nothing. */
const SMALL = 400;

/** How much of a model's window a conversation takes, learned from what the provider counts. */
export class Window {
  readonly tokens: number;
  readonly #fixed: number;
  #ratio = CHARACTERS;
  /** Shrinks when a provider refuses what was thought to fit. */
  #usable: number;

  /** `context`: tokens of prompt and answer together; null where it is not known. `fixed`: characters sent with every request. */
  constructor(context: number | null, maxOutput: number | null, fixed: number) {
    this.tokens = context ?? DEFAULT_CONTEXT;
    this.#fixed = fixed;
    const answer = Math.min(maxOutput ?? 8_192, Math.floor(this.tokens / 4));
    this.#usable = this.tokens - answer;
  }

  /** Characters of a tool's result that are shown at most: a small window must hold several. */
  get shown(): number {
    return Math.max(2_000, Math.min(30_000, Math.floor((this.#usable * CHARACTERS) / 8)));
  }

  estimate(messages: readonly Message[]): number {
    const characters = messages.reduce((sum, message) => sum + sizeOf(message), this.#fixed);
    return Math.ceil(characters / this.#ratio);
  }

  /** What a provider counted for exactly these. */
  learn(messages: readonly Message[], tokens: number): void {
    const characters = messages.reduce((sum, message) => sum + sizeOf(message), this.#fixed);
    if (tokens < 500) return;
    const ratio = characters / tokens;
    if (ratio > 0.5 && ratio < 10) this.#ratio = (this.#ratio + ratio) / 2;
  }

  refused(messages: readonly Message[]): void {
    this.#usable = Math.max(1_000, Math.min(this.#usable, this.estimate(messages)) * 0.7);
  }

  isFull(messages: readonly Message[]): boolean {
    return this.estimate(messages) > this.#usable * FULL;
  }

  isRoomy(messages: readonly Message[]): boolean {
    return this.estimate(messages) <= this.#usable * AFTER;
  }
}

export function sizeOf(message: Message): number {
  if (message.kind !== 'assistant') return message.text.length + OVERHEAD;
  const calls = message.calls.reduce((sum, call) => sum + call.name.length + call.arguments.length + OVERHEAD, 0);
  return message.text.length + calls + OVERHEAD;
}

/**
 * Old results go first, oldest before newer: what they said can be had again. Returns the same conversation with as many of
 * them emptied as are needed to make room; the most recent stay.
 */
export function withoutOldResults(messages: readonly Message[], window: Window): readonly Message[] {
  const pruned = [...messages];
  const results = messages.flatMap((message, i) => (message.kind === 'result' ? [i] : []));
  for (const i of results.slice(0, -RECENT)) {
    const message = pruned[i];
    if (message?.kind !== 'result' || message.text.length <= SMALL) continue;
    const text = `[this result of ${message.text.length} characters was dropped to make room; call ${message.tool} again if you need it]`;
    pruned[i] = { ...message, text };
    if (window.isRoomy(pruned)) break;
  }
  return pruned;
}

/**
 * Where a conversation may be cut in two: the index of the first message to keep. Never between a call and its results; at least
 * the last turn stays. 0 when there is nothing to put before the cut.
 */
export function cutPoint(messages: readonly Message[], window: Window): number {
  const starts = messages.flatMap((message, i) => (message.kind === 'result' ? [] : [i]));
  const pinned = messages.findLastIndex((message) => message.kind === 'user' && message.pinned === true);
  const possible = starts.filter((i) => i > pinned + 1);
  return possible.find((i) => window.isRoomy(messages.slice(i))) ?? possible.at(-1) ?? 0;
}
