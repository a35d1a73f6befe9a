import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Context } from './context.ts';
import { command, type VerifyOptions } from './verify.ts';
import { readPlainly } from './verify-direct.ts';

/** What commander makes of the same words; null where it refuses them or prints help. */
async function read(words: readonly string[]) {
  const verb = command({} as Context)
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} });
  let got: { commit: string | undefined; options: VerifyOptions } | null = null;
  verb.action((commit: string | undefined, options: VerifyOptions) => {
    got = { commit, options };
  });
  await verb.parseAsync(words, { from: 'user' }).catch(() => {});
  return got;
}

const every = command({} as Context)
  .options.flatMap(({ short, long }) => [short, long])
  .filter((name) => name != null);

test('plain words mean what they mean to the whole command line', async () => {
  const word = fc.oneof(
    fc.constantFrom(...every, 'HEAD', 'a..b', 'x', '-h', '--help', '--', '-qw', '--key=x', '', '-1'),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 7 }), async (words) => {
      const plain = readPlainly(words);
      if (plain !== null) expect(plain).toEqual(await read(words));
    }),
    { numRuns: 2000 },
  );
});

test('every option is read without that machinery', () => {
  const takes = new Map(command({} as Context).options.map((option) => [option.long, option.required]));
  for (const [name, value] of takes) expect(readPlainly([name as string, ...(value ? ['v'] : [])])).not.toBeNull();
  expect(readPlainly(['HEAD', '--key', 'k', '--json'])).toEqual({ commit: 'HEAD', options: { key: 'k', json: true } });
});
