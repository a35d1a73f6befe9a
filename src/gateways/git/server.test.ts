import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { branch, pushScene, type Scene, type SceneOptions } from '../../../test/fakes/push-scene.ts';
import { flushPacket, packet } from '../../base/pktline.ts';

let scene: Scene;
afterEach(() => scene.close());
const setUp = async (options?: SceneOptions) => {
  scene = await pushScene(options);
};

const url = (path: string) => `http://127.0.0.1:${scene.server.port}${path}`;
const zero = '0'.repeat(40);

const post = (body: Uint8Array, headers: Record<string, string> = {}) =>
  fetch(url('/origin/git-receive-pack'), {
    method: 'POST',
    body: Buffer.from(body),
    headers: { 'Content-Type': 'application/x-git-receive-pack-request', ...headers },
  });

test('a commit of the guest arrives in the quarantine, and only there', async () => {
  await setUp();
  scene.guest.write('src/app.js', 'console.log(2);\n');
  const head = scene.guest.commit('fix');
  expect(await scene.push()).toMatchObject({ ok: true });
  expect(await scene.quarantine.head(`refs/heads/${branch}`)).toBe(head);
  expect(scene.user.git('branch', '--list', branch)).toBe('');
  expect((await scene.user.tryGit('cat-file', '-e', head)).ok).toBe(false);
});

test.each(['0', '1', '2'])('stock git clones the base over protocol %s, and sees nothing else', async (version) => {
  await setUp();
  scene.guest.commit('pushed and not to be seen');
  expect((await scene.push()).ok).toBe(true);
  const clone = await scene.guest.tryGit(
    '-c',
    `protocol.version=${version}`,
    'clone',
    '-q',
    url('/origin'),
    '../clone',
  );
  expect(clone).toEqual({ ok: true, text: '' });
  expect(scene.guest.git('-C', '../clone', 'rev-parse', 'HEAD')).toBe(scene.checkout.base);
  const refs = (await scene.guest.tryGit('ls-remote', 'origin')).text.trim().split('\n');
  expect(refs.map((line) => line.split('\t')[1])).toEqual(['HEAD', 'refs/heads/main']);
});

test('pushes again after an amend, and a large one in chunks', async () => {
  await setUp();
  scene.guest.write('a', 'a');
  scene.guest.commit('one');
  expect((await scene.push()).ok).toBe(true);
  scene.guest.write('large', Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 13)));
  scene.guest.git('add', '-A');
  scene.guest.git('commit', '-q', '--amend', '-m', 'two');
  expect(await scene.push()).toMatchObject({ ok: true });
  expect(await scene.quarantine.head(`refs/heads/${branch}`)).toBe(scene.guest.git('rev-parse', 'HEAD'));
});

test('works on a shallow checkout and with SHA-256', async () => {
  await setUp({ depth: 1, initArgs: ['--object-format=sha256'] });
  expect(scene.guest.git('rev-list', '--count', 'HEAD')).toBe('1');
  const head = scene.guest.commit('one');
  expect(head).toMatch(/^[0-9a-f]{64}$/);
  expect(await scene.push()).toMatchObject({ ok: true });
});

test('a partial checkout pushes, and what it does not have cannot be fetched', async () => {
  await setUp({ paths: ['src/**'], depth: 1 });
  scene.guest.write('src/app.js', 'console.log(2);\n');
  scene.guest.commit('fix');
  expect(await scene.push()).toMatchObject({ ok: true });
  const inspection = await scene.inspect();
  expect(inspection).toMatchObject({ findings: [], facts: { changedPaths: ['src/app.js'], changedLines: 2 } });
  const hidden = scene.user.git('rev-parse', 'HEAD:docs/guide.md');
  expect((await scene.guest.tryGit('-c', 'protocol.version=2', 'fetch', 'origin', hidden)).ok).toBe(false);
});

test.each([
  [`HEAD:refs/heads/main`, /may push refs\/heads\/cordon\/test only/],
  ['HEAD:refs/tags/v1', /may push refs\/heads\/cordon\/test only/],
  ['HEAD:refs/replace/abc', /only/],
  [`:refs/heads/${branch}`, /may not delete a branch/],
])('refuses %s with a reason that git shows', async (refspec, why) => {
  await setUp();
  scene.guest.commit('one');
  expect((await scene.push()).ok).toBe(true);
  const refused = await scene.push(refspec);
  expect(refused.ok).toBe(false);
  expect(refused.text).toMatch(/remote: cordon: /);
  expect(refused.text).toMatch(why);
  expect(scene.quarantine.place.gitDir).toBeDefined();
});

