import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ContentStore } from '../../audit/content.ts';
import { sha256Hex } from '../../base/digest.ts';
import { Redactor } from '../../base/redact/index.ts';
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
