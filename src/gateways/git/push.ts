import type { IncomingMessage, ServerResponse } from 'node:http';
import { PacketReader } from '../../base/pktline.ts';
import { PushAnswer, pushResultType } from './answer.ts';
import { answer, bodyOf } from './http.ts';
import { receivePack } from './incoming.ts';
import { defaultPushLimits } from './push-limits.ts';
import type { Quarantine } from './quarantine.ts';
import { commandLimits, type PushHead, type RefCommand, readPushHead } from './receive.ts';
import type { Service } from './service.ts';

/** Who says whether a push is taken. A refusal is of the push as a whole: no ref moves, no object stays. */
export interface PushJudge {
  /** Asked before the pack is read, about the names alone: what no content could make right. */
  screen(commands: readonly RefCommand[]): Promise<PushVerdict>;
  /** Asked when all has come in, of every push that `screen` let through; one at a time. */
  judge(push: ReceivedPush): Promise<PushVerdict>;
}

export type PushVerdict =
  | { readonly permit: true }
  | {
      readonly permit: false;
      /** One line, for the ref's status. */
      readonly reason: string;
      /** Further lines for the pusher's terminal. */
      readonly details?: readonly string[];
    };

export interface ReceivedPush {
  readonly commands: readonly RefCommand[];
  /** With the new objects, which are in the quarantine proper only once the push is taken. */
  readonly quarantine: Quarantine;
  readonly packBytes: number;
  /** Git itself refuses the objects: the verdict cannot be a permit. */
  readonly failure: string | null;
  /** Shown to the pusher at once; keeps the connection alive while somebody is asked. */
  say(line: string): void;
  /** Aborted when the pusher goes away or the server closes. */
  readonly signal: AbortSignal;
}

export async function takePush(state: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { quarantine } = state.options;
  const reader = new PacketReader(bodyOf(request, quarantine.maxPack + commandLimits.bytes), commandLimits.bytes);
  const head = await readPushHead(reader, quarantine.objectFormat);
  if (head === null) return answer(response, 200, pushResultType, '');
  const reply = new PushAnswer(head, response);
  const turn = state.pushing.catch(() => {}).then(() => take(state, head, reader, reply));
  state.pushing = turn;
  const verdict = await turn;
  if (!verdict.permit) tell(reply, verdict);
  reply.finish(verdict.permit ? null : verdict.reason);
}

function tell(reply: PushAnswer, { reason, details = [] }: PushVerdict & { permit: false }): void {
  // The explanation begins with the reason.
  reply.say([`cordon: ${reason}`, ...details.filter((line) => line.trim() !== reason)].join('\n'));
}

async function take(state: Service, head: PushHead, reader: PacketReader, reply: PushAnswer): Promise<PushVerdict> {
  const screened = await screen(state, head);
  if (!screened.permit) {
    // A client that is still sending does not read: take the rest, bounded as ever, and throw it away.
    for await (const _ of reader.rest());
    return screened;
  }
  const limits = { ...defaultPushLimits, time: Math.min(state.timeout, defaultPushLimits.time) };
  const incoming = await receivePack(state, reader.rest(), limits);
  try {
    const verdict = await state.options.judge.judge({
      commands: head.commands,
      quarantine: incoming.quarantine,
      packBytes: incoming.packBytes,
      failure: incoming.failure,
      say: (line) => reply.say(`cordon: ${line}`),
      signal: AbortSignal.any([reply.gone, state.closing.signal]),
    });
    if (!verdict.permit) return verdict;
    if (incoming.failure !== null) return { permit: false, reason: incoming.failure };
    const stale = await incoming.accept(head.commands);
    state.refs.forget();
    return stale === null ? verdict : { permit: false, reason: stale };
  } finally {
    await incoming.discard();
  }
}

async function screen(state: Service, head: PushHead): Promise<PushVerdict> {
  const { quarantine, judge } = state.options;
  if (head.shallow.some((oid) => !quarantine.shallow.includes(oid)))
    return { permit: false, reason: 'history may not be cut shorter than it was handed out' };
  const verdict = await judge.screen(head.commands);
  if (!verdict.permit) return verdict;
  for (const { ref, old, kind } of head.commands) {
    if (((await state.refs.at(ref)) ?? '0'.repeat(old.length)) !== old && kind !== 'create')
      return { permit: false, reason: `${ref} is not where you think it is: fetch first` };
  }
  return verdict;
}