test('one refused ref refuses the whole push', async () => {
  await setUp();
  scene.guest.commit('one');
  const pushed = await scene.guest.tryGit('push', 'origin', `HEAD:refs/heads/${branch}`, 'HEAD:refs/heads/other');
  expect(pushed.ok).toBe(false);
  expect(await scene.quarantine.head(`refs/heads/${branch}`)).toBeNull();
});

test.each<[string, Uint8Array, Record<string, string>?]>([
  ['a length that is no hex', Buffer.from('00zz')],
  ['a length of 3', Buffer.from('0003')],
  ['a delimiter among commands', Buffer.from('0001')],
  ['a packet cut off', Buffer.from('00ff1234')],
  ['no flush', packet(`${zero} ${'1'.repeat(40)} refs/heads/${branch}\0report-status`)],
  ['a push certificate', Buffer.concat([packet('push-cert\0report-status\n'), flushPacket])],
  [
    'push options',
    Buffer.concat([packet(`${zero} ${'1'.repeat(40)} refs/heads/${branch}\0push-options`), flushPacket]),
  ],
  [
    'another hash',
    Buffer.concat([packet(`${zero} ${'1'.repeat(40)} refs/heads/${branch}\0object-format=sha256`), flushPacket]),
  ],
  ['a ref with a shell word', Buffer.concat([packet(`${zero} ${'1'.repeat(40)} refs/heads/$(id)\0`), flushPacket])],
  ['a ref with an option', Buffer.concat([packet(`${zero} ${'1'.repeat(40)} --upload-pack=x\0`), flushPacket])],
  [
    'a ref twice',
    Buffer.concat([
      packet(`${zero} ${'1'.repeat(40)} refs/heads/${branch}\0`),
      packet(`${zero} ${'2'.repeat(40)} refs/heads/${branch}`),
      flushPacket,
    ]),
  ],
  [
    'a second line in a command',
    Buffer.concat([
      packet(`${zero} ${'1'.repeat(40)} refs/heads/x\n${zero} ${'1'.repeat(40)} refs/heads/main\0`),
      flushPacket,
    ]),
  ],
  ['gzip that is none', Buffer.from('nonsense'), { 'Content-Encoding': 'gzip' }],
])('answers 400 to %s', async (_what, body, headers) => {
  await setUp();
  const response = await post(body, headers);
  expect(response.status).toBe(400);
  expect(await response.text()).toMatch(/^cordon: /);
});

test('takes gzip, and stops at its bound when inflated', async () => {
  await setUp({ maxPack: 1024 * 1024 });
  expect((await post(gzipSync('0000'), { 'Content-Encoding': 'gzip' })).status).toBe(200);
  const command = Buffer.concat([packet(`${zero} ${'1'.repeat(40)} refs/heads/other\0report-status`), flushPacket]);
  const bomb = gzipSync(Buffer.concat([command, Buffer.alloc(64 * 1024 * 1024)]));
  expect((await post(bomb, { 'Content-Encoding': 'gzip' })).status).toBe(413);
});

test.each([
  ['GET', '/', 404],
  ['GET', '/origin/HEAD', 404],
  ['GET', '/origin/objects/info/packs', 404],
  ['GET', '/origin/../origin/info/refs?service=git-upload-pack', 404],
  ['GET', '/origin/info/refs', 403],
  ['GET', '/origin/info/refs?service=git-upload-archive', 403],
  ['POST', '/origin/info/refs?service=git-upload-pack', 405],
  ['GET', '/origin/git-receive-pack', 405],
  ['POST', '/origin/git-receive-pack', 415],
])('%s %s is %d', async (method, path, status) => {
  await setUp();
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(scene.server.port as number, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text));
    socket.end(`${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  });
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
});

test('a push that git refuses says why and changes nothing', async () => {
  await setUp();
  const tree = scene.guest.rawTree([['100644', '.git', scene.guest.object('blob', 'x')]]);
  scene.guest.commitTree(tree);
  const pushed = await scene.push();
  expect(pushed.ok).toBe(false);
  expect(pushed.text).toMatch(/hasDotgit/);
  expect(await scene.quarantine.head(`refs/heads/${branch}`)).toBeNull();
});
