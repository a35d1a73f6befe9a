import type { ContentStore } from '../audit/content.ts';
import { ColouredRedaction, type Redactor } from '../base/redact/index.ts';
import type { Execution } from '../sandbox/sandbox.ts';
import type { RunLog } from './run-log.ts';

/**
 * What the agent wrote, kept with its order: one JSON object a line, `{"t": milliseconds since the start, "s": "out" |
 * "err", "d": text}`, or `"b"` (base64) for what is not UTF-8. Bounded: what comes after the limit is counted, not kept.
 */
const OUTPUT_MEDIA_TYPE = 'application/vnd.cordon.output+jsonl';

export class AgentOutput {
  readonly #limit: number;
  readonly #now: () => number;
  readonly #show: (stream: 'stdout' | 'stderr', chunk: Buffer) => void;
  readonly #start: number;
  readonly #redactor: Redactor;
  readonly #lines: Buffer[] = [];
  #kept = 0;
  bytes = 0;
  cut = false;

  /** `redactor`: takes what it knows out of everything, before it is shown or kept. */
  constructor(
    limit: number,
    now: () => number,
    show: (stream: 'stdout' | 'stderr', chunk: Buffer) => void,
    redactor: Redactor,
  ) {
    this.#redactor = redactor;
    this.#limit = limit;
    this.#now = now;
    this.#show = show;
    this.#start = now();
  }

  /** Reads both streams to their end. `heard`: takes standard output first, as it came; it is read on when that resolves. */
  async follow(
    execution: Pick<Execution, 'stdout' | 'stderr'>,
    heard?: (chunk: Buffer) => Promise<void>,
  ): Promise<void> {
    await Promise.all(
      (['stdout', 'stderr'] as const).map(async (stream) => {
        // As it is, since a value may hold what looks like a colour, and as it is shown, without colours.
        const plain = this.#redactor.open();
        const shown = new ColouredRedaction(this.#redactor.open());
        const pass = (chunk: Buffer, last: boolean) => {
          for (const piece of plain.write(chunk, last))
            for (const part of shown.write(piece, false)) this.#take(stream, part);
          if (last) for (const part of shown.write(Buffer.alloc(0), true)) this.#take(stream, part);
        };
        try {
          for await (const chunk of execution[stream]) {
            if (stream === 'stdout') await heard?.(chunk as Buffer);
            pass(chunk as Buffer, false);
          }
        } catch {
          // The sandbox was ended under it; what came until then is kept.
        }
        pass(Buffer.alloc(0), true);
      }),
    );
  }

  #take(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.bytes += chunk.length;
    this.#show(stream, chunk);
    const room = this.#limit - this.#kept;
    if (chunk.length > room) this.cut = true;
    const piece = chunk.subarray(0, Math.max(0, room));
    if (piece.length === 0) return;
    this.#kept += piece.length;
    const text = piece.toString('utf8');
    const data = text.includes('\ufffd') ? { b: piece.toString('base64') } : { d: text };
    const line = { t: Math.round(this.#now() - this.#start), s: stream === 'stdout' ? 'out' : 'err', ...data };
    this.#lines.push(Buffer.from(`${JSON.stringify(line)}\n`));
  }

  /** Puts what was kept beside the log and records it. */
  async keep(run: string, content: ContentStore, log: RunLog): Promise<void> {
    if (this.bytes === 0) return;
    const ref = await content.put(run, this.#lines, {
      mediaType: OUTPUT_MEDIA_TYPE,
      maxBytes: this.#limit * 8 + 65_536,
    });
    await log.append(
      {
        type: 'output.kept',
        action: null,
        resource: { stream: 'both', bytes: this.bytes, cut: this.cut },
        content: ref,
      },
      'agent',
    );
  }
}
