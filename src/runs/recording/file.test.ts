import { PassThrough, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { defaultFileLimits, RecordingFile } from './file.ts';

const LINE = 'x'.repeat(64 * 1024 - 1);

/** A disk that takes nothing until it is told to. */
function stuck() {
  const waiting: (() => void)[] = [];
  let open = false;
  const out = new Writable({
    write: (_piece, _encoding, done) => {
      if (open) done();
      else waiting.push(done);
    },
  });
  const free = () => {
    open = true;
    for (const done of waiting.splice(0)) done();
  };
  return { out, free };
}

test('who brings more than the disk takes waits until it does', async () => {
  const { out, free } = stuck();
  const file = new RecordingFile(out, { ...defaultFileLimits, busy: 256 * 1024, patience: 600_000 });
  while (file.room() === undefined) expect(file.line(LINE)).toBe(true);
  expect(out.writableLength).toBeLessThan(512 * 1024);
  const room = file.room();
  free();
  await room;
  expect(file.room()).toBeUndefined();
  expect(file.line(LINE)).toBe(true);
});

test('nobody waits for ever: a disk that stays stuck is given up, and nothing more is kept in memory', async () => {
  const { out } = stuck();
  const file = new RecordingFile(out, { ...defaultFileLimits, busy: 256 * 1024, patience: 1 });
  while (file.room() === undefined) file.line(LINE);
  await file.room();
  expect(file.line(LINE)).toBe(false);
  expect(file.line('{}', { ends: true })).toBe(false);
  expect(file.room()).toBeUndefined();
});

test('what does not wait finds a queue that has an end', () => {
  const { out } = stuck();
  const file = new RecordingFile(out, { ...defaultFileLimits, most: 1024 * 1024 });
  let taken = 0;
  while (file.line(LINE)) taken++;
  expect(taken).toBe(16);
  expect(out.writableLength).toBeLessThanOrEqual(1024 * 1024);
});

test('of a full file the ends are still written', async () => {
  const out = new PassThrough();
  const file = new RecordingFile(out, { ...defaultFileLimits, total: 20 });
  expect(file.line('{"k":"first"}')).toBe(true);
  expect(file.line('{"k":"second"}')).toBe(false);
  expect(file.line('{"k":"end"}', { ends: true })).toBe(true);
  await Promise.all([file.end(), out.resume()]);
  expect(file.lines).toBe(2);
});

test('a disk that fails keeps nobody waiting, and fails the recording', async () => {
  const { out } = stuck();
  const file = new RecordingFile(out, { ...defaultFileLimits, busy: 64 * 1024, patience: 600_000 });
  while (file.room() === undefined) file.line(LINE);
  const room = file.room();
  out.destroy(new Error('no space left'));
  await room;
  expect(file.line(LINE)).toBe(false);
  await expect(file.end()).rejects.toThrow('no space left');
});
