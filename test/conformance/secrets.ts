import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CordonError, NotFoundError, UsageError } from '../../src/base/errors.ts';
import type { SecretDriver } from '../../src/secrets/index.ts';

/** One place where secrets are kept, with what its owner does there by other means than Cordon. */
export interface SecretsUnderTest {
  /** With A_TOKEN (for the hosts `*.acme.example`) and B_TOKEN (for everything) declared or set, in that order. */
  readonly driver: SecretDriver;
  readonly source: string;
  put(name: 'A_TOKEN' | 'B_TOKEN', value: string): Promise<void>;
  take(name: 'A_TOKEN' | 'B_TOKEN'): Promise<void>;
  dispose(): Promise<void>;
}

const VALUE = 'first-value "of" A/+ü';

/** What every driver of secrets promises (src/secrets/driver.ts). */
export function secretsConformance(name: string, make: () => Promise<SecretsUnderTest>): void {
  describe(`secrets conformance: ${name}`, () => {
    let place: SecretsUnderTest;
    let driver: SecretDriver;
    beforeEach(async () => {
      place = await make();
      driver = place.driver;
      await place.put('A_TOKEN', VALUE);
      await place.put('B_TOKEN', 'the-value-of-B');
    });
    afterEach(() => place.dispose());

    const value = async (secret: string) => (await driver.read(secret)).value.reveal().toString();

    test('gives each value, and says where from', async () => {
      expect(driver.source).toBe(place.source);
      expect(await value('A_TOKEN')).toBe(VALUE);
      expect(await value('B_TOKEN')).toBe('the-value-of-B');
      expect((await driver.read('A_TOKEN')).entry).toMatchObject({
        name: 'A_TOKEN',
        source: place.source,
        scopes: { hosts: ['*.acme.example'] },
      });
    });

    test('lists without values, by name', async () => {
      const entries = await driver.list();
      expect(entries.map((entry) => entry.name)).toEqual(['A_TOKEN', 'B_TOKEN']);
      expect(entries.map((entry) => entry.scopes)).toEqual([{ hosts: ['*.acme.example'] }, {}]);
      expect(inspect(entries, { depth: 9 })).not.toContain('value');
      expect(await driver.find('A_TOKEN')).toEqual(entries[0]);
    });

    test('reads anew each time', async () => {
      await value('A_TOKEN');
      await place.put('A_TOKEN', 'second-value');
      expect(await value('A_TOKEN')).toBe('second-value');
      await place.take('A_TOKEN');
      await expect(driver.read('A_TOKEN')).rejects.toThrow(NotFoundError);
      await place.put('A_TOKEN', 'third-value');
      expect(await value('A_TOKEN')).toBe('third-value');
      expect(await value('B_TOKEN')).toBe('the-value-of-B');
    });

    test('many readers at once', async () => {
      const values = await Promise.all(
        Array.from({ length: 20 }, (_, i) => value(i % 2 === 0 ? 'A_TOKEN' : 'B_TOKEN')),
      );
      expect(new Set(values)).toEqual(new Set([VALUE, 'the-value-of-B']));
    });

    test('has only what it was told of', async () => {
      for (const unknown of ['C_TOKEN', 'PATH', 'CONSTRUCTOR']) {
        expect(await driver.find(unknown)).toBeNull();
        await expect(driver.read(unknown)).rejects.toThrow(NotFoundError);
      }
      expect(await driver.find('__proto__')).toBeNull();
      for (const no of ['../A_TOKEN', 'a', 'A B', 'A_TOKEN\0', '', 'A'.repeat(101)]) {
        await expect(driver.read(no)).rejects.toThrow(UsageError);
      }
    });

    test('nothing that it gives or throws shows a value', async () => {
      const read = await driver.read('A_TOKEN');
      for (const text of [inspect(read, { depth: 9, showHidden: true }), JSON.stringify(read), `${read.value}`]) {
        expect(text).not.toContain('first-value');
      }
      await place.put('A_TOKEN', 'sh0rt');
      const error = await driver.read('A_TOKEN').catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(CordonError);
      expect((error as CordonError).remedy).toBeTruthy();
      expect(inspect(error, { depth: 9 })).not.toContain('sh0rt');
    });
  });
}
