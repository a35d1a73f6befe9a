import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { eachPiece } from './pieces.ts';

const source = (pieces: readonly string[]) => Readable.from(pieces.map((piece) => Buffer.from(piece)));

test('each piece waits for the one before, the end for the last', async () => {
  const log: string[] = [];
  await eachPiece(source(['a', 'b', 'c']), async (piece) => {
    log.push(`${piece} begins`);
    await new Promise(setImmediate);
    log.push(`${piece} ends`);
  });
  expect(log).toEqual(['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]));
});

test.each([
  [
    'at once',
    () => {
      throw new Error('no more');
    },
  ],
  ['later', () => Promise.reject(new Error('no more'))],
])('what is thrown %s stops the stream, and nothing more is taken', async (_, refuse) => {
  const stream = source(['a', 'b', 'c']);
  const taken: string[] = [];
  const done = eachPiece(stream, (piece) => {
    taken.push(String(piece));
    return taken.length === 2 ? refuse() : undefined;
  });
  await expect(done).rejects.toThrow('no more');
  expect(taken).toEqual(['a', 'b']);
  expect(stream.isPaused()).toBe(true);
});

test('a stream that breaks off, before or meanwhile, with a reason or without', async () => {
  const broken = source(['a']);
  broken.on('error', () => {});
  broken.destroy(new Error('reset'));
  await expect(eachPiece(broken, () => {})).rejects.toThrow('reset');
  const failing = source(['a', 'b']);
  await expect(eachPiece(failing, () => void failing.destroy(new Error('reset')))).rejects.toThrow('reset');
  const closing = source(['a', 'b']);
  await expect(eachPiece(closing, () => void closing.destroy())).rejects.toThrow(/closed before its end/);
});
