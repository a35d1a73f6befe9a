import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { AuditInvalidError } from '../../base/errors.ts';
import {
  type EndEntry,
  type Entry,
  entrySchema,
  type HttpEntry,
  type McpEntry,
  type ModelEntry,
  type PartEntry,
  RECORDING_VERSION,
  type StartEntry,
} from './entry.ts';

/** A recording of another version of Cordon. */
export class RecordingVersionError extends AuditInvalidError {
  constructor(version: unknown) {
    super(`the recording has the format ${version ?? 1}, and format ${RECORDING_VERSION} is what is read here`);
  }
}

/** An answer, in the pieces in which it came. */
export type Answered<Head> = Head & {
  readonly pieces: readonly Buffer[];
  /** `completed`, or how it broke off. */
  readonly result: string;
  /** False when the recording has not all of it. */
  readonly whole: boolean;
  /** Of the body that was sent to a host. */
  readonly body: EndEntry['body'];
};

export interface Recording {
  readonly start: StartEntry;
  readonly parts: ReadonlyMap<number, PartEntry>;
  /** In the order in which they began. */
  readonly models: readonly Answered<ModelEntry>[];
  readonly http: readonly Answered<HttpEntry>[];
  readonly mcp: readonly McpEntry[];
}

/** Throws `RecordingVersionError`, and `AuditInvalidError` for what is no recording. One that breaks off is good up to there. */
export async function readRecording(content: AsyncIterable<Buffer>): Promise<Recording> {
  let start: StartEntry | null = null;
  const parts = new Map<number, PartEntry>();
  const mcp: McpEntry[] = [];
  const answers = new Map<number, Reading>();
  for await (const entry of entriesOf(content)) {
    if (entry.k === 'start') start ??= entry;
    else if (entry.k === 'part') parts.set(entry.id, entry);
    else if (entry.k === 'mcp') mcp.push(entry);
    else if (entry.k === 'model' || entry.k === 'http') answers.set(entry.id, { head: entry, pieces: [], end: null });
    else if (entry.k === 'end') ended(answers.get(entry.of), entry);
    else if (entry.at === null) answers.get(entry.of)?.pieces.at(-1)?.push(Buffer.from(entry.bytes, 'base64'));
    else answers.get(entry.of)?.pieces.push([Buffer.from(entry.bytes, 'base64')]);
  }
  if (start === null) throw new AuditInvalidError('the recording of the run has no beginning');
  const all = [...answers.values()];
  const models = all.flatMap(({ head, ...rest }) => (head.k === 'model' ? [answered(head, rest)] : []));
  const http = all.flatMap(({ head, ...rest }) => (head.k === 'http' ? [answered(head, rest)] : []));
  return { start, parts, models, http, mcp };
}

interface Reading {
  readonly head: ModelEntry | HttpEntry;
  readonly pieces: Buffer[][];
  end: EndEntry | null;
}

function ended(reading: Reading | undefined, entry: EndEntry): void {
  if (reading !== undefined) reading.end = entry;
}

function answered<Head>(head: Head, { pieces, end }: Omit<Reading, 'head'>): Answered<Head> {
  const joined = pieces.map((some) => (some.length === 1 ? (some[0] as Buffer) : Buffer.concat(some)));
  return { ...head, pieces: joined, result: end?.result ?? 'cut', whole: end?.whole ?? false, body: end?.body ?? null };
}

/** Each line of it. A last one that breaks off is left out. */
export async function* entriesOf(content: AsyncIterable<Buffer>): AsyncGenerator<Entry> {
  let broken: unknown = null;
  let first = true;
  for await (const line of createInterface({ input: Readable.from(content), crlfDelay: Number.POSITIVE_INFINITY })) {
    if (broken !== null) throw new AuditInvalidError('the recording of the run is damaged', { cause: broken });
    try {
      const value: unknown = JSON.parse(line);
      if (first) requireVersion(value);
      first = false;
      yield entrySchema.parse(value);
    } catch (error) {
      if (error instanceof RecordingVersionError) throw error;
      broken = error;
    }
  }
}

function requireVersion(start: unknown): void {
  const { version } = { ...(start as { readonly version?: unknown }) };
  if (version !== RECORDING_VERSION) throw new RecordingVersionError(version);
}
