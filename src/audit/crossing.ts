import type { AuditLog, NewEvent } from './log.ts';

/**
 * One crossing of the boundary: the intent is durable before `act` begins, and an outcome follows whatever `act` does.
 * When the intent cannot be recorded nothing happens; when the outcome cannot be, the crossing fails although `act`
 * succeeded, and the intent without outcome is what `cordon audit verify` shows.
 *
 * `outcomeOf` makes the outcome event of what `act` returned or threw; its `cause` is filled in.
 * Throws what `act` threw, or the log's `AuditUnavailableError`.
 */
export async function crossing<T>(
  log: AuditLog,
  intent: NewEvent,
  act: (seq: number) => Promise<T>,
  outcomeOf: (
    result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown },
  ) => NewEvent,
): Promise<T> {
  const { seq } = await log.append(intent);
  let value: T;
  try {
    value = await act(seq);
  } catch (error) {
    await log.append({ ...outcomeOf({ ok: false, error }), cause: seq });
    throw error;
  }
  await log.append({ ...outcomeOf({ ok: true, value }), cause: seq });
  return value;
}
