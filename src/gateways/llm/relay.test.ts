import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { defaultModelLimits } from './limits.ts';
import { relayStream } from './relay.ts';
import { wires } from './wire/index.ts';

test('a caller that is waited for many times keeps no listeners, and gets everything in order', async () => {
  const guest = new EventEmitter() as ServerResponse;
  let got = '';
  guest.write = (piece: Buffer) => {
    got += piece;
    setImmediate(() => guest.emit('drain'));
    return false;
  };
  const events = [...Array.from({ length: 50 }, (_, i) => `data: {"n":${i}}\n\n`), 'data: [DONE]\n\n'];
  let most = 0;
  const answer = async function* () {
    for (const event of events) {
      most = Math.max(most, guest.listenerCount('close') + guest.listenerCount('drain') + guest.listenerCount('error'));
      yield Buffer.from(event);
    }
  };
  await relayStream({
    answer: answer(),
    decode: null,
    guest,
    meter: wires.chat.meter({ model: 'm', stream: true, maxOutput: null, answers: 1, wants: [], wantsUsage: true }),
    translation: null,
    recording: null,
    limits: defaultModelLimits,
    onBytes: () => {},
    begin: () => {},
  });
  expect(got).toBe(events.join(''));
  expect(most).toBe(0);
});
