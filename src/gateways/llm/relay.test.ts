import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
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
  const listeners = () => guest.listenerCount('close') + guest.listenerCount('drain') + guest.listenerCount('error');
  let most = 0;
  const answer = async function* () {
    for (const event of events) {
      most = Math.max(most, listeners());
      yield Buffer.from(event);
    }
  };
  await relayStream({
    answer: Readable.from(answer()),
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
  // Those of the one piece that is on its way, while the next is asked for.
  expect(most).toBeLessThanOrEqual(2);
  expect(listeners()).toBe(0);
});

test('a recording that takes no more for now holds up the provider, until it does', async () => {
  const guest = Object.assign(new EventEmitter(), { write: () => true }) as unknown as ServerResponse;
  const kept: string[] = [];
  let free = () => {};
  const recording = {
    head() {},
    piece(bytes: Buffer) {
      kept.push(bytes.toString());
      return new Promise<void>((resolve) => {
        free = resolve;
      });
    },
    end() {},
  };
  let asked = 0;
  const events = ['data: {"n":0}\n\n', 'data: {"n":1}\n\n', 'data: [DONE]\n\n'];
  const answer = new Readable({
    highWaterMark: 1,
    read() {
      const event = events[asked++];
      this.push(event === undefined ? null : Buffer.from(event));
    },
  });
  const meter = wires.chat.meter({
    model: 'm',
    stream: true,
    maxOutput: null,
    answers: 1,
    wants: [],
    wantsUsage: true,
  });
  const limits = defaultModelLimits;
  const parts = { answer, decode: null, guest, meter, translation: null, recording, limits };
  const passed = relayStream({ ...parts, onBytes: () => {}, begin: () => {} });
  for (let i = 1; i <= events.length; i++) {
    while (kept.length < i) await new Promise(setImmediate);
    expect(asked).toBeLessThanOrEqual(i + 1);
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    expect(kept).toEqual(events.slice(0, i));
    free();
  }
  await passed;
});
