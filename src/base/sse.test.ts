import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventTooLongError, MAX_EVENT, SseReader } from './sse.ts';

const STREAM = 'event: a\ndata: one\ndata: two\n\n: comment\r\n\r\ndata: {"x":"…"}\r\n\r\n\n\ndata: last\n\nrest';

test('events are the same, and their bytes, wherever the stream is cut', () => {
  const bytes = Buffer.from(STREAM);
  const whole = new SseReader().push(bytes);
  expect(whole.map(({ type, data }) => [type, data])).toEqual([
    ['a', 'one\ntwo'],
    [null, ''],
    [null, '{"x":"…"}'],
    [null, ''],
    [null, 'last'],
  ]);
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const reader = new SseReader();
      const events = places.flatMap((at, i) => reader.push(Buffer.from(bytes.subarray(at, places[i + 1] ?? at))));
      expect(events).toEqual(whole);
      expect(reader.rest.toString()).toBe('rest');
    }),
  );
});

test('an event is given its own bytes: what comes later does not change them', () => {
  const reader = new SseReader();
  reader.push(Buffer.from('data: o'));
  const [first] = reader.push(Buffer.from('ne\n\ndata: t'));
  const [second] = reader.push(Buffer.from('wo\n\n'));
  expect([first?.raw.toString(), second?.raw.toString()]).toEqual(['data: one\n\n', 'data: two\n\n']);
});

test('an event without an end is copied as often as it doubles, not with each of its pieces', () => {
  const piece = Buffer.alloc(16 * 1024, 'x');
  const reader = new SseReader();
  let copied = 0;
  const { copy } = Buffer.prototype;
  Buffer.prototype.copy = function (...given: Parameters<typeof copy>) {
    const count = copy.apply(this, given);
    copied += count;
    return count;
  };
  try {
    const all = () => {
      for (let size = 0; size <= MAX_EVENT; size += piece.length) reader.push(piece);
    };
    expect(all).toThrow(EventTooLongError);
  } finally {
    Buffer.prototype.copy = copy;
  }
  expect(copied).toBeGreaterThanOrEqual(MAX_EVENT);
  expect(copied).toBeLessThan(4 * MAX_EVENT);
});
