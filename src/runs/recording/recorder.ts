import { createReadStream, createWriteStream, type WriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import type { ContentStore } from '../../audit/content.ts';
import type { ContentRef } from '../../audit/event.ts';
import { sha256Hex } from '../../base/digest.ts';
import type { Redactor } from '../../base/redact/index.ts';
import type { AskedBody } from '../../gateways/egress/tape.ts';
import type { Searched } from '../../gateways/llm/ledger.ts';
import { redactedJson } from '../redaction.ts';
import { bodyKey } from './bodies.ts';
import type { Entry, HttpEntry, McpEntry, ModelEntry, StartEntry } from './entry.ts';
import { RECORDING_MEDIA_TYPE } from './entry.ts';
import { likeness, partOf, splitQuestion } from './parts.ts';

/** Of one answer, and of a run's whole recording. Bytes. */
const MAX_ANSWER = 32 * 1024 * 1024;
/** Parts of conversations that are remembered: their digests, 100 bytes each. */
const MAX_KNOWN = 100_000;
const MAX_RECORDING = 512 * 1024 * 1024;
/** What is written at once. Characters. */
const PIECE = 64 * 1024;

export interface RecorderOptions {
  /** A file of the run's folder, which is nobody else's; gone when the recording is kept. */
  readonly file: string;
  readonly redactor: Redactor;
  readonly start: Omit<StartEntry, 'k'>;
  /** Words of this run alone: its id, its token. */
  readonly own: readonly string[];
  /** What its agent draws anew at each start. */
  readonly drawn: readonly RegExp[];
  monotonic(): number;
}

export interface ModelOptions {
  /** All that was asked is kept too. */
  readonly whole?: boolean;
  /** Where the JSON of what was asked has been looked through. */
  readonly searched?: Searched | null;
}

export interface Kept {
  readonly ref: ContentRef;
  readonly entries: number;
  readonly bytes: number;
  /** True when it is not whole. */
  readonly cut: boolean;
}

/** Writes a run's recording as it goes on: in memory are only the answers that are under way. */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #out: WriteStream;
  readonly #own: string[];
  /** A conversation is told again with each of its messages. */
  readonly #known = new Map<string, KnownPart>();
  #parts = 0;
  /** What is not written yet. */
  #lines = '';
  #failure: unknown = null;
  #entries = 0;
  #bytes = 0;
  #cut = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#own = [...options.own];
    this.#out = createWriteStream(options.file, { flags: 'wx', mode: 0o600 });
    this.#out.on('error', (error) => {
      this.#failure = error;
    });
    this.#write({ k: 'start', ...options.start });
  }

  /** Another word of this run alone. */
  own(word: string): void {
    this.#known.clear();
    this.#own.push(word);
  }

  /** An answer of a model to what an agent asked. */
  model(
    wire: string,
    body: Readonly<Record<string, unknown>>,
    { whole = false, searched = null }: ModelOptions = {},
  ): Answering<ModelEntry['headers'], { readonly result: string }> {
    const answer = new Pieces(this.#options);
    return {
      head: (status, headers) => answer.begin(status, headers),
      piece: (bytes) => answer.add(bytes),
      end: ({ result }) => {
        this.#cut ||= answer.cut;
        if (answer.status === null) return;
        const asked = this.#searched(body, searched);
        const parts = this.#partsOf(asked.body);
        this.#write({
          k: 'model',
          wire,
          digest: asked.digest,
          like: likeness(parts),
          asked: whole ? asked.text() : null,
          parts: parts.map(({ id }) => id),
          status: answer.status,
          headers: this.#clean(answer.headers ?? {}),
          pieces: answer.done(),
          result,
        });
      },
    };
  }

  /** An answer of a host. */
  http(
    method: string,
    url: string,
    asked: AskedBody,
  ): Answering<HttpEntry['headers'], { readonly complete: boolean }, string> {
    const answer = new Pieces<HttpEntry['headers']>(this.#options);
    let reason = '';
    return {
      head: (status, headers, words) => {
        reason = words ?? '';
        answer.begin(status, headers);
      },
      piece: (bytes) => answer.add(bytes),
      end: ({ complete }) => {
        this.#cut ||= answer.cut;
        if (answer.status === null) return;
        this.#write({
          k: 'http',
          method,
          url: this.#options.redactor.redact(url),
          body: bodyKey(asked, { own: this.#own, drawn: this.#options.drawn }, this.#options.redactor),
          status: answer.status,
          reason,
          headers: (answer.headers ?? []).map(([name, value]) => [name, this.#options.redactor.redact(value)]),
          pieces: answer.done(),
          complete: complete && !answer.cut,
        });
      },
    };
  }

  /** An answer of an MCP server, or why it gave none. */
  mcp(server: string, method: string, params: Readonly<Record<string, unknown>>, answer: McpEntry['answer']): void {
    const { redactor } = this.#options;
    const asked = JSON.stringify(redactedJson(params, redactor));
    const kept = redactedJson(answer, redactor);
    if (JSON.stringify(kept).length > MAX_ANSWER) {
      this.#cut = true;
      return;
    }
    const like = likeness([partOf(JSON.parse(asked), { own: this.#own, drawn: this.#options.drawn })]);
    this.#write({ k: 'mcp', server, method, digest: sha256Hex(asked), like, answer: kept });
  }

  /** Puts it beside the log. Throws when it could not be written. */
  async keep(run: string, content: ContentStore): Promise<Kept> {
    this.#flush();
    this.#out.end();
    await finished(this.#out).catch(() => {});
    try {
      if (this.#failure !== null) throw this.#failure;
      const source = createReadStream(this.#options.file) as AsyncIterable<Buffer>;
      const ref = await content.put(run, source, { mediaType: RECORDING_MEDIA_TYPE, maxBytes: MAX_RECORDING * 2 });
      return { ref, entries: this.#entries, bytes: this.#bytes, cut: this.#cut };
    } finally {
      await rm(this.#options.file, { force: true });
    }
  }

  /** Of a run that ended before its recording was kept. Idempotent. */
  async drop(): Promise<void> {
    this.#out.destroy();
    await rm(this.#options.file, { force: true });
  }

  /** What was asked, without secrets. What a gateway has searched just now is not searched again. */
  #searched(body: Readonly<Record<string, unknown>>, searched: Searched | null) {
    const { redactor } = this.#options;
    if (searched !== null && searched.knowledge === redactor.knowledge)
      return { body, digest: searched.digest, text: () => JSON.stringify(body) };
    const text = JSON.stringify(body);
    const clean = redactor.redact(text);
    const shown = clean === text ? body : (JSON.parse(clean) as Record<string, unknown>);
    return { body: shown, digest: sha256Hex(clean), text: () => clean };
  }

  #partsOf(asked: Readonly<Record<string, unknown>>): KnownPart[] {
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    return splitQuestion(asked).map((value) => {
      const name = sha256Hex(JSON.stringify(value));
      const before = this.#known.get(name);
      if (before !== undefined) return before;
      const { digest, leaves } = partOf(value, { own: this.#own, drawn: this.#options.drawn });
      const part = { id: this.#parts++, digest };
      this.#known.set(name, part);
      this.#write({
        k: 'part',
        ...part,
        leaves: leaves.map(({ path, digest: of, text, words }) => [path, of, text, words.map(([k, w]) => [k, w])]),
      });
      return part;
    });
  }

  #clean(headers: Readonly<Record<string, string>>): Record<string, string> {
    return Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, this.#options.redactor.redact(value)]),
    );
  }

  #write(entry: Entry): void {
    const line = `${JSON.stringify(entry)}\n`;
    if (this.#bytes + line.length > MAX_RECORDING) {
      this.#cut = true;
      return;
    }
    this.#entries++;
    this.#bytes += line.length;
    this.#lines += line;
    if (this.#lines.length >= PIECE) this.#flush();
  }

  #flush(): void {
    this.#out.write(this.#lines);
    this.#lines = '';
  }
}

interface KnownPart {
  readonly id: number;
  readonly digest: string;
}

/** What a gateway tells of one answer. */
export interface Answering<Headers, End, Reason = never> {
  head(status: number, headers: Headers, reason?: Reason): void;
  piece(bytes: Buffer): void;
  end(how: End): void;
}

/** The bytes of one answer, with the times at which they came. */
class Pieces<Headers = Record<string, string>> {
  readonly #options: RecorderOptions;
  readonly #pieces: { readonly at: number; readonly bytes: Buffer }[] = [];
  #start = 0;
  #size = 0;
  status: number | null = null;
  headers: Headers | null = null;
  cut = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  begin(status: number, headers: Headers): void {
    this.#start = this.#options.monotonic();
    this.status = status;
    this.headers = headers;
  }

  add(bytes: Buffer): void {
    if (this.#size + bytes.length > MAX_ANSWER) {
      this.cut = true;
      return;
    }
    this.#size += bytes.length;
    this.#pieces.push({ at: Math.round(this.#options.monotonic() - this.#start), bytes: Buffer.from(bytes) });
  }

  /** As they came; in one piece where something had to be taken out, which may lie across several. */
  done(): [number, string][] {
    const all = Buffer.concat(this.#pieces.map(({ bytes }) => bytes));
    const clean = this.#options.redactor.redact(all);
    if (clean === all) return this.#pieces.map(({ at, bytes }) => [at, bytes.toString('base64')]);
    return [[0, clean.toString('base64')]];
  }
}
