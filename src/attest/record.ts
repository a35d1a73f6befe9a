import {
  count,
  literal,
  nullable,
  object,
  oid,
  runId,
  type Shape,
  type Shaped,
  ShapeError,
  sha256,
  text,
  time,
} from './shape.ts';
import { parseJson } from './statement.ts';

/** The log's record of a statement: an event `attestation.issued`, as src/audit/event.ts spells it. */
const resource = object({
  /** Of the whole envelope, its signature included. */
  envelope: sha256,
  key: sha256,
  predicateType: text(256),
  repository: text(),
  ref: text(1024),
  to: oid,
  commits: count,
});

const named = object({ id: text(256), kind: text(32) });
const delegated = object({ id: text(256), kind: text(32), onBehalfOf: text(256) });
const principal: Shape<{ readonly id: string }> = (value, at) =>
  typeof value === 'object' && value !== null && 'onBehalfOf' in value ? delegated(value, at) : named(value, at);

const record = object({
  seq: count,
  time,
  type: literal('attestation.issued'),
  run: nullable(runId),
  principal,
  action: nullable(text(64)),
  resource,
  cause: nullable(count),
});
export type IssuedRecord = Shaped<typeof record>;

/** Throws `ShapeError` for another kind of event, and for another spelling than the log's. */
export function parseIssuedRecord(stored: string): IssuedRecord {
  const value = parseJson(stored);
  if (JSON.stringify(value) !== stored) throw new ShapeError('the record is not spelled as the log writes it');
  return record(value, '');
}
