/** The package as it is built and laid out on a machine: dist/ under a plain Node, beside nothing of the sources. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { keptFile, readKept } from '../../src/base/code-cache.ts';
import { Project } from '../fakes/project.ts';

const root = join(import.meta.dirname, '../..');
const kept = keptFile('');
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let scratch: string;
let dist: string;
let project: Project;
let env: Record<string, string>;

const build = (folder: string, PATH = env.PATH) =>
  spawnSync(process.execPath, [join(root, 'scripts/build.ts'), folder], { env: { ...env, PATH }, encoding: 'utf8' });
const cordon = (...args: string[]) =>
  spawnSync(join(dirname(dist), 'cordon'), args, { env, cwd: project.dir, encoding: 'utf8' });

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'cordon-built-'));
  env = {
    PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
    HOME: scratch,
    TMPDIR: scratch,
    CORDON_HOME: join(scratch, 'home'),
  };
  project = new Project(join(scratch, 'project'));
  project.commit();
  dist = join(scratch, 'package/dist');
  for (const part of ['cordon', 'package.json', 'src/guest/bin'])
    cpSync(join(root, part), join(dirname(dist), part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(dirname(dist), 'node_modules'));
  const { status, stderr } = build(dist);
  expect({ status, stderr }).toEqual({
    status: 0,
    stderr: expect.stringMatching(/^dist: .* code cache of \d\d chunks, .*\n$/),
  });
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** One run that changes something, and what is said of it afterwards; its id. */
function works(): string {
  const { status, stdout, stderr } = cordon('run', '--json', '--', 'sh', '-c', 'echo changed > changed');
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
  const { runId, branch } = JSON.parse(stdout);
  expect(cordon('verify', branch)).toMatchObject({ status: 0, stderr: '' });
  return runId;
}

const listing = () => readdirSync(dist).map((name) => [name, statSync(join(dist, name)).mtimeMs]);
const keptNames = () => readdirSync(dist).filter((name) => name.endsWith(kept));

test('runs, and leaves its own folder as it is; a failure says where in the code', () => {
  const before = listing();
  const runId = works();
  expect(cordon('runs', 'replay', runId)).toMatchObject({ status: 0 });
  expect(cordon('audit', 'verify')).toMatchObject({ status: 0, stderr: '' });
  expect(listing()).toEqual(before);
  const wrong = spawnSync(join(dirname(dist), 'cordon'), ['run', '--', 'true'], {
    env: { ...env, CORDON_DEBUG: '1' },
    cwd: scratch,
    encoding: 'utf8',
  });
  expect(wrong.status).toBe(2);
  expect(wrong.stderr).toMatch(
    /WorkspaceError: .* is not in a git repository\n +at \w+ \(.*\/dist\/[\w-]+\.js:\d+:\d+\)\n/,
  );
});

test('takes its code from the cache: what the build kept fits what it built', () => {
  for (const name of keptNames()) {
    const file = join(dist, name);
    const text = readFileSync(file.slice(0, -kept.length), 'utf8');
    expect(readKept(file.slice(0, -kept.length), text), name).not.toBeNull();
  }
});

test('works the same when the cache is damaged, cut off, or that of another chunk', () => {
  const names = keptNames();
  const copies = names.map((name) => readFileSync(join(dist, name)));
  names.forEach((name, i) => {
    const file = join(dist, name);
    if (i % 3 === 0) truncateSync(file, 100);
    else if (i % 3 === 1) writeFileSync(file, copies[(i + 1) % copies.length] as Buffer);
    else writeFileSync(file, Buffer.from(copies[i] as Buffer).fill(0xff, 64));
  });
  works();
});

test('works the same without it', () => {
  for (const name of keptNames()) rmSync(join(dist, name));
  works();
});

test('is built on a machine where nothing can be run, without the cache, and the build says so', () => {
  const bin = join(scratch, 'bin');
  mkdirSync(bin);
  for (const name of ['grep', 'sh']) symlinkSync(`/usr/bin/${name}`, join(bin, name));
  const folder = join(scratch, 'bare/dist');
  const { status, stderr } = build(folder, bin);
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
  expect(stderr).toMatch(/dist: the code cache is not whole, .* a warm-up failed here: .*git/);
  expect(readdirSync(folder)).toContain('main.js');
  expect(readdirSync(folder).filter((name) => name.endsWith(kept))).toEqual([]);
});
