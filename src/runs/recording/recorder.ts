import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { ContentStore } from '../../audit/content.ts';
import type { ContentRef } from '../../audit/event.ts';
import { sha256Hex } from '../../base/digest.ts';
import type { Redactor } from '../../base/redact/index.ts';
import type { AskedBody } from '../../gateways/egress/tape.ts';
import type { Searched } from '../../gateways/llm/ledger.ts';
import { redactedJson } from '../redaction.ts';
import { bodyKey } from './bodies.ts';
import { cleaned } from './clean.ts';
import type { Beginning, EndEntry, Entry, HttpEntry, McpEntry, ModelEntry } from './entry.ts';
import { RECORDING_MEDIA_TYPE, RECORDING_VERSION } from './entry.ts';
import { defaultFileLimits, type FileLimits, RecordingFile } from './file.ts';
import { likeness, partOf, splitQuestion } from './parts.ts';
import { CleanPieces } from './pieces.ts';

/** Of one answer. Bytes. */
const MAX_ANSWER = 32 * 1024 * 1024;
/** Parts of conversations that are remembered: their digests, 100 bytes each. */
const MAX_KNOWN = 100_000;

export interface RecorderOptions {
  /** A file of the run's folder, which is nobody else's; gone when the recording is kept. */
  readonly file: string;
  readonly redactor: Redactor;
  readonly start: Beginning;
  /** Words of this run alone: its id, its token. */
  readonly own: readonly string[];
  /** What its agent draws anew at each start. */
  readonly drawn: readonly RegExp[];
  readonly limits?: FileLimits;
  monotonic(): number;
  /** How the file is written; made anew, for its owner alone. */
  open?(file: string): Writable;
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

/** Writes a run's recording as it goes on: in memory is of each answer only what may be the beginning of a secret. */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #file: RecordingFile;
  readonly #own: string[];
  /** A conversation is told again with each of its messages. */
  readonly #known = new Map<string, KnownPart>();
  #parts = 0;
  #answers = 0;
  #cut = false;
  /** What the redactor knew when the first entry was written; null before. */
  #knowledge: object | null = null;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#own = [...options.own];
    const open = options.open ?? ((file) => createWriteStream(file, { flags: 'wx', mode: 0o600 }));
    this.#file = new RecordingFile(open(options.file), options.limits ?? defaultFileLimits);
    this.#write({ k: 'start', version: RECORDING_VERSION, ...options.start });
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
    return this.#answering(
      (id, status, headers) => {
        const asked = this.#searched(body, searched);
        const parts = this.#partsOf(asked.body, asked.items);
        return {
          k: 'model',
          id,
          wire,
          digest: asked.digest,
          like: likeness(parts),
          asked: whole ? asked.text() : null,
          parts: parts.map((part) => part.id),
          status,
          headers: this.#shown(headers),
        };
      },
      ({ result }) => ({ result, body: null }),
    );
  }

  /** An answer of a host. */
  http(method: string, url: string, asked: AskedBody): Answering<HttpEntry['headers'], { readonly complete: boolean }> {
    const { redactor, drawn } = this.#options;
    return this.#answering(
      (id, status, headers, reason) => ({
        k: 'http',
        id,
        method,
        url: redactor.redact(url),
        status,
        reason,
        headers: headers.map(([name, value]) => [name, redactor.redact(value)]),
      }),
      ({ complete }) => ({
        result: complete ? 'completed' : 'cut',
        body: bodyKey(asked, { own: this.#own, drawn }, redactor),
      }),
    );
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

  /** Puts it beside the log, without what became known as a secret in the meantime. Throws when it could not be written. */
  async keep(run: string, content: ContentStore): Promise<Kept> {
    const { file, redactor } = this.#options;
    try {
      await this.#file.end();
      const stale = this.#knowledge !== null && this.#knowledge !== redactor.knowledge;
      const written = createReadStream(file) as AsyncIterable<Buffer>;
      const source = stale ? cleaned(written, redactor) : written;
      const maxBytes = (this.#options.limits ?? defaultFileLimits).total * 2;
      const ref = await content.put(run, source, { mediaType: RECORDING_MEDIA_TYPE, maxBytes });
      return { ref, entries: this.#file.lines, bytes: this.#file.size, cut: this.#cut };
    } finally {
      await rm(file, { force: true });
    }
  }

  /** Of a run that ended before its recording was kept. Idempotent. */
  async drop(): Promise<void> {
    this.#file.drop();
    await rm(this.#options.file, { force: true });
  }

  /** Nothing is written of an answer without a head. */
  #answering<Headers, End>(
    begun: (id: number, status: number, headers: Headers, reason: string) => Entry,
    ended: (how: End) => Ending,
  ): Answering<Headers, End> {
    let open: OpenAnswer | null = null;
    let over = false;
    return {
      head: (status, headers, reason = '') => {
        if (open !== null || over) return;
        const id = this.#answers++;
        open = this.#open(id, this.#write(begun(id, status, headers, reason)));
      },
      piece: (bytes) => {
        open?.add(bytes);
        return this.#file.room();
      },
      end: (how) => {
        over = true;
        open?.end(ended(how));
        open = null;
      },
    };
  }

  #open(id: number, written: boolean): OpenAnswer {
    const began = this.#options.monotonic();
    let size = 0;
    let whole = written;
    const pieces = new CleanPieces(this.#options.redactor, (at, bytes) => {
      whole &&= this.#line(`{"k":"piece","of":${id},"at":${at},"bytes":"${bytes.toString('base64')}"}`);
    });
    return {
      add: (bytes) => {
        size += bytes.length;
        // What follows a hole would be found in its place.
        if (size > MAX_ANSWER) whole = false;
        if (whole) pieces.add(bytes, Math.round(this.#options.monotonic() - began));
      },
      end: (how) => {
        if (whole) pieces.end();
        if (!whole) this.#cut = true;
        if (written) this.#write({ k: 'end', of: id, ...how, whole });
      },
    };
  }

  /** What was asked, without secrets. What a gateway has searched just now is not searched again. */
  #searched(body: Readonly<Record<string, unknown>>, searched: Searched | null) {
    const { redactor } = this.#options;
    if (searched !== null && searched.knowledge === redactor.knowledge)
      return { body, digest: searched.digest, items: searched.items, text: () => JSON.stringify(body) };
    const text = JSON.stringify(body);
    const clean = redactor.redact(text);
    const shown = clean === text ? body : (JSON.parse(clean) as Record<string, unknown>);
    return { body: shown, digest: sha256Hex(clean), items: undefined, text: () => clean };
  }

  /** Nearly always there is nothing in any of them: one search tells. */
  #shown(headers: ModelEntry['headers']): ModelEntry['headers'] {
    const { redactor } = this.#options;
    return redactor.matchesAny(Object.values(headers)) ? redactedJson(headers, redactor) : headers;
  }

  /** `digests`: of the conversation's items, where somebody has them. */
  #partsOf(asked: Readonly<Record<string, unknown>>, digests: readonly string[] | undefined): KnownPart[] {
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    const values = splitQuestion(asked);
    const told = digests !== undefined && digests.length === values.length - 1 ? digests : null;
    return values.map((value, i) => {
      const name = (i > 0 ? told?.[i - 1] : undefined) ?? sha256Hex(JSON.stringify(value));
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

  #write(entry: Entry): boolean {
    if (entry.k !== 'start') this.#knowledge ??= this.#options.redactor.knowledge;
    return this.#line(JSON.stringify(entry), entry.k === 'end');
  }

  #line(text: string, ends = false): boolean {
    const taken = this.#file.line(text, { ends });
    this.#cut ||= !taken;
    return taken;
  }
}

interface KnownPart {
  readonly id: number;
  readonly digest: string;
}

interface OpenAnswer {
  add(bytes: Buffer): void;
  end(how: Ending): void;
}

type Ending = Pick<EndEntry, 'result' | 'body'>;

/** What a gateway tells of one answer. */
export interface Answering<Headers, End> {
  head(status: number, headers: Headers, reason?: string): void;
  /** A promise where the recording has to be waited for: it resolves, within seconds at most. */
  piece(bytes: Buffer): void | Promise<void>;
  /** Once; what comes later is not heard. */
  end(how: End): void;
}
