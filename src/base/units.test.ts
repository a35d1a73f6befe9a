import { expect, test } from 'vitest';
import { formatDuration, parseDuration } from './duration.ts';
import { formatSize, parseSize } from './size.ts';

test.each([
  ['0', 0],
  ['512', 512],
  ['64k', 65_536],
  ['5mb', 5 * 1024 ** 2],
  ['2G', 2 * 1024 ** 3],
  ['1.5GiB', 1.5 * 1024 ** 3],
  ['9007199254740993', null],
  ['9000t', null],
  ['-1', null],
  ['2 apples', null],
  ['0x10', null],
  ['1e3', null],
  ['', null],
])('size %j is %s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each([
  ['30m', 1_800_000],
  ['1h30m', 5_400_000],
  ['500ms', 500],
  ['3d', 259_200_000],
  ['30', null],
  ['m', null],
  ['1h 30m', null],
  ['-1s', null],
])('duration %j is %s', (text, ms) => expect(parseDuration(text)).toBe(ms));

test('figures are short', () => {
  expect([0, 1023, 1536, 2 * 1024 ** 3].map(formatSize)).toEqual(['0 B', '1023 B', '1.5 KiB', '2 GiB']);
  expect([12.4, 3_440, 125_000, 3_720_000].map(formatDuration)).toEqual(['12 ms', '3.4 s', '2 m 05 s', '1 h 02 m']);
});
