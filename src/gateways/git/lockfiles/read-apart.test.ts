import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Format, formatOf, readFormat } from './formats.ts';
import { readApart } from './read-apart.ts';

const npm = formatOf('package-lock.json') as Format;
const integrity = `sha512-${Buffer.alloc(64, 7).toString('base64')}`;

function lockFile(packages: number): Buffer {
  const entries = Array.from({ length: packages }, (_, i) => {
    const resolved = `https://packages.acme.example/p${i}/-/p${i}-1.0.${i}.tgz`;
    return `"node_modules/p${i}":{"version":"1.0.${i}","resolved":"${resolved}","integrity":"${integrity}"}`;
  });
  return Buffer.from(`{"lockfileVersion":3,"packages":{"":{"name":"app"},${entries.join(',')}}}`);
}

test('a lock file of fifty megabytes is read while others have their turns, and as here', async () => {
  const small = await readApart(npm, 'package-lock.json', lockFile(3));
  expect(small.entries).toHaveLength(3);
  const bytes = lockFile(200_000);
  expect(bytes.length).toBeGreaterThan(40_000_000);
  let found = false;
  const reading = readApart(npm, 'package-lock.json', bytes).finally(() => {
    found = true;
  });
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  expect(found).toBe(false);
  const { entries, problems, places, more } = await reading;
  const here = readFormat(npm, 'package-lock.json', bytes);
  expect({ count: entries.length, problems, places, more }).toEqual({
    count: here.entries.length,
    problems: here.problems,
    places: here.places,
    more: here.more,
  });
  expect(entries.at(-1)).toEqual(here.entries.at(-1));
});

test.each([
  ['what is no UTF-8', Buffer.alloc(2_000_000, 0xff), /no UTF-8/],
  ['a tower of brackets', Buffer.from('['.repeat(3_000_000)), /./],
  ['very many values', Buffer.from(`[${'1,'.repeat(4_000_001)}1]`), /more than 4000000 values/],
])('%s is a problem of the file, in a thread too', async (_, bytes, why) => {
  const { entries, problems } = await readApart(npm, 'package-lock.json', bytes);
  expect(entries).toEqual([]);
  expect(problems).toEqual([expect.objectContaining({ what: expect.stringMatching(why) })]);
});
