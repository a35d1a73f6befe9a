import { expect, test } from 'vitest';
import { Redactor } from '../base/redact/index.ts';
import type { ForgeSettings } from '../config/forges.ts';
import type { RemoteName } from '../policy/remotes.ts';
import { Secret } from '../secrets/index.ts';
import { forgeToken } from './forge-token.ts';
import type { RunRequest } from './request.ts';
import type { System } from './system.ts';

const driver = (source: string, names: readonly string[]) => ({
  source,
  find: async (name: string) => (names.includes(name) ? { name, scopes: {} } : null),
  read: async () => ({ value: new Secret(Buffer.from(`token-of-${source}`), 'T') }),
});

/** What the forge would be shown, and the events before. */
async function shown(...drivers: ReturnType<typeof driver>[]) {
  const events: string[] = [];
  const log = { append: async ({ type }: { type: string }) => events.push(type) };
  const system = { secrets: async () => ({ drivers }), log } as unknown as System;
  const repo = { name: 'forge.example/a/b', host: 'forge.example' } as unknown as RemoteName;
  const request = { repo, agent: { kind: 'command' }, requester: { id: 'user:a' } } as unknown as RunRequest;
  const settings = { token: 'FORGE' } as unknown as ForgeSettings;
  const read = forgeToken(system, { ...request, repo }, settings, new Redactor());
  return { events, token: await read().catch((error: unknown) => error) };
}

test('the one place that has the token is asked for it, after that was recorded', async () => {
  const { token, events } = await shown(driver('store', []), driver('vault', ['FORGE']));
  expect(String(token)).toBe('token-of-vault');
  expect(events).toEqual(['secret.used']);
});

test('two places that have it are refused, and so is none', async () => {
  const two = await shown(driver('store', ['FORGE']), driver('vault', ['FORGE']));
  expect(two).toMatchObject({
    token: {
      message: 'two places have a secret FORGE: store and vault',
      remedy: expect.stringContaining('remove one'),
    },
    events: [],
  });
  const none = await shown(driver('store', []));
  expect(none.token).toMatchObject({ message: expect.stringContaining('config.yaml names for forge.example') });
});
