import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConflictError, EnforcementError, NotFoundError, PolicyDeniedError, UsageError } from '../base/errors.ts';
import { currentProcess } from '../base/process-identity.ts';
import { Redactor } from '../base/redact/index.ts';
import type { Broker } from './broker.ts';
import type { SecretEvent } from './events.ts';
import { GrantBook, openBroker, openSecrets, parseUse, type RunFacts, Secret } from './index.ts';

const VALUE = 'the-token-itself-1';
const run: RunFacts = {
  id: '0123456789abcdef',
  repository: '/home/ann/src/app',
  agent: 'claude-code',
  workflow: null,
  environment: null,
};
const other: RunFacts = { ...run, id: 'fedcba9876543210' };
const npm = { name: 'NPM_TOKEN', use: parseUse({ host: 'packages.acme.example' }) };
const HOST = 'packages.acme.example';

let dir: string;
let env: Record<string, string>;
let events: SecretEvent[];
let redactor: Redactor;
let broker: Broker;
let failing: ((event: SecretEvent) => void) | null;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cordon-broker-'));
  env = { T: VALUE };
  events = [];
  failing = null;
  redactor = new Redactor();
  broker = open();
});
afterEach(async () => {
  await broker.close();
  await rm(dir, { recursive: true });
});

function open(scopes = {}): Broker {
  const secrets = { NPM_TOKEN: { variable: 'T', scopes }, OTHER: { variable: 'O' } };
  return openBroker({
    drivers: [openSecrets('env', { env, secrets })],
    dir,
    redactor,
    record: async (event) => {
      failing?.(event);
      events.push(event);
    },
    pollMs: 5,
  });
}

