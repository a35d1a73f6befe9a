import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AuditUnavailableError, ConflictError } from '../base/errors.ts';
import { Redactor } from '../base/redact/index.ts';
import {
  type Broker,
  type OutgoingRequest,
  openBroker,
  openSecrets,
  parseUse,
  RunSecrets,
  type SecretEvent,
} from './index.ts';

const HOST = 'packages.acme.example';
const facts = { id: '0123456789abcdef', repository: 'r', agent: 'a', workflow: null, environment: null };
const use = parseUse({ host: HOST });

let dir: string;
let events: SecretEvent[];
let broker: Broker;
let run: RunSecrets;
let record: (event: SecretEvent) => Promise<unknown>;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cordon-run-'));
  events = [];
  record = async (event) => events.push(event);
  broker = openBroker({
    drivers: [
      openSecrets('env', {
        env: { T: 'the-token-itself-1', K: 'the-key-itself-22' },
        secrets: { TOKEN: { variable: 'T' }, KEY: { variable: 'K' } },
      }),
    ],
    dir,
    redactor: new Redactor(),
    record: (event) => record(event),
  });
  run = new RunSecrets(broker, facts);
});
afterEach(async () => {
  await run.end();
  await broker.close();
  await rm(dir, { recursive: true });
});

const header = (name: string, value: string) => ({ name, lower: name.toLowerCase(), value });
function to(host: string, fields: Partial<OutgoingRequest> = {}): OutgoingRequest {
  return { host, path: '/', query: null, headers: [], ...fields };
}

test('sets the headers of the host, and nothing for others', async () => {
  await run.grant('TOKEN', use);
  await run.grant('KEY', parseUse({ host: HOST, header: 'x-api-key: {}' }));
  expect(await run.apply(to(HOST))).toEqual({
    set: [header('Authorization', 'Bearer the-token-itself-1'), header('X-Api-Key', 'the-key-itself-22')],
  });
  expect(await run.apply(to('other.acme.example'))).toEqual({ set: [] });
  expect([run.wants({ host: HOST }), run.wants({ host: 'other.acme.example' })]).toEqual([true, false]);
});

test('the placeholder may stand where the value will, as it is or in base64', async () => {
  const { placeholder } = await run.grant('TOKEN', use);
  for (const value of [`Bearer ${placeholder}`, `Basic ${Buffer.from(`x:${placeholder}`).toString('base64')}`]) {
    expect(await run.apply(to(HOST, { headers: [header('authorization', value)] }))).toHaveProperty('set');
  }
  expect(events.filter(({ type }) => type === 'secret.alarm')).toEqual([]);
});

test.each([
  ['path', (p: string) => to(HOST, { path: `/x/${p}` })],
  ['path', (p: string) => to(HOST, { path: `/x/%63${p.slice(1)}` })],
  ['query', (p: string) => to(HOST, { query: `a=${p}` })],
  ['query', (p: string) => to(HOST, { query: `a=${Buffer.from(p).toString('base64url')}` })],
  ['header cookie', (p: string) => to(HOST, { headers: [header('Cookie', `a=${p}`)] })],
  ['header name', (p: string) => to(HOST, { headers: [header(p, '')] })],
  ['header authorization', (p: string) => to('evil.example', { headers: [header('Authorization', `Bearer ${p}`)] })],
])('in the %s it goes no further', async (where, request) => {
  const { placeholder } = await run.grant('TOKEN', use);
  const answer = await run.apply(request(placeholder));
  expect(answer).toMatchObject({ refuse: expect.stringContaining(`in the ${where}`) });
  expect(JSON.stringify(answer)).not.toContain(placeholder);
  expect(events.map(({ type }) => type)).toEqual(['secret.granted', 'secret.alarm']);
});

test('another run’s placeholder opens nothing, not even in the right header', async () => {
  const other = new RunSecrets(broker, { ...facts, id: 'fedcba9876543210' });
  const { placeholder } = await other.grant('TOKEN', use);
  await run.grant('TOKEN', use);
  const request = to(HOST, { headers: [header('Authorization', `Bearer ${placeholder}`)] });
  expect(await run.apply(request)).toHaveProperty('refuse');
  await other.end();
});

test('a body stops at the piece that completes a placeholder', async () => {
  const { placeholder } = await run.grant('TOKEN', use);
  const watch = run.watchBody(HOST, () => {});
  expect(watch(Buffer.from(`a ${placeholder.slice(0, 20)}`), false)).toBe(false);
  expect(watch(Buffer.from(`${placeholder.slice(20)} b`), false)).toBe(true);
  expect(events.at(-1)?.resource).toMatchObject({ where: 'body', host: HOST });
});

test('what was revoked is refused, and what cannot be recorded is an error', async () => {
  const { placeholder } = await run.grant('TOKEN', use);
  record = async () => {
    throw new AuditUnavailableError('the log is full');
  };
  await expect(run.apply(to(HOST))).rejects.toThrow(AuditUnavailableError);
  record = async () => {};
  await broker.revoke('TOKEN', 1_000);
  expect(await run.apply(to(HOST))).toEqual({ set: [] });
  const request = to(HOST, { headers: [header('Authorization', `Bearer ${placeholder}`)] });
  expect(await run.apply(request)).toEqual({ refuse: 'the secret TOKEN was revoked' });
  expect(events.map(({ type }) => type)).toEqual(['secret.granted']);
});

test('no two secrets in one header', async () => {
  await run.grant('TOKEN', use);
  await expect(run.grant('KEY', use)).rejects.toThrow(ConflictError);
});
