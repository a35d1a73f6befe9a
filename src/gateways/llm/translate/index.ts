import type { JsonObject, WireName } from '../wire/wire.ts';
import { chatCaller } from './chat-caller.ts';
import { chatUpstream } from './chat-upstream.ts';
import { geminiCaller } from './gemini-caller.ts';
import { geminiUpstream } from './gemini-upstream.ts';
import { InOrder } from './in-order.ts';
import { messagesCaller } from './messages-caller.ts';
import { messagesUpstream } from './messages-upstream.ts';
import type { Finish, OpenCaller, OpenUpstream } from './neutral.ts';
import { responsesCaller } from './responses-caller.ts';
import { responsesUpstream } from './responses-upstream.ts';
import type { Translate, Translation } from './translation.ts';

/** Two lines for each protocol. */
export const callers: Readonly<Record<WireName, OpenCaller>> = {
  chat: chatCaller,
  responses: responsesCaller,
  messages: messagesCaller,
  gemini: geminiCaller,
};
export const upstreams: Readonly<Record<WireName, OpenUpstream>> = {
  chat: chatUpstream,
  responses: responsesUpstream,
  messages: messagesUpstream,
  gemini: geminiUpstream,
};

export const translate: Translate = (from, to, set): Translation => {
  const caller = callers[from](set);
  const upstream = upstreams[to](set);
  const inOrder = new InOrder();
  let failed = false;
  return {
    get failed() {
      return failed;
    },
    request: (body) => upstream.write(caller.read(body)),
    whole(body: JsonObject) {
      const answer = upstream.whole(body);
      const calls = answer.blocks.some(({ kind }) => kind === 'call');
      const finish: Finish = answer.finish.why === 'stop' && calls ? { why: 'calls' } : answer.finish;
      return caller.whole({ ...answer, finish });
    },
    event: (type, data) =>
      data === ''
        ? ''
        : upstream
            .heard(type, data)
            .flatMap((heard) => inOrder.hear(heard))
            .map((told) => {
              failed ||= told.kind === 'failed';
              return caller.told(told);
            })
            .join(''),
  };
};
