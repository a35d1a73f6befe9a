import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ContentStore } from '../../audit/content.ts';
import { sha256Hex } from '../../base/digest.ts';
import { Redactor } from '../../base/redact/index.ts';
import { AskedBody } from '../../gateways/egress/tape.ts';
import { bodyKey } from './bodies.ts';
import { Recorder } from './recorder.ts';
import { Tape } from './tape.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cordon-recorder-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const start = { branch: null, documents: { organisation: null, repository: null }, epoch: 0, seed: '0'.repeat(32) };

function open(redactor: Redactor): Recorder {
  return new Recorder({ file: join(dir, 'recording'), redactor, start, own: [], drawn: [], monotonic: () => 0 });
}

async function kept(recorder: Recorder): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  const content = {
    async put(_: string, source: AsyncIterable<Uint8Array>) {
      for await (const piece of source) pieces.push(piece);
      return {};
    },
  } as unknown as ContentStore;
  await recorder.keep('run', content);
  return Buffer.concat(pieces);
}

const SECRET = 'correct-horse-battery';
const body = { model: 'm', messages: [{ role: 'user', content: `the key is ${SECRET}` }] };

function answer(recorder: Recorder, how: Parameters<Recorder['model']>[2], meanwhile = () => {}): void {
  const answering = recorder.model('chat', body, how);
  answering.head(200, {});
  answering.piece(Buffer.from('{}'));
  meanwhile();
  answering.end({ result: 'completed' });
}

test('what was searched already is kept as it was asked, and found again by a replay', async () => {
  const redactor = new Redactor();
  const recorder = open(redactor);
  const text = JSON.stringify(body);
  answer(recorder, { whole: true, searched: { digest: sha256Hex(text), knowledge: redactor.knowledge } });
  const bytes = await kept(recorder);
  const tape = await Tape.read(
    (async function* () {
      yield bytes;
    })(),
  );
  expect(tape.model('chat', body)?.asked).toBe(text);
  expect(tape.steps).toMatchObject([{ fit: 'exact' }]);
});

test('a secret that became known while the answer came is taken out all the same', async () => {
  const redactor = new Redactor();
  const recorder = open(redactor);
  const searched = { digest: sha256Hex(JSON.stringify(body)), knowledge: redactor.knowledge };
  answer(recorder, { whole: true, searched }, () => redactor.add('KEY', SECRET));
  const text = (await kept(recorder)).toString();
  expect(text).not.toContain(SECRET);
  expect(text).not.toContain(searched.digest);
  expect(text).toContain('[secret:KEY]');
});

test('a recording longer than a piece of it is whole and in order', async () => {
  const recorder = open(new Redactor());
  for (let i = 0; i < 500; i++) {
    const answering = recorder.model('chat', { n: i, text: 'x'.repeat(400) });
    answering.head(200, {});
    answering.end({ result: 'completed' });
  }
  const lines = (await kept(recorder)).toString().trimEnd().split('\n');
  const parts = lines.map((line) => JSON.parse(line)).filter(({ k }) => k === 'part');
  const numbers = parts.map(({ leaves }) => leaves.find(([path]: [string]) => path === 'n')[2]);
  expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => String(i)));
});

const POST = 'https://api.acme.example/jobs';

function sent(text: string | Buffer, type = 'text/plain'): AskedBody {
  const bytes = Buffer.from(text);
  const headers = [{ name: 'Content-Type', lower: 'content-type', value: type }];
  const asked = new AskedBody({ framing: { kind: 'length', length: bytes.length }, headers });
  asked.take(bytes, true);
  return asked;
}

async function tapeOf(...posts: readonly (readonly [AskedBody, answer: string])[]): Promise<Tape> {
  const recorder = open(new Redactor());
  for (const [asked, text] of posts) {
    const answering = recorder.http('POST', POST, asked);
    answering.head(200, [], 'OK');
    answering.piece(Buffer.from(text));
    answering.end({ complete: true });
  }
  const bytes = await kept(recorder);
  return Tape.read(
    (async function* () {
      yield bytes;
    })(),
  );
}

function ask(tape: Tape, asked: AskedBody): string | null {
  const entry = tape.http('POST', POST, bodyKey(asked, tape, new Redactor()));
  return entry === null ? null : entry.pieces.map(([, text]) => Buffer.from(text, 'base64').toString()).join('');
}

test('hosts answer to the body that was sent, in whatever order', async () => {
  const tape = await tapeOf([sent('one'), '1'], [sent('two'), '2'], [sent('one'), '1 again']);
  expect(['two', 'one', 'one', 'one', 'two'].map((text) => ask(tape, sent(text)))).toEqual([
    '2',
    '1',
    '1 again',
    '1 again',
    '2',
  ]);
  expect(tape.otherBodies).toEqual([]);
});

test('a body that differs only as runs do is the same; any other is a difference, and takes no answer from its own', async () => {
  const json = (text: string) => sent(text, 'application/json');
  const form = (boundary: string) =>
    sent(`--${boundary}\r\n\r\nx\r\n--${boundary}--`, `multipart/form-data; boundary=${boundary}`);
  const tape = await tapeOf(
    [json('{"at":"2026-01-01T00:00:00Z","n":1}'), 'timed'],
    [form('zzzzzzzzzzzz'), 'form'],
    [sent(Buffer.from([0xff, 1])), 'binary'],
  );
  expect(ask(tape, json('{"n":1,"at":"2027-02-03T04:05:06Z"}'))).toBe('timed');
  expect(ask(tape, form('qqqqqqqqqqqq'))).toBe('form');
  expect(tape.otherBodies).toEqual([]);
  expect(ask(tape, sent(Buffer.from([0xff, 2])))).toBe('binary');
  expect(tape.otherBodies).toMatchObject([{ request: `POST ${POST}`, expected: expect.stringContaining('2 bytes') }]);
  expect(ask(tape, sent(Buffer.from([0xff, 1])))).toBe('binary');
  expect(tape.otherBodies).toHaveLength(1);
});

test('a request without its whole body is the same as none', async () => {
  const half = new AskedBody({ framing: { kind: 'length', length: 9 }, headers: [] });
  half.take(Buffer.from('half'), false);
  const tape = await tapeOf([half, 'early']);
  expect(ask(tape, sent('half'))).toBe('early');
  expect(ask(tape, half)).toBe('early');
  expect(tape.otherBodies).toHaveLength(2);
});
