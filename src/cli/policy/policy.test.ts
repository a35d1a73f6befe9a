import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DocumentError, NotFoundError, UsageError } from '../../base/errors.ts';
import type { Context } from '../context.ts';
import { examplePolicy } from '../init-policy.ts';
import { OutputStreams } from '../output.ts';
import { execute } from '../program.ts';

const ORGANISATION = 'version: 1\nsecurity: {allowed_network_hosts: ["*.acme.example"]}\n';
let cwd: string;
let organisation: string;
beforeEach(async () => {
  organisation = ORGANISATION;
  cwd = await mkdtemp(join(tmpdir(), 'cordon-policy-'));
  await mkdir(join(cwd, '.cordon'));
});
afterEach(() => rm(cwd, { recursive: true }));

const document = (text: string, file = '.cordon/policy.yaml') => writeFile(join(cwd, file), `version: 1\n${text}\n`);

/** Runs one command line. The organisation's document is always a given one: this machine's own must not matter. */
async function cordon(...args: string[]): Promise<{ exitCode: number; text: string; json(): unknown }> {
  await writeFile(join(cwd, 'org.yaml'), organisation);
  let text = '';
  const sink = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      done();
    },
  });
  const env = { HOME: cwd, NO_COLOR: '1' };
  const context: Context = {
    env,
    cwd,
    signal: new AbortController().signal,
    interactive: false,
    streams: new OutputStreams(sink, sink, env),
    rest: [],
    exitCode: 0,
  };
  await execute(['policy', ...args, '--organisation', 'org.yaml'], '0', context);
  return { exitCode: context.exitCode, text, json: () => JSON.parse(text) };
}

test('check: right, above the ceiling, wrong, missing', async () => {
  await document('security: {allowed_network_hosts: [a.acme.example]}');
  expect(await cordon('check')).toMatchObject({
    exitCode: 0,
    text: expect.stringContaining('✓ .cordon/policy.yaml under org.yaml'),
  });
  await document('security: {allowed_network_hosts: [a.evil.example]}');
  const above = await cordon('check', '--json');
  expect(above.exitCode).toBe(3);
  expect(above.json()).toMatchObject({ ok: false, warnings: [{ file: '.cordon/policy.yaml', line: 2 }] });
  await document('securty: {}');
  await expect(cordon('check')).rejects.toThrow(DocumentError);
  await expect(cordon('check', '--policy', 'no.yaml')).rejects.toThrow(NotFoundError);
  await writeFile(join(cwd, 'latin1.yaml'), Buffer.from([0x76, 0xe9]));
  await expect(cordon('check', '--policy', 'latin1.yaml')).rejects.toThrow(UsageError);
  await expect(cordon('check', '--policy', '.cordon')).rejects.toThrow(UsageError);
});

test('check, test and risk take a file that stands by itself; two are one too many', async () => {
  await document('limits: {pids: 64}');
  await document('security: {allowed_network_hosts: [a.evil.example]}', 'other.yaml');
  expect((await cordon('check', 'other.yaml')).exitCode).toBe(3);
  await document('dependencies: {registries: [a.acme.example]}', 'open.yaml');
  expect((await cordon('risk', 'open.yaml')).text).not.toContain('Lock files may name');
  expect((await cordon('test', 'other.yaml')).exitCode).toBe(0);
  await expect(cordon('check', 'other.yaml', '--policy', 'other.yaml')).rejects.toThrow(UsageError);
});

test('below the top of a repository it is the repository’s document, as for a run', async () => {
  await mkdir(join(cwd, 'a/b'), { recursive: true });
  await document('security: {allowed_network_hosts: [a.acme.example]}');
  const top = cwd;
  const below = async () => {
    cwd = join(top, 'a/b');
    try {
      return (await cordon('check')).text;
    } finally {
      cwd = top;
    }
  };
  expect(await below()).toContain('✓ org.yaml');
  await mkdir(join(top, '.git'));
  expect(await below()).toContain('✓ .cordon/policy.yaml under org.yaml');
});

