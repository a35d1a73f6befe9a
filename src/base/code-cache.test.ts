import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { encodeKept, keptFile, readKept } from './code-cache.ts';

const source = join(import.meta.dirname, 'code-cache.ts');
/** Of one length, so that V8 cannot tell them apart: it would run the one for the other. */
const OLD = "exports.say = () => 'old ' + require('./other.js').say(); // ä";
const NEW = "exports.say = () => 'new ' + require('./other.js').say(); // ä";

let scratch: string;
let chunk: string;
/** What V8 makes of OLD. */
let compiled: Buffer;

function node(text: string, ...flags: readonly string[]): string {
  const file = join(scratch, 'program.mts');
  writeFileSync(
    file,
    `import { createRequire } from 'node:module';\nimport * as cache from ${JSON.stringify(source)};\n${text}`,
  );
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, file], { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.trim();
}

/** What the chunk says when it is loaded, with nothing else said or thrown. */
const said = (...flags: readonly string[]) =>
  node(
    `cache.useCodeCache(${JSON.stringify(scratch)});
    console.log(createRequire(${JSON.stringify(join(scratch, 'main.js'))})('./chunk.js').say());`,
    ...flags,
  );

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'cordon-code-cache-'));
  chunk = join(scratch, 'chunk.js');
  writeFileSync(join(scratch, 'package.json'), '{"type":"commonjs"}');
  writeFileSync(join(scratch, 'other.js'), "exports.say = () => 'and other';");
  const made = join(scratch, 'made');
  node(`
    import { writeFileSync } from 'node:fs';
    const script = cache.scriptOf(${JSON.stringify(OLD)}, ${JSON.stringify(chunk)});
    const module = { exports: {}, require: () => ({ say: () => '' }) };
    cache.execute(script, module, ${JSON.stringify(chunk)});
    module.exports.say();
    writeFileSync(${JSON.stringify(made)}, script.createCachedData());`);
  compiled = readFileSync(made);
});
beforeEach(() => {
  rmSync(keptFile(chunk), { recursive: true, force: true });
  writeFileSync(chunk, NEW);
});
afterAll(() => rmSync(scratch, { recursive: true }));

test('what was kept of a chunk is what runs, and what it requires is loaded as ever', () => {
  // Said to be of the new text, so that it shows which of the two ran.
  writeFileSync(keptFile(chunk), encodeKept(NEW, compiled));
  expect(said()).toBe('old and other');
});

test('of a chunk that has changed since, by as little as one letter, nothing is used', () => {
  writeFileSync(keptFile(chunk), encodeKept(OLD, compiled));
  expect(said()).toBe('new and other');
  expect(readKept(chunk, NEW)).toBeNull();
  expect(readKept(chunk, OLD)).toEqual(compiled);
});

test('nothing is used of a file that is damaged, cut off, empty, a folder, or not there', () => {
  const whole = encodeKept(NEW, compiled);
  expect(said()).toBe('new and other');
  writeFileSync(keptFile(chunk), whole.subarray(0, -1));
  expect(said()).toBe('new and other');
  for (let length = 0; length < whole.length; length += 7) {
    writeFileSync(keptFile(chunk), whole.subarray(0, length));
    expect(readKept(chunk, NEW)).toBeNull();
  }
  for (let at = 0; at < whole.length; at += 5) {
    const damaged = Buffer.from(whole);
    damaged[at] = 0xff ^ (whole[at] ?? 0);
    writeFileSync(keptFile(chunk), damaged);
    expect(readKept(chunk, NEW)).toBeNull();
  }
  expect(said()).toBe('new and other');
  rmSync(keptFile(chunk));
  mkdirSync(keptFile(chunk));
  expect(said()).toBe('new and other');
});

test('what V8 refuses is not used: no code at all, or made under other flags', () => {
  for (const data of [Buffer.alloc(0), Buffer.from('no code of V8'), Buffer.alloc(4096)]) {
    writeFileSync(keptFile(chunk), encodeKept(NEW, data));
    expect(said()).toBe('new and other');
  }
  writeFileSync(keptFile(chunk), encodeKept(NEW, compiled));
  expect(said('--max-lazy')).toBe('new and other');
});

test('what lies beside a module of another folder is nothing to it', () => {
  const elsewhere = join(scratch, 'elsewhere');
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, 'other.js'), "exports.say = () => 'from elsewhere';");
  writeFileSync(join(elsewhere, 'chunk.js'), NEW);
  writeFileSync(keptFile(join(elsewhere, 'chunk.js')), encodeKept(NEW, compiled));
  writeFileSync(chunk, "exports.say = require('./elsewhere/chunk.js').say;");
  expect(said()).toBe('new from elsewhere');
});
