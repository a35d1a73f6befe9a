import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ContentStore } from '../../audit/content.ts';
import { sha256Hex } from '../../base/digest.ts';
import { AuditInvalidError } from '../../base/errors.ts';
import { Redactor } from '../../base/redact/index.ts';
import { AskedBody } from '../../gateways/egress/tape.ts';
import { bodyKey } from './bodies.ts';
import { partOf } from './parts.ts';
import { RecordingVersionError } from './reading.ts';
import { Recorder } from './recorder.ts';
import { Tape } from './tape.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cordon-recorder-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const start = { branch: null, documents: { organisation: null, repository: null }, epoch: 0, seed: '0'.repeat(32) };

function options(redactor: Redactor) {
  return { file: join(dir, 'recording'), redactor, start, own: [], drawn: [], monotonic: () => 0 };
}

function open(redactor: Redactor): Recorder {
  return new Recorder(options(redactor));
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

test('a part of a conversation is known again whether or not its digest was told', async () => {
  const redactor = new Redactor();
  const recorder = open(redactor);
  const items = body.messages.map((message) => sha256Hex(JSON.stringify(message)));
  const searched = { digest: sha256Hex(JSON.stringify(body)), knowledge: redactor.knowledge };
  answer(recorder, { searched: { ...searched, items } });
  answer(recorder, { searched });
  answer(recorder, {});
  const lines = (await kept(recorder)).toString().trim().split('\n');
  const entries = lines.map((line) => JSON.parse(line) as { k: string; parts?: number[]; digest: string });
  expect(entries.filter(({ k }) => k === 'part')).toHaveLength(2);
  const asked = entries.filter(({ k }) => k === 'model').map(({ parts, digest }) => ({ parts, digest }));
  expect(asked).toEqual([0, 1, 2].map(() => ({ parts: [0, 1], digest: searched.digest })));
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

/** The tape of a recording. */
function played(recording: Buffer | string): Promise<Tape> {
  return Tape.read(
    (async function* () {
      yield Buffer.from(recording);
    })(),
  );
}

const question = (n: number) => ({ model: 'm', messages: [{ role: 'user', content: `question ${n}` }] });

test('answers that come at the same time are told apart, each in its pieces', async () => {
  const recorder = open(new Redactor());
  const answers = [0, 1, 2].map((n) => recorder.model('chat', question(n)));
  for (const one of answers) one.head(200, {});
  for (const piece of ['a', 'b', 'c']) for (const [n, one] of answers.entries()) one.piece(Buffer.from(`${piece}${n}`));
  for (const one of answers.reverse()) one.end({ result: 'completed' });
  const tape = await played(await kept(recorder));
  for (const n of [0, 1, 2]) {
    const { pieces, result, whole } = { ...tape.model('chat', question(n)) };
    expect(pieces?.map(String)).toEqual([`a${n}`, `b${n}`, `c${n}`]);
    expect({ result, whole }).toEqual({ result: 'completed', whole: true });
  }
  expect(tape.missing).toEqual([]);
});

test('an answer is on its way to the disk while it comes', async () => {
  const out = new PassThrough();
  const recorder = new Recorder({ ...options(new Redactor()), open: () => out });
  const answering = recorder.model('chat', body);
  answering.head(200, {});
  for (let i = 0; i < 100; i++) answering.piece(Buffer.alloc(10_000, 'x'));
  expect(out.readableLength + out.writableLength).toBeGreaterThan(1_000_000);
  await recorder.drop();
});

test('a recording that breaks off is read up to there, and its answer is not whole', async () => {
  const recorder = open(new Redactor());
  answer(recorder, {});
  const cut = recorder.model('chat', question(1));
  cut.head(200, {});
  cut.piece(Buffer.from('first'));
  cut.piece(Buffer.from('second'));
  const text = (await kept(recorder)).toString();
  const tape = await played(text.slice(0, text.lastIndexOf('"bytes"')));
  expect(tape.model('chat', body)).toMatchObject({ result: 'completed', whole: true });
  const { pieces, result, whole } = { ...tape.model('chat', question(1)) };
  expect(pieces?.map(String)).toEqual(['first']);
  expect({ result, whole }).toEqual({ result: 'cut', whole: false });
  expect(tape.missing).toEqual(['the rest of the answer to request 2 to the model']);
});

test('a line that cannot be read before others is damage', async () => {
  const recorder = open(new Redactor());
  answer(recorder, {});
  const lines = (await kept(recorder)).toString().split('\n');
  lines[2] = '{"k":"mod';
  await expect(played(lines.join('\n'))).rejects.toThrow(AuditInvalidError);
});

test('a recording of an earlier form says which it has', async () => {
  const { version: _, ...former } = { k: 'start', version: 0, ...start };
  await expect(played(`${JSON.stringify(former)}\n`)).rejects.toThrow(RecordingVersionError);
  await expect(played(`${JSON.stringify({ ...former, version: 3 })}\n`)).rejects.toThrow(/format 3/);
});

test('an answer that is longer than is kept ends where it was cut, and the recording says so', async () => {
  const recorder = open(new Redactor());
  const long = recorder.http('GET', 'https://host/long', AskedBody.none());
  long.head(200, [['Content-Type', 'text/plain']], 'OK');
  const piece = Buffer.alloc(1024 * 1024, 'x');
  for (let i = 0; i < 40; i++) await long.piece(piece);
  long.end({ complete: true });
  long.end({ complete: false });
  const tape = await played(await kept(recorder));
  const entry = tape.http('GET', 'https://host/long', null);
  expect(entry).toMatchObject({ result: 'completed', whole: false });
  // The last byte might have begun a secret.
  expect(Buffer.concat([...(entry?.pieces ?? [])]).length).toBe(32 * 1024 * 1024 - 1);
  expect(tape.http('GET', 'https://host/long', null)).toBe(entry);
});

test('what becomes known as a secret after it was written is taken out when the recording is kept', async () => {
  const redactor = new Redactor();
  const recorder = open(redactor);
  const answering = recorder.model('chat', body, { whole: false });
  answering.head(200, { 'request-id': SECRET });
  for (const piece of ['before', SECRET.slice(0, 9), SECRET.slice(9), 'after']) answering.piece(Buffer.from(piece));
  answering.end({ result: 'completed' });
  const before = sha256Hex(JSON.stringify(body));
  redactor.add('KEY', SECRET);
  const text = (await kept(recorder)).toString();
  const tape = await played(text);
  expect(text).not.toContain(before);
  expect(text).not.toContain(partOf(body.messages[0], { own: [], drawn: [] }).digest);
  const clean = { model: 'm', messages: [{ role: 'user', content: 'the key is [secret:KEY]' }] };
  const found = tape.model('chat', clean);
  expect(tape.steps).toMatchObject([{ fit: 'like' }]);
  expect(found?.pieces.map(String)).toEqual(['before', '[secret:KEY]', 'after']);
  expect(found?.headers).toEqual({ 'request-id': '[secret:KEY]' });
  for (const form of [SECRET, Buffer.from(SECRET.slice(0, 9)).toString('base64')]) expect(text).not.toContain(form);
});

test('a first question that tells more of its surroundings is the first one all the same', async () => {
  const recorder = open(new Redactor());
  const [hello, word, more] = ['hello', 'a word', 'more'].map((content) => ({ role: 'user', content }));
  const known = { model: 'm', metadata: { workspace: 'known' } };
  const questions = [
    { model: 'm', messages: [hello] },
    { ...known, messages: [hello, word] },
    { ...known, messages: [hello, word, more] },
  ];
  for (const [i, question] of questions.entries()) {
    const answering = recorder.model('chat', question, { whole: true });
    answering.head(200, {});
    answering.piece(Buffer.from(String(i)));
    answering.end({ result: 'completed' });
  }
  const tape = await played(await kept(recorder));
  const answers = questions.map(({ messages }) => tape.model('chat', { ...known, messages })?.pieces.map(String));
  expect(answers).toEqual([['0'], ['1'], ['2']]);
  expect(tape.steps.map(({ fit }) => fit)).toEqual(['next', 'exact', 'exact']);
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
  return played(await kept(recorder));
}

function ask(tape: Tape, asked: AskedBody): string | null {
  const entry = tape.http('POST', POST, bodyKey(asked, tape, new Redactor()));
  return entry === null ? null : Buffer.concat([...entry.pieces]).toString();
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
