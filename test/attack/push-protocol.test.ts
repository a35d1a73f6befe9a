/** Raw bytes to the push gateway, as no client of git's sends them: judged by the quarantine's refs, its files, and the answers. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { flushPacket, packet } from '../../src/base/pktline.ts';
import { type DeskScene, deskScene } from '../fakes/desk-scene.ts';
import { branch } from '../fakes/push-scene.ts';

const ref = `refs/heads/${branch}`;
const zero = '0'.repeat(40);
const LIMIT = 4 * 1024 * 1024;
let it: DeskScene;
let commit: string;
let base: string;
let honest: Buffer;

beforeAll(async () => {
  it = await deskScene({ maxPack: LIMIT, timeout: 15_000 });
  const { guest } = it.scene;
  base = guest.git('rev-parse', 'HEAD');
  guest.write('honest.txt', 'honest\n');
  commit = guest.commit('honest');
  honest = guest.bytes(['pack-objects', '--revs', '--stdout', '-q'], `${commit}\n^${base}\n`);
});
afterAll(() => it.close());

const line = (from: string, to: string, name: string, more = '') => packet(`${from} ${to} ${name}${more}`);
const caps = (text = 'report-status side-band-64k') => `\0${text}`;
const create = (more = caps()) => line(zero, commit, ref, more);
const request = (pack: Buffer = honest, head: Buffer = Buffer.concat([create(), flushPacket])) =>
  Buffer.concat([head, pack]);

function headers(more: Record<string, string>): string {
  const all = { Host: 'x', 'Content-Type': 'application/x-git-receive-pack-request', ...more };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /origin/git-receive-pack HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function open(): Socket {
  const socket = connect(it.server.port as number, '127.0.0.1');
  socket.on('error', () => {});
  return socket;
}

/** Everything that comes back until the connection ends. */
function raw(bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = open();
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('close', () => resolve(text));
    socket.write(bytes);
  });
}

const post = (body: Buffer, more: Record<string, string> = {}) =>
  raw(
    Buffer.concat([
      Buffer.from(headers({ 'Content-Length': String(body.length), Connection: 'close', ...more })),
      body,
    ]),
  );

/** Refs that pushes made, and what lies about of pushes on their way in. */
async function state() {
  const { place } = it.scene.quarantine;
  return {
    head: await it.scene.quarantine.head(ref),
    incoming: readdirSync(place.gitDir).filter((name) => name.startsWith('incoming')),
    packs: readdirSync(join(place.gitDir, 'objects/pack')),
  };
}
const untouched = { head: null, incoming: [], packs: [] };

beforeEach(async () => {
  expect(await state()).toEqual(untouched);
});

/** A pack of these entries with the checksum that belongs to them. */
function packOf(entries: readonly Buffer[], count = entries.length, version = 2): Buffer {
  const head = Buffer.from('PACK\0\0\0\0\0\0\0\0', 'latin1');
  head.writeUInt32BE(version, 4);
  head.writeUInt32BE(count, 8);
  const body = Buffer.concat([head, ...entries]);
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}

const TYPES = { commit: 1, tree: 2, blob: 3, tag: 4, odd: 5, ofs: 6, ref: 7 } as const;
function entry(type: keyof typeof TYPES, content: Buffer, between = Buffer.alloc(0), size = content.length): Buffer {
  const head: number[] = [(TYPES[type] << 4) | (size & 15)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    head[head.length - 1] = (head.at(-1) as number) | 128;
    head.push(rest & 127);
  }
  return Buffer.concat([Buffer.from(head), between, deflateSync(content)]);
}
const id = (hex: string) => Buffer.from(hex, 'hex');
const blob = () => entry('blob', Buffer.from('x\n'));
/** A delta: sizes of source and target, then one insertion. */
const delta = (source: number, target: number) => Buffer.from([source, target, 1, 0x41]);

const count = (pack: Buffer) => pack.readUInt32BE(8);

