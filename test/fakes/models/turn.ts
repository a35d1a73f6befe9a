/** What a scripted model says, in no protocol's words; one encoder a protocol turns it into that protocol's. */
export interface Turn {
  readonly text?: string;
  readonly tools?: readonly ToolCall[];
  /** What it thought before it spoke; signed, in protocols that do. */
  readonly thoughts?: string;
  readonly usage?: { readonly input: number; readonly output: number; readonly cached?: number };
  /** In place of an answer. */
  readonly error?: {
    readonly status: number;
    readonly message: string;
    readonly headers?: Readonly<Record<string, string>>;
  };
  /** Pieces of text that go out one by one. */
  readonly pieces?: number;
  /** Milliseconds before anything is said. */
  readonly thinks?: number;
  /** Milliseconds before each event. */
  readonly drip?: number;
  /** After so many events the stream ends with an error of the protocol's own. */
  readonly failAfter?: { readonly events: number; readonly message: string };
  /** The connection breaks after so many events. */
  readonly cutAfter?: number;
  /** Says nothing of what it used. */
  readonly silent?: boolean;
  /** Instead of all of this: bytes as they are. */
  readonly raw?: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: Buffer };
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** For a tool that takes text of any kind: Responses alone has these. */
  readonly input?: string;
  /** The group that the tool stands in. */
  readonly namespace?: string;
}

/** What providers sign or encrypt their thoughts with. */
export const SIGNATURE = Buffer.from('signed by the provider alone').toString('base64');

export interface Encoder {
  /** An answer that is no stream. */
  whole(turn: Turn, model: string): unknown;
  /** The events of a stream, each with its empty line. */
  events(turn: Turn, model: string): string[];
  error(status: number, message: string): unknown;
  /** The event that ends a stream with an error. */
  failure(message: string): string;
}

export const usageOf = (turn: Turn) => ({ input: 10, output: 5, cached: 0, ...turn.usage });

/** The text in as many pieces as the turn says. */
export function piecesOf({ text = '', pieces = 1 }: Turn): string[] {
  if (text === '') return [];
  const size = Math.max(1, Math.ceil(text.length / pieces));
  return Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));
}

export const sse = (data: unknown, event?: string) =>
  `${event === undefined ? '' : `event: ${event}\n`}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
