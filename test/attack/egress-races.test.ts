/** What is taken back, or used up, in the very moment in which it is used; judged by what a host outside was sent. */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

const VALUE = 'Bearer the-value-itself';
const POLICY = `version: 1
security:
  allowed_network_hosts:
    - allowed.example:80
    - {host: inspected.example, methods: [GET, PUT]}
    - {host: small.example, port: 80, max_upload: 4k}
    - {host: "*.wild.example", port: 80, max_upload: 4k}
`;

let scene: Scene;
/** Lets the name's answer come. */
let answerName: () => void;

beforeAll(async () => {
  scene = await openScene({
    policyText: POLICY,
    secrets: {
      wants: () => false,
      apply: async () => ({ set: [{ name: 'Authorization', lower: 'authorization', value: VALUE }] }),
      watchBody: () => () => false,
      watchAnswer: () => null,
    },
  });
});
afterAll(() => scene.close());
beforeEach(() => scene.reset());

/** A request that stands between its verdict and its connection. */
async function held(): Promise<Socket> {
  const waiting = new Promise<void>((resolve) => {
    answerName = resolve;
  });
  const { resolve } = scene;
  scene.resolve = async (name) => {
    await waiting;
    return resolve(name);
  };
  const socket = await scene.open();
  socket.write('GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nConnection: close\r\n\r\n');
  await scene.until(() => scene.resolved.length === 1);
  return socket;
}

describe('revoked between the verdict and the connection', () => {
  test('a request with its value already in it is not sent', async () => {
    const socket = await held();
    const answer = received(socket);
    expect(scene.egress.revoke({ host: 'inspected.example' })).toBe(0);
    expect(scene.egress.revoke({ host: 'allowed.example' })).toBe(1);
    answerName();
    expect(await answer).toMatch(/ 403 [\s\S]*revoked/);
    expect(scene.seen).toEqual([]);
    expect(scene.closed.map(({ result }) => result)).toEqual(['revoked']);
  });
});

describe('a budget is one', () => {
  const put = async (host: string, bytes: number) => {
    const head = `PUT http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`;
    return scene.send(head + 'x'.repeat(bytes));
  };
  const outside = () => scene.seen.reduce((sum, { body }) => sum + body.length, 0);

  test('for connections that begin at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => put('small.example', 1000)));
    expect(answers.filter((answer) => answer.startsWith('HTTP/1.1 200')).length).toBeLessThan(4);
    expect(outside()).toBeLessThanOrEqual(4096);
    expect(scene.closed.map(({ result }) => result)).toContain('budget');
  });

  test('for all names of a wildcard, however many a guest thinks of', async () => {
    scene.resolve = async () => ['93.184.216.37'];
    const answers: string[] = [];
    for (let i = 0; i < 10; i++) answers.push(await put(`data-${i}.wild.example`, 1000));
    expect(answers[0]).toMatch(/^HTTP\/1\.1 200/);
    expect(answers.at(-1)).toMatch(/^HTTP\/1\.1 403[\s\S]*max_upload/);
    expect(outside()).toBeLessThanOrEqual(4096);
  });
});