/** A pack of one delta upon a file of the base, which only the quarantine's view has. */
function thin(): Buffer {
  const { guest } = it.scene;
  const readme = guest.git('rev-parse', `${base}:README.md`);
  return packOf([entry('ref', Buffer.from([8, 9, 0x90, 8, 1, 0x41]), id(readme))]);
}

/** By how much git makes it longer, to complete it. */
function basesOf(pack: Buffer): number {
  const dir = mkdtempSync(join(it.scene.root, 'thin-'));
  const text = it.scene.guest.bytes(['index-pack', '--stdin', '--fix-thin', join(dir, 'a.pack')], pack).toString();
  expect(text).toMatch(/^pack\t/);
  return statSync(join(dir, 'a.pack')).size - pack.length;
}

const refused = /^HTTP\/1\.1 (?:400|413|415|417|501) |[0-9a-f]{4}ng /;

describe('pkt-lines and commands', () => {
  const other = '1'.repeat(40);
  const cases: Record<string, () => Buffer> = {
    'a negative length': () => Buffer.from('-001'),
    'a length with a space': () => Buffer.from(' 010'),
    'a length with a sign': () => Buffer.from('+010'),
    'a length of 3': () => Buffer.from('0003'),
    'a length above 65520': () => Buffer.concat([Buffer.from('ffff'), Buffer.alloc(65_535, 65)]),
    'an empty packet': () => Buffer.concat([Buffer.from('0004'), flushPacket]),
    'a response end among commands': () => Buffer.from('0002'),
    'a delimiter after a command': () => Buffer.concat([create(), Buffer.from('0001'), flushPacket, honest]),
    'a packet that ends early': () => create().subarray(0, 40),
    'commands without an end': () => create(),
    'a second list of commands instead of a pack': () =>
      request(Buffer.concat([line(zero, commit, 'refs/heads/main'), flushPacket, honest])),
    'a flush more before the pack': () => request(Buffer.concat([flushPacket, honest])),
    'one ref twice': () => Buffer.concat([create(), line(zero, other, ref), flushPacket, honest]),
    'one ref twice, once deleted': () => Buffer.concat([create(), line(commit, zero, ref), flushPacket, honest]),
    'capabilities on the second line': () =>
      Buffer.concat([create(), line(zero, commit, 'refs/heads/cordon/b', caps()), flushPacket, honest]),
    'a NUL in the ref': () =>
      Buffer.concat([
        packet(`${zero} ${commit} refs/heads/cordon/x\0y\0atomic`),
        packet(`${zero} ${commit} refs/heads/main\0`),
        flushPacket,
      ]),
    'a newline in the ref': () =>
      Buffer.concat([line(zero, commit, `${ref}\nrefs/heads/main`, caps()), flushPacket, honest]),
    'upper-case ids': () => Buffer.concat([line(zero, commit.toUpperCase(), ref, caps()), flushPacket, honest]),
    'short ids': () => Buffer.concat([line(zero, commit.slice(0, 39), ref, caps()), flushPacket, honest]),
    'ids of the other hash': () => Buffer.concat([line('0'.repeat(64), '1'.repeat(64), ref, caps()), flushPacket]),
    'a push certificate': () =>
      Buffer.concat([packet('push-cert\0report-status\n'), packet('certificate version 0.1\n'), flushPacket]),
    'a certificate that was asked for': () => Buffer.concat([create(caps('push-cert=1')), flushPacket, honest]),
    'push options': () =>
      Buffer.concat([create(caps('report-status push-options')), flushPacket, packet('x=y'), flushPacket, honest]),
    'another object format': () => Buffer.concat([create(caps('object-format=sha256')), flushPacket, honest]),
    'a shallow line behind a command': () => Buffer.concat([create(), packet(`shallow ${base}`), flushPacket, honest]),
    'a shallow line that cuts the base': () =>
      Buffer.concat([packet(`shallow ${base}`), create(), flushPacket, honest]),
    'a shallow line that is no id': () => Buffer.concat([packet('shallow ../x'), create(), flushPacket, honest]),
    'only shallow lines': () => Buffer.concat([packet(`shallow ${base}`), flushPacket]),
    'seventy refs': () =>
      Buffer.concat([
        create(),
        ...Array.from({ length: 70 }, (_, i) => line(zero, commit, `refs/heads/cordon/${i}`)),
        flushPacket,
        honest,
      ]),
    'commands without end': () =>
      Buffer.concat([create(), ...Array.from({ length: 20 }, () => packet(Buffer.alloc(65_000, 97))), flushPacket]),
    'an old id that is not there': () => Buffer.concat([line(other, commit, ref, caps()), flushPacket, honest]),
    'the base’s own branch': () => Buffer.concat([line(base, commit, 'refs/heads/main', caps()), flushPacket, honest]),
    'a permitted ref and another, not atomic': () =>
      Buffer.concat([create(), line(zero, commit, 'refs/heads/cordon/b'), flushPacket, honest]),
    'a permitted ref and another, atomic': () =>
      Buffer.concat([create(caps('report-status atomic')), line(zero, commit, 'refs/notes/x'), flushPacket, honest]),
    'a ref that climbs': () =>
      Buffer.concat([line(zero, commit, 'refs/heads/cordon/../main', caps()), flushPacket, honest]),
    'HEAD itself': () => Buffer.concat([line(zero, commit, 'HEAD', caps()), flushPacket, honest]),
    'a ref of replacements': () =>
      Buffer.concat([line(zero, commit, `refs/replace/${base}`, caps()), flushPacket, honest]),
    'a proof of its own': () =>
      Buffer.concat([line(zero, commit, `refs/attestations/cordon/${commit}`, caps()), flushPacket, honest]),
  };

  test.each(Object.keys(cases))('%s', async (name) => {
    expect(await post((cases[name] as () => Buffer)())).toMatch(refused);
    expect(await state()).toEqual(untouched);
  });
});

