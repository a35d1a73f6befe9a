import { setImmediate as soon } from 'node:timers/promises';
import { createGunzip, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Decoders, lookInside, type Open } from './compressed.ts';

const GZIP = [{ name: 'Content-Encoding', lower: 'content-encoding', value: 'gzip' }];

/** A look inside, and how its decoder is given up. */
function opened() {
  const scene = { close: () => {} };
  const open: Open = (make) =>
    new Decoders().add(make, (close) => {
      scene.close = close;
    });
  const nothing = () => {};
  return Object.assign(scene, { look: lookInside(GZIP, nothing, () => nothing, open) });
}

test.each([false, true])('a body whose decoder was given up fails, and does not wait (last: %s)', async (last) => {
  const scene = opened();
  const bytes = gzipSync('x'.repeat(100));
  await scene.look(bytes.subarray(0, 12), false);
  scene.close();
  await expect(scene.look(bytes.subarray(12), last)).rejects.toThrow('not in the coding');
});

test('one that is given up while it is fed fails too', async () => {
  const scene = opened();
  await scene.look(gzipSync('x').subarray(0, 12), false);
  const fed = scene.look(Buffer.alloc(0), true);
  scene.close();
  await expect(fed).rejects.toThrow('not in the coding');
});

test('what waits for a decoder gets one in turn, or is given up', async () => {
  const decoders = new Decoders();
  const make = () => createGunzip();
  const closers: (() => void)[] = [];
  const onEnd = (close: () => void) => closers.push(close);
  for (let i = 0; i < 16; i++) decoders.add(make, onEnd);
  expect(() => decoders.add(make, onEnd)).toThrow('more than 16 compressed bodies');
  const got: string[] = [];
  const second = decoders.wait(make, onEnd).then(() => got.push('first'));
  const gone = decoders.wait(make, onEnd);
  const third = decoders.wait(make, onEnd).then(() => got.push('third'));
  await soon();
  expect(got).toEqual([]);
  closers[17]?.();
  await expect(gone).rejects.toThrow('nobody waits');
  closers[0]?.();
  await second;
  closers[1]?.();
  await third;
  expect(got).toEqual(['first', 'third']);
  expect(() => decoders.add(make, onEnd)).toThrow('more than 16');
});
