/** Rules about paths: every way of writing a request that is judged as one thing, and done as another by some server behind. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openScene, received, type Scene } from '../fakes/egress-scene.ts';

let scene: Scene;
let ca: string;
beforeAll(async () => {
  scene = await openScene();
  ca = scene.egress.caBundle.slice(scene.egress.caBundle.lastIndexOf('-----BEGIN'));
});
afterAll(() => scene.close());
beforeEach(() => scene.reset());

async function answerTo(path: string, lines = '', method = 'GET'): Promise<string> {
  const tls = await scene.tunnel('inspected.example:443', { ca });
  const answer = received(tls);
  tls.write(`${method} ${path} HTTP/1.1\r\nHost: inspected.example\r\n${lines}Connection: close\r\n\r\n`);
  return answer;
}

describe('honest paths pass as they are', () => {
  test.each([
    '/open/a;v=1/b',
    '/open/%23room:host',
    '/open/what%3F',
    '/open/a%20b',
    '/open/...',
    '/open/.hidden',
    '/open/caf%C3%A9',
    '/open/%E6%97%A5%E6%9C%AC',
    '/open/%FF',
    '/open/',
  ])('%s', async (path) => {
    expect(await answerTo(path)).toMatch(/^HTTP\/1\.1 200 /);
    expect(scene.seen.map(({ url }) => url)).toEqual([path]);
  });
});

describe('paths that some server reads as another', () => {
  test.each([
    ['dots with a line end', '/open/..%0a/closed'],
    ['dots with a return', '/open/..%0d/closed'],
    ['dots with a vertical tab', '/open/..%0b/closed'],
    ['dots with an escape character', '/open/..%1b/closed'],
    ['dots with a delete', '/open/..%7f/closed'],
    ['dots behind a blank', '/open/%20../closed'],
    ['dots behind a tab', '/open/%09../closed'],
    ['dots with a tab between', '/open/.%09./closed'],
    ['dots with a hard blank', '/open/..%c2%a0/closed'],
    ['dots with a hard blank of Latin-1', '/open/..%a0/closed'],
    ['dots with a wide blank', '/open/..%e3%80%80/closed'],
    ['dots with what nobody sees', '/open/..%e2%80%8b/closed'],
    ['dots before an escaped question mark', '/open/..%3fa/closed'],
    ['dots before an escaped hash', '/open/..%23/closed'],
    ['wide dots', '/open/%ef%bc%8e%ef%bc%8e/closed'],
    ['a letter that is two dots', '/open/%e2%80%a5/closed'],
    ['a wide slash', '/open/..%ef%bc%8fclosed'],
    ['a wide backslash', '/open/..%ef%bc%bcclosed'],
    ['a segment of nothing but a parameter', '/open/;/closed'],
    ['the same, escaped', '/open/%3b/closed'],
    ['a segment of blanks', '/open/%20/closed'],
    ['a line end and another request', '/open/a%20HTTP/1.1%0d%0aX:%20y%0d%0a%0d%0aGET%20/closed'],
    ['a line feed alone', '/open/a%0aX:%20y'],
  ])('%s', async (_name, path) => {
    expect(await answerTo(path)).toMatch(/^HTTP\/1\.1 400 [\s\S]*"remedy":"/);
    expect({ dialled: scene.dialled, seen: scene.seen }).toEqual({ dialled: [], seen: [] });
  });
});

describe('headers that name another request', () => {
  test.each([
    'X-Forwarded-Method: DELETE',
    'X-Original-URI: /closed',
    'X-Forwarded-Uri: /closed',
    'X-Forwarded-Path: /closed',
    'X-Forwarded-Prefix: /closed',
    'X_Forwarded_Host: evil.example',
    'X-Forwarded-Host: evil.example',
    'X-Original-Host: evil.example',
    'X-Host: evil.example',
    'X-HTTP-Host-Override: evil.example',
    'Forwarded: host=evil.example',
    'Destination: /closed',
    'Destination: https://inspected.example/closed',
  ])('%s', async (line) => {
    expect(await answerTo('/open/a', `${line}\r\n`)).toMatch(/^HTTP\/1\.1 400 [\s\S]*"leave the header .* out"/);
    expect({ dialled: scene.dialled, seen: scene.seen }).toEqual({ dialled: [], seen: [] });
  });

  test('mean nothing where nobody judges requests: there they pass', async () => {
    const socket = await scene.open();
    const answer = received(socket);
    socket.write(
      'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nX-Forwarded-Host: a.example\r\nConnection: close\r\n\r\n',
    );
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});