describe('packs', () => {
  const damaged = (change: (pack: Buffer) => void) => {
    const pack = Buffer.from(honest);
    change(pack);
    return pack;
  };
  const cases: Record<string, () => Buffer> = {
    'none at all': () => Buffer.alloc(0),
    'a wrong checksum': () => damaged((pack) => pack.writeUInt8((pack.at(-1) as number) ^ 1, pack.length - 1)),
    'a flipped bit': () => damaged((pack) => pack.writeUInt8((pack[20] as number) ^ 64, 20)),
    'its end missing': () => honest.subarray(0, honest.length - 25),
    'something else': () => Buffer.from('GIF89a, which is no pack at all'),
    'another version': () => packOf([blob()], 1, 4),
    'more objects than it has': () => packOf([blob()], 2),
    'fewer objects than it has': () => packOf([blob(), blob()], 1),
    'four thousand million objects, it says': () => packOf([blob()], 0xffff_ffff),
    'an object of a type that is none': () => packOf([entry('odd', Buffer.from('x'))]),
    'an object larger than it says': () => packOf([entry('blob', Buffer.alloc(100), undefined, 10)]),
    'an object smaller than it says': () => packOf([entry('blob', Buffer.alloc(10), undefined, 100)]),
    'a delta without its base': () => packOf([entry('ref', delta(1, 1), id('1'.repeat(40)))]),
    'deltas on each other in a ring': () =>
      packOf([entry('ref', delta(1, 1), id('1'.repeat(40))), entry('ref', delta(1, 1), id('2'.repeat(40)))]),
    'a delta that points before the pack': () => packOf([entry('ofs', delta(1, 1), Buffer.from([0x7f]))]),
    'a delta that points at itself': () => packOf([entry('ofs', delta(1, 1), Buffer.from([0]))]),
    'a delta whose base has another size': () => {
      const first = blob();
      return packOf([first, entry('ofs', delta(99, 1), Buffer.from([first.length]))]);
    },
    'a blob where the commit is to be': () => packOf([blob()]),
    'a bomb: gigabytes in a few kilobytes, it says': () =>
      packOf([entry('blob', Buffer.alloc(1000), undefined, 2 ** 33)]),
    'a byte behind it': () => Buffer.concat([honest, Buffer.from('x')]),
    'another pack behind it': () => Buffer.concat([honest, honest]),
    'more behind it than git reads at once': () => Buffer.concat([honest, Buffer.alloc(300_000, 7)]),
    'bytes behind it under a checksum of all': () =>
      packOf([honest.subarray(12), Buffer.from('behind')], count(honest)),
    'a request behind it, in the same body': () =>
      Buffer.concat([honest, Buffer.from(headers({ 'Content-Length': '0' }))]),
    'commands behind it': () => Buffer.concat([honest, line(zero, commit, 'refs/heads/main'), flushPacket, honest]),
    'bytes behind a thin one': () => Buffer.concat([thin(), Buffer.from('x')]),
    'as many bytes behind a thin one as its bases take': () => Buffer.concat([thin(), Buffer.alloc(basesOf(thin()))]),
    'more bytes than are taken': () =>
      packOf([
        entry('blob', Buffer.from(Array.from({ length: LIMIT + 1000 }, (_, i) => ((i * 2_654_435_761) >>> 13) & 255))),
      ]),
  };

  test.each(Object.keys(cases))('%s', async (name) => {
    expect(await post(request((cases[name] as () => Buffer)()))).toMatch(refused);
    expect(await state()).toEqual(untouched);
  });
});

