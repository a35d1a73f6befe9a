import { StringDecoder } from 'node:string_decoder';

import { type AuditEvent, type ContentRef, type EventType, eventTypes } from '../audit/event.ts';
import { type EventFilter, logSize, readEvent, readEvents, tailEvents } from '../audit/read.ts';
import { NotFoundError, UsageError } from '../base/errors.ts';
import { columns, safeLines, safeText } from '../base/term.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import type { FilterOptions } from './audit.ts';
import { contentChunks } from './audit-source.ts';
import { type Context, isTerminal, outputOf } from './context.ts';
import { eventLine } from './event-line.ts';
import { withRun } from './local.ts';
import type { Output } from './output.ts';

export async function tail(
  context: Context,
  options: FilterOptions & { lines: number; follow?: boolean },
): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const filter = await filterOf(context, options);
  const size = existing(paths);
  for (const event of last(paths, filter, size, options.lines)) showLine(event, out);
  if (options.follow !== true) return;
  for await (const { event } of tailEvents(paths.audit, { ...filter, from: size }, context.signal))
    showLine(event, out);
}

/** The last events that pass, looking back over ever larger pieces of the log. */
function last(paths: Paths, filter: EventFilter, size: number, count: number): AuditEvent[] {
  for (let piece = Math.max(1_024, count * 4); ; piece *= 8) {
    const from = Math.max(0, size - piece);
    const found = [...readEvents(paths.audit, { ...filter, from, to: size - 1 })].map(({ event }) => event);
    if (found.length >= count || from === 0) return found.slice(-count);
  }
}

function showLine(event: AuditEvent, out: Output): void {
  if (out.json) out.jsonLine(event);
  else out.line(eventLine(event, out.style, out.width));
}

export async function show(context: Context, seq: number | undefined, options: FilterOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  if (seq === undefined) {
    if (options.run === undefined) throw new UsageError('name one event by its number, or a run with --run');
    existing(paths);
    for (const { event } of readEvents(paths.audit, await filterOf(context, options))) showLine(event, out);
    return;
  }
  const event = eventAt(paths, seq);
  if (out.json) out.document(event);
  else out.line(...columns(rowsOf(event, out)));
}

/** The bytes beside one event as they are; on a terminal, escaped. */
export async function showContent(context: Context, seq: number | undefined, options: FilterOptions): Promise<void> {
  const out = outputOf(context, options);
  if (seq === undefined) throw new UsageError('--content is of one event: name it by its number');
  if (out.json)
    throw new UsageError('--content prints what is kept as it is, never as JSON', { remedy: 'leave out --json' });
  const paths = resolvePaths(context.env);
  const event = eventAt(paths, seq);
  const { content } = event as { content?: ContentRef | null };
  if (content == null) {
    throw new NotFoundError(`nothing is kept beside event ${seq} (${event.type})`, {
      remedy: `cordon audit show ${seq}`,
    });
  }
  const decoder = new StringDecoder('utf8');
  const show = isTerminal(context) ? (chunk: Buffer) => out.raw(safeLines(decoder.write(chunk))) : out.raw;
  for await (const chunk of contentChunks(paths, { run: event.run, content })) show(chunk);
}

function eventAt(paths: Paths, seq: number): AuditEvent {
  const size = existing(paths);
  const found = readEvent(paths.audit, seq);
  if (found !== null) return found.event;
  throw new NotFoundError(`the log has no event ${seq}; its last is ${size - 1}`, { remedy: 'cordon audit tail' });
}

/** Every value by its path: `resource.argv  ["sh","-c"]`. */
function rowsOf(value: object, out: Output, path = ''): string[][] {
  return Object.entries(value).flatMap(([key, part]) => {
    const name = path === '' ? key : `${path}.${key}`;
    const nested = part !== null && typeof part === 'object' && !Array.isArray(part);
    if (nested) return rowsOf(part, out, name);
    return [[out.style.dim(safeText(name)), safeText(typeof part === 'string' ? part : JSON.stringify(part))]];
  });
}

async function filterOf(context: Context, options: FilterOptions): Promise<EventFilter> {
  const unknown = options.type?.find((type) => !(eventTypes as readonly string[]).includes(type));
  if (unknown !== undefined) {
    throw new UsageError(`there is no type of event "${safeText(unknown)}"`, {
      remedy: `one of: ${eventTypes.join(', ')}`,
    });
  }
  const types = options.type === undefined ? {} : { types: options.type as readonly EventType[] };
  if (options.run === undefined) return types;
  return withRun(context, options.run, async (run) => ({ ...types, run: run.id }));
}

/** How many events there are. Throws `NotFoundError` when there is no log yet. */
function existing(paths: Paths): number {
  const size = logSize(paths.audit);
  if (size > 0) return size;
  throw new NotFoundError(`there is no audit log in ${paths.audit} yet`, {
    remedy: 'it begins with the first run: cordon run -- CMD…',
  });
}
