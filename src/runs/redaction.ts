/**
 * Where secrets are taken out of a run: everything of it that is recorded, kept, stored or shown passes one of these, with one
 * redactor that knows every value lent to the run and the shapes of credentials. `executeRun` puts them in front of the whole
 * run, so that no step can write past them.
 */
import type { ContentSource, ContentStore } from '../audit/content.ts';
import type { Json } from '../base/canonical-json.ts';
import type { Redactor } from '../base/redact/index.ts';
import type { Progress, RunIo, System } from './system.ts';

/** The system with what a run keeps beside the log redacted. Its events are redacted by its `RunLog`. */
export function redactedSystem(system: System, redactor: Redactor): System {
  return { ...system, content: redactedContent(system.content, redactor) };
}

function redactedContent(content: ContentStore, redactor: Redactor): ContentStore {
  return {
    put(run, source, { mediaType, maxBytes }) {
      // A mark is longer than the shortest secret: what fitted before still fits.
      return content.put(run, redactedPieces(source, redactor), { mediaType, maxBytes: maxBytes * MARK_GROWTH });
    },
    read: (run, ref) => content.read(run, ref),
    readAll: (run, ref, maxBytes) => content.readAll(run, ref, maxBytes),
    deleteRun: (run) => content.deleteRun(run),
  };
}

/** `[secret:` and a name of at most 100 characters in place of at least 8 bytes. */
const MARK_GROWTH = 14;

async function* redactedPieces(source: ContentSource, redactor: Redactor): AsyncGenerator<Uint8Array> {
  const redaction = redactor.open();
  for await (const piece of source instanceof Uint8Array ? [source] : source)
    yield* redaction.write(bytes(piece), false);
  yield* redaction.write(Buffer.alloc(0), true);
}

function bytes(piece: Uint8Array): Buffer {
  return Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
}

/** What a run shows. The agent's output is redacted where it is read (agent-output.ts), as a stream. */
export function redactedIo(io: RunIo, redactor: Redactor): RunIo {
  const { ask } = io;
  return {
    ...io,
    onProgress: (progress: Progress) => io.onProgress({ ...progress, step: redactor.redact(progress.step) }),
    ...(ask === undefined
      ? {}
      : {
          ask: ({ signal, ...question }) =>
            ask({ ...redactedJson(question, redactor), ...(signal === undefined ? {} : { signal }) }),
        }),
  };
}

/** A JSON value with each of its strings redacted by itself: in JSON's text, `\\n` before a credential would hide its beginning. */
export function redactedJson<T>(value: T, redactor: Redactor): T {
  return redacted(value as unknown as Json, redactor) as T;
}

function redacted(value: Json, redactor: Redactor): Json {
  if (typeof value === 'string') return redactor.redact(value);
  if (Array.isArray(value)) return value.map((one) => redacted(one, redactor));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (one === undefined ? [] : [[key, redacted(one, redactor)]])),
  );
}
