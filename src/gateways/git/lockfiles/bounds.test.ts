import { expect, test } from 'vitest';
import { formatOf, readFormat } from './formats.ts';

const said = (path: string, text: string) => {
  const format = formatOf(path);
  return format === null ? [] : readFormat(format, path, Buffer.from(text)).problems.map(({ what }) => what);
};

test.each([
  ['pnpm-lock.yaml', `a: [${'[],'.repeat(600_000)}]`, 'more than 500000 values'],
  ['pnpm-lock.yaml', '--- a\n'.repeat(11), 'more than 10 documents'],
  ['uv.lock', 'a = 1\n'.repeat(300_000), 'more than 500000 values'],
  ['package-lock.json', `[${'1,'.repeat(4_000_001)}1]`, 'more than 4000000 values'],
])('%s of very many values is refused before it is read whole', (path, text, why) => {
  expect(said(path, text)).toEqual([expect.stringContaining(why)]);
});