test('explain: effect, rule, what to add, exit code on demand', async () => {
  await document('security: {allowed_network_hosts: [a.acme.example]}');
  const permitted = await cordon('explain', 'net.connect', 'host=a.acme.example', '--exit-code');
  expect(permitted).toMatchObject({
    exitCode: 0,
    text: expect.stringMatching(/^permit .*\n {2}org\.yaml:2 .*\n {2}\.cordon\/policy\.yaml:2 /),
  });
  const denied = await cordon('explain', 'net.connect host=b.evil.example');
  expect(denied).toMatchObject({ exitCode: 0, text: expect.stringContaining('ceiling') });
  expect((await cordon('explain', '--exit-code', 'net.connect host=b.evil.example')).exitCode).toBe(3);
  expect(
    (await cordon('explain', '--exit-code', 'git.push ref=refs/heads/cordon/x changed_paths=.cordon/x')).exitCode,
  ).toBe(4);
  expect((await cordon('explain', '--json', 'git.push ref=refs/heads/main')).json()).toMatchObject({
    decision: { effect: 'deny' },
  });
});

test('test: every result, and 2 when one fails', async () => {
  await document('tests:\n  - {action: run.start, expect: permit}\n  - {action: run.start, expect: deny}');
  expect(await cordon('test')).toMatchObject({
    exitCode: 2,
    text: expect.stringMatching(/✓ .*:3 [\s\S]*✗ .*:4 [\s\S]*1 of 2 failed/),
  });
  await document('tests:\n  - {action: run.start, expect: permit}');
  expect(await cordon('test')).toMatchObject({ exitCode: 0, text: expect.stringContaining('1 passed') });
});

test('diff: on tests and on given actions', async () => {
  await document('security: {allowed_network_hosts: [a.acme.example]}', 'a.yaml');
  await document('security: {allowed_network_hosts: [b.acme.example]}', 'b.yaml');
  await writeFile(
    join(cwd, 'actions.jsonl'),
    '{"action":"net.connect","host":"a.acme.example:443"}\n\n{"action":"net.connect","host":"b.acme.example"}\n',
  );
  const diff = await cordon('diff', 'a.yaml', 'b.yaml', '--actions', 'actions.jsonl', '--exit-code');
  expect(diff.exitCode).toBe(1);
  expect(diff.text).toMatch(
    /\+ security\.allowed_network_hosts: b[\s\S]*permit now:\n.*b\.acme[\s\S]*deny now:\n.*a\.acme/,
  );
  expect(await cordon('diff', 'a.yaml', 'a.yaml', '--exit-code')).toMatchObject({
    exitCode: 0,
    text: expect.stringContaining('no difference'),
  });
  await writeFile(join(cwd, 'bad.jsonl'), '{"action":"net.connect","action":"x"}\n');
  await expect(cordon('diff', 'a.yaml', 'b.yaml', '--actions', 'bad.jsonl')).rejects.toThrow(/bad\.jsonl:1/);
});

test('risk: sentences', async () => {
  await document('security: {allowed_commands: [/usr/bin/node]}');
  expect((await cordon('risk')).text).toMatch(/\/usr\/bin\/node runs whatever the agent writes/);
});

test('what a document says cannot write on the terminal', async () => {
  await document('filesystem: {protect: ["a\\u2063b"]}');
  expect((await cordon('explain', 'git.push ref=refs/heads/cordon/x changed_paths=a\u2063b')).text).not.toContain(
    '\u2063',
  );
});

test('what `cordon init` writes is right', async () => {
  await writeFile(join(cwd, '.cordon/policy.yaml'), examplePolicy);
  expect((await cordon('check')).exitCode).toBe(0);
});

test('so is what it has commented out', async () => {
  const all = examplePolicy
    .replace(/^# (?=( {2})*[a-z_]+: |tests:|rules:|security:|filesystem:|dependencies:|mcp_servers:| {2})/gm, '')
    .replace(/^( +)# (?=max_)/gm, '$1');
  expect(all).toMatch(/^security:\n {2}allowed_commands/m);
  await writeFile(join(cwd, '.cordon/policy.yaml'), all);
  organisation += all.match(/^mcp_servers:\n(?: .*\n)+/m)?.[0]; // a ceiling that names no server has none
  expect(await cordon('check')).toMatchObject({ exitCode: 0 });
});