describe('HTTP around it', () => {
  const chunked = (body: Buffer) =>
    Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);
  const length = (body: Buffer) => ({ 'Content-Length': String(body.length) });
  const close = { Connection: 'close' };

  test('length and chunks at once are no request', async () => {
    const body = request();
    const text = await raw(
      Buffer.concat([
        Buffer.from(headers({ ...length(body), 'Transfer-Encoding': 'chunked', ...close })),
        chunked(body),
      ]),
    );
    expect(text).toMatch(/^(?:HTTP\/1\.1 400 |$)/);
    expect(await state()).toEqual(untouched);
  });

  test.each(['xchunked', 'chunked, identity', 'gzip'])('the transfer encoding %s', async (encoding) => {
    const text = await raw(
      Buffer.concat([Buffer.from(headers({ 'Transfer-Encoding': encoding, ...close })), chunked(request())]),
    );
    expect(text).not.toMatch(/^HTTP\/1\.1 200 /);
    expect(await state()).toEqual(untouched);
  });

  test.each(['zz\r\n', '-5\r\nhello\r\n0\r\n\r\n', 'fffffffffffffffff\r\n'])('the chunk %j', async (bytes) => {
    const text = await raw(Buffer.from(`${headers({ 'Transfer-Encoding': 'chunked', ...close })}${bytes}`));
    expect(text).not.toMatch(/^HTTP\/1\.1 200 /);
    expect(await state()).toEqual(untouched);
  });

  test.each([
    'text/plain',
    'application/x-git-upload-pack-request',
    'application/x-git-receive-pack-request; charset=x',
  ])('the type %s', async (type) => {
    expect(await post(request(), { 'Content-Type': type })).toMatch(/^HTTP\/1\.1 415 /);
    expect(await state()).toEqual(untouched);
  });

  test.each(['deflate', 'br', 'gzip, gzip'])('the content encoding %s', async (encoding) => {
    expect(await post(request(), { 'Content-Encoding': encoding })).toMatch(/^HTTP\/1\.1 415 /);
    expect(await state()).toEqual(untouched);
  });

  test('a gzip bomb is counted as it inflates', async () => {
    const bomb = gzipSync(request(Buffer.concat([honest.subarray(0, 12), Buffer.alloc(16 * LIMIT)])));
    expect(bomb.length).toBeLessThan(LIMIT / 10);
    expect(await post(bomb, { 'Content-Encoding': 'gzip' })).toMatch(/^HTTP\/1\.1 (?:413|400) /);
    expect(await state()).toEqual(untouched);
  });

  test('a gzip stream that is cut off', async () => {
    expect(await post(gzipSync(request()).subarray(0, 60), { 'Content-Encoding': 'gzip' })).toMatch(refused);
    expect(await state()).toEqual(untouched);
  });

  test('a connection that is cut in the middle of a pack leaves nothing', async () => {
    const body = request(packOf([entry('blob', Buffer.alloc(200_000, 7)), blob()], 3));
    const socket = open();
    await new Promise<void>((done) =>
      socket.write(Buffer.concat([Buffer.from(headers({ 'Content-Length': '3000000' })), body]), () => done()),
    );
    socket.destroy();
    // Pushes are taken one after the other: the answer to this one comes when that one is gone.
    expect(await post(Buffer.concat([line(zero, commit, 'refs/heads/main', caps()), flushPacket]))).toMatch(refused);
    expect(await state()).toEqual(untouched);
  });
});