describe('grants', () => {
  test('the guest gets a placeholder, the host the value, the log neither', async () => {
    const grant = await broker.grant(run, npm);
    expect(grant.placeholder).toMatch(/^cordon-secret-NPM_TOKEN-[0-9a-z]{26}$/);
    const { header, value } = await broker.resolve(grant.id, run.id, HOST);
    expect([header, value.reveal().toString()]).toEqual(['authorization', `Bearer ${VALUE}`]);
    expect(events.map(({ type }) => type)).toEqual(['secret.granted', 'secret.used']);
    for (const shown of [JSON.stringify(events), inspect([grant, value, broker], { depth: 9, showHidden: true })]) {
      expect(shown).not.toContain(VALUE);
    }
    expect(redactor.redact(`x ${VALUE}`)).toBe('x [secret:NPM_TOKEN]');
  });

  test('two grants never share a placeholder', async () => {
    const [a, b] = [await broker.grant(run, npm), await broker.grant(other, npm)];
    expect(a.placeholder).not.toBe(b.placeholder);
    expect(broker.grants(run.id)).toEqual([a]);
    expect(broker.grants(run.id, HOST)).toEqual([a]);
    expect(broker.grants(run.id, 'evil.example')).toEqual([]);
  });

  test('the value is read at each use', async () => {
    const grant = await broker.grant(run, npm);
    env.T = 'a-new-value-since';
    const { value } = await broker.resolve(grant.id, run.id, HOST);
    expect(value.reveal().toString()).toBe('Bearer a-new-value-since');
    expect(redactor.redact('a-new-value-since')).toBe('[secret:NPM_TOKEN]');
    delete env.T;
    await expect(broker.resolve(grant.id, run.id, HOST)).rejects.toThrow(NotFoundError);
  });

  test('only for the named host and for this run', async () => {
    const grant = await broker.grant(run, npm);
    for (const host of ['evil.example', `x.${HOST}`, `${HOST}.evil.example`, HOST.toUpperCase()]) {
      await expect(broker.resolve(grant.id, run.id, host)).rejects.toThrow(PolicyDeniedError);
    }
    await expect(broker.resolve(grant.id, other.id, HOST)).rejects.toThrow(PolicyDeniedError);
    await expect(broker.reveal(grant.id, run.id)).rejects.toThrow(PolicyDeniedError);
    expect(events.map(({ type }) => type)).toEqual(['secret.granted']);
  });

  test('inside the sandbox only when the use says so', async () => {
    const grant = await broker.grant(run, { name: 'NPM_TOKEN', use: parseUse({ env: 'NPM_TOKEN' }) });
    expect((await broker.reveal(grant.id, run.id)).reveal().toString()).toBe(VALUE);
    await expect(broker.resolve(grant.id, run.id, HOST)).rejects.toThrow(PolicyDeniedError);
  });

  test.each([
    [{ repositories: ['home/ann/src/**'] }, true],
    [{ repositories: ['home/bob/**'] }, false],
    [{ agents: ['claude-*'] }, true],
    [{ agents: ['codex'] }, false],
    [{ hosts: ['*.acme.example'] }, true],
    [{ hosts: ['acme.example'] }, false],
    [{ workflows: ['*'] }, false],
    [{ environments: ['production'] }, false],
  ])('scopes %j: %s', async (scopes, permitted) => {
    const scoped = open(scopes);
    const granted = scoped.grant(run, npm);
    if (permitted) await granted;
    else await expect(granted).rejects.toThrow(PolicyDeniedError);
    await scoped.close();
  });

  test('a use inside is outside every scope of hosts', async () => {
    const scoped = open({ hosts: ['*.acme.example'] });
    const granted = scoped.grant(run, { name: 'NPM_TOKEN', use: parseUse({ env: 'X' }) });
    await expect(granted).rejects.toThrow(/use inside the sandbox/);
  });

  test('what cannot be read, or stand in a header, is not granted', async () => {
    await expect(broker.grant(run, { ...npm, name: 'OTHER' })).rejects.toThrow(NotFoundError);
    await expect(broker.grant(run, { ...npm, name: 'NOWHERE' })).rejects.toThrow(NotFoundError);
    env.T = 'two\r\nX-Evil: lines';
    await expect(broker.grant(run, npm)).rejects.toThrow(UsageError);
    expect(broker.grants(run.id)).toEqual([]);
    expect(events).toEqual([]);
  });

  test('two places with one name are not guessed between', async () => {
    const drivers = [1, 2].map(() => openSecrets('env', { env, secrets: { NPM_TOKEN: { variable: 'T' } } }));
    const unsure = openBroker({ drivers, dir, redactor, record: async () => {} });
    await expect(unsure.grant(run, npm)).rejects.toThrow(ConflictError);
  });

  test('what cannot be recorded does not happen', async () => {
    failing = () => {
      throw new Error('log full');
    };
    await expect(broker.grant(run, npm)).rejects.toThrow('log full');
    expect(broker.grants(run.id)).toEqual([]);
    failing = null;
    const grant = await broker.grant(run, npm);
    failing = ({ type }) => {
      if (type === 'secret.used') throw new Error('log full');
    };
    await expect(broker.resolve(grant.id, run.id, HOST)).rejects.toThrow('log full');
  });

  test('ends with its run', async () => {
    const grant = await broker.grant(run, npm);
    const still = await broker.grant(other, npm);
    await broker.endRun(run.id);
    await broker.endRun(run.id);
    expect(grant.signal.aborted).toBe(true);
    expect(still.signal.aborted).toBe(false);
    await expect(broker.resolve(grant.id, run.id, HOST)).rejects.toThrow(PolicyDeniedError);
    await broker.resolve(still.id, other.id, HOST);
    expect(await broker.revoke('NPM_TOKEN')).toEqual({ runs: [other.id], unanswered: [] });
  });

  test.each(['Host: {}', 'Content-Length: {}', 'Transfer-Encoding: {}', 'X: {}{}', 'X-A: {}\r\nX-B: c', 'no colon {}'])(
    'no secret stands in %j',
    (header) => {
      expect(() => parseUse({ host: HOST, header })).toThrow(UsageError);
    },
  );

  test('a value with $ in it stands in its header as it is', async () => {
    env.T = "$&$1$`$'-value";
    const grant = await broker.grant(run, {
      name: 'NPM_TOKEN',
      use: parseUse({ host: HOST, header: 'X-Key: a {} b' }),
    });
    const { header, value } = await broker.resolve(grant.id, run.id, HOST);
    expect([header, value.reveal().toString()]).toEqual(['x-key', "a $&$1$`$'-value b"]);
  });
});

