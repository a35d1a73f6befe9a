import type { IncomingMessage, ServerResponse } from 'node:http';
import { killGit } from '../../base/git.ts';
import { PacketReader } from '../../base/pktline.ts';
import { collect, feed } from './git-io.ts';
import { answer, bodyOf } from './http.ts';
import type { Quarantine } from './quarantine.ts';
import { commandLimits, type PushHead, readPushHead, refusal, writePushHead } from './receive.ts';
import type { GitServerOptions } from './server.ts';
import type { Service } from './service.ts';

const REPORT_BYTES = 4 * 1024 * 1024;

export async function takePush(state: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { quarantine, decideRef } = state.options;
  const reader = new PacketReader(bodyOf(request, quarantine.maxPack + commandLimits.bytes), commandLimits.bytes);
  const head = await readPushHead(reader, quarantine.objectFormat);
  const type = 'application/x-git-receive-pack-result';
  if (head === null) return answer(response, 200, type, '');
  const reason = await refusedBecause(head, quarantine, decideRef);
  if (reason !== null) {
    // A client that is still sending does not read: take the rest, bounded as ever, and throw it away.
    for await (const _ of reader.rest());
    return answer(response, 200, type, refusal(head, reason));
  }
  const turn = state.pushing.catch(() => {}).then(() => receive(state, head, reader));
  state.pushing = turn;
  answer(
    response,
    200,
    type,
    (await turn) ?? refusal(head, 'the push could not be received', 'git did not accept the objects in time'),
  );
}

async function refusedBecause(
  head: PushHead,
  quarantine: Quarantine,
  decideRef: GitServerOptions['decideRef'],
): Promise<string | null> {
  if (head.shallow.some((oid) => !quarantine.shallow.includes(oid)))
    return 'history may not be cut shorter than it was handed out';
  for (const command of head.commands) {
    const verdict = await decideRef(command);
    if (!verdict.permit) return head.commands.length === 1 ? verdict.reason : `${command.ref}: ${verdict.reason}`;
  }
  return null;
}

/** Hands the push to git. Null when it did not end well. */
async function receive(state: Service, head: PushHead, reader: PacketReader): Promise<Buffer | null> {
  const { quarantine, onPush } = state.options;
  const child = state.start(['receive-pack', '--stateless-rpc'], 'quarantine');
  const report = collect(child, REPORT_BYTES);
  try {
    await feed(child, reader.rest(), writePushHead(head, quarantine.objectFormat));
    const answered = await report;
    if (answered !== null) onPush?.(head.commands);
    return answered;
  } finally {
    killGit(child);
  }
}