describe('requests behind one another on one connection', () => {
  const framed = (body: Buffer, more: Record<string, string> = {}) =>
    Buffer.concat([Buffer.from(headers({ 'Content-Length': String(body.length), ...more })), body]);
  const bad = () => request(honest, Buffer.concat([Buffer.from('0003'), flushPacket]));
  const denied = () => Buffer.concat([line(base, commit, 'refs/heads/main', caps()), flushPacket, honest]);
  const last = { Connection: 'close' };

  test('behind a request that is none, nothing is looked at', async () => {
    const before = it.events('git.decided').length;
    const text = await raw(Buffer.concat([framed(bad()), framed(request()), framed(request(), last)]));
    expect(text.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 400']);
    expect(await state()).toEqual(untouched);
    expect(it.events('git.decided').length).toBe(before);
  });

  test('behind a push that said it was the last, nothing is looked at', async () => {
    const text = await raw(Buffer.concat([framed(denied(), last), framed(request())]));
    expect(text.split('HTTP/1.1 ').length).toBeLessThanOrEqual(2);
    expect(text).not.toContain(`ok ${ref}`);
    expect(await state()).toEqual(untouched);
  });

  test('behind a push that is refused, the next is judged on its own, and the answers come in order', async () => {
    const other = Buffer.concat([line(zero, commit, 'refs/tags/v1', caps()), flushPacket, honest]);
    const text = await raw(Buffer.concat([framed(denied()), framed(other), framed(denied(), last)]));
    expect(text.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200']);
    expect(text.match(/ng refs\/\S+/g)).toEqual(['ng refs/heads/main', 'ng refs/tags/v1', 'ng refs/heads/main']);
    expect(await state()).toEqual(untouched);
  });

  test('the body of a refused push is never read as a request', async () => {
    const hidden = Buffer.concat([denied(), framed(request())]);
    const text = await raw(framed(hidden, last));
    expect(text.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 200']);
    expect(await state()).toEqual(untouched);
  });
});

describe('after all of that', () => {
  test('an honest thin pack is whole: only its commit is wanted', async () => {
    const text = await post(request(thin()));
    expect(text).toMatch(refused);
    expect(text).not.toContain('behind the pack');
    expect(await state()).toEqual(untouched);
  });

  test('an honest push is taken, by hand with 100-continue, and git finds everything', async () => {
    const body = request();
    const socket = open();
    let text = '';
    const ended = new Promise<void>((done) => socket.on('close', () => done()));
    const asked = new Promise<void>((done) =>
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        if (text.startsWith('HTTP/1.1 100 ')) done();
      }),
    );
    socket.write(headers({ 'Content-Length': String(body.length), Expect: '100-continue', Connection: 'close' }));
    await asked;
    socket.write(body);
    await ended;
    expect(text).toContain(`ok ${ref}`);
    const { place } = it.scene.quarantine;
    expect(await it.scene.quarantine.head(ref)).toBe(commit);
    expect((await state()).incoming).toEqual([]);
    expect(it.scene.guest.git('--git-dir', place.gitDir, 'fsck', '--strict', '--no-dangling')).toBe('');
    expect(it.events('git.decided').at(-1)?.outcome).toMatchObject({ result: 'accepted' });
  });
});