describe('revocation', () => {
  test('cuts what is open, confirms, and says which runs', async () => {
    const [one, two] = [await broker.grant(run, npm), await broker.grant(other, npm)];
    expect(await new GrantBook(dir).revoke('NPM_TOKEN', 5_000)).toEqual({ runs: [run.id, other.id], unanswered: [] });
    expect([one.signal.aborted, two.signal.aborted]).toEqual([true, true]);
    expect(broker.grants(run.id)).toEqual([]);
    await expect(broker.resolve(one.id, run.id, HOST)).rejects.toThrow(/revoked/);
    expect(events.filter(({ type }) => type === 'secret.revoked').map((event) => event.run)).toContain(run.id);
  });

  test('holds for the next use, whether or not anybody has looked', async () => {
    const asleep = openBroker({
      drivers: [openSecrets('env', { env, secrets: { NPM_TOKEN: { variable: 'T' } } })],
      dir,
      redactor,
      record: async () => {},
      pollMs: 1_000_000,
    });
    const grant = await asleep.grant(run, npm);
    const revoked = new GrantBook(dir).revoke('NPM_TOKEN', 0);
    expect(await revoked).toEqual({ runs: [], unanswered: [run.id] });
    await expect(asleep.resolve(grant.id, run.id, HOST)).rejects.toThrow(/revoked/);
    expect(grant.signal.aborted).toBe(true);
    await asleep.close();
  });

  test('a use that is under way when it comes does not get the value', async () => {
    const grant = await broker.grant(run, npm);
    let revoked: Promise<unknown> = Promise.resolve();
    failing = ({ type }) => {
      if (type === 'secret.used') revoked = new GrantBook(dir).revoke('NPM_TOKEN', 0);
    };
    const slow = openBroker({
      drivers: [openSecrets('env', { env, secrets: { NPM_TOKEN: { variable: 'T' } } })],
      dir,
      redactor,
      record: async (event) => {
        failing?.(event);
        await revoked;
      },
    });
    const mine = await slow.grant(other, npm);
    await expect(slow.resolve(mine.id, other.id, HOST)).rejects.toThrow(/revoked/);
    await slow.close();
    expect(grant.name).toBe('NPM_TOKEN');
  });

  test('waits for who was kept from answering, however late it is when everybody goes on', async () => {
    await broker.grant(run, npm);
    let late = 0; // after a machine stood still, its clock is past every deadline
    const clock = { now: () => Date.now(), monotonic: () => (late += 10_000) };
    expect(await new GrantBook(dir, clock).revoke('NPM_TOKEN', 5_000)).toEqual({ runs: [run.id], unanswered: [] });
  });

  test('leaves other names and later grants alone', async () => {
    env.O = 'another-token-2';
    const others = await broker.grant(run, { ...npm, name: 'OTHER' });
    await broker.grant(run, npm);
    await broker.revoke('NPM_TOKEN');
    await broker.resolve(others.id, run.id, HOST);
    const again = await broker.grant(other, npm);
    await broker.resolve(again.id, other.id, HOST);
  });

  test('names only the runs that it cut itself', async () => {
    await broker.grant(run, npm);
    expect(await broker.revoke('NPM_TOKEN', 5_000)).toEqual({ runs: [run.id], unanswered: [] });
    expect(await broker.revoke('NPM_TOKEN', 5_000)).toEqual({ runs: [], unanswered: [] });
    await broker.grant(run, npm);
    await broker.grant(other, npm);
    expect(await broker.revoke('NPM_TOKEN', 5_000)).toEqual({ runs: [run.id, other.id], unanswered: [] });
  });

  test('a grant that was made after it is not its business', async () => {
    const book = new GrantBook(dir);
    await book.revoke('NPM_TOKEN', 0);
    await book.write(run.id, currentProcess(), [{ id: 'a', name: 'NPM_TOKEN', since: 2, revoked: null }]);
    expect(await book.revoke('NPM_TOKEN', 0)).toEqual({ runs: [], unanswered: [] });
    expect(await book.revoke('NPM_TOKEN', 0)).toEqual({ runs: [], unanswered: [run.id] });
  });

  test('what a killed process left is no run', async () => {
    const book = new GrantBook(dir);
    const owner = { pid: 1, startTime: '0', bootId: 'another boot' };
    await book.write(run.id, owner, [{ id: 'a', name: 'NPM_TOKEN', since: 0, revoked: null }]);
    expect(await book.revoke('NPM_TOKEN', 0)).toEqual({ runs: [], unanswered: [] });
  });

  test('a count that cannot be read stops uses', async () => {
    const grant = await broker.grant(run, npm);
    await broker.revoke('OTHER');
    await writeFile(join(dir, 'revoked', 'NPM_TOKEN.json'), '{');
    await expect(broker.resolve(grant.id, run.id, HOST)).rejects.toThrow(PolicyDeniedError);
    await expect(broker.grant(other, npm)).rejects.toThrow(EnforcementError);
  });
});

test('a secret shows itself nowhere', () => {
  const secret = new Secret(Buffer.from(VALUE), 'X');
  const error = new Error(`with ${secret}`, { cause: { secret } });
  for (const text of [inspect(error), inspect({ secret }), JSON.stringify({ secret }), `${secret}`, String(secret)]) {
    expect(text).toContain('[secret]');
    expect(text).not.toContain(VALUE);
  }
  expect(() => new Secret(Buffer.from('1234567'), 'PIN')).toThrow(/PIN has 7 bytes/);
  expect(() => new Secret(Buffer.alloc(0), 'PIN')).toThrow(/empty/);
});
