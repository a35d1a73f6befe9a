/**
 * The documents are held to the code: console blocks of the README are typed in and must answer as printed, the verifier of
 * docs/audit.md must find what it says, links must lead somewhere, and tables must list what there is.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { specs } from '../src/audit/event-types.ts';
import { ExitCode } from '../src/base/errors.ts';
import { INTERNAL_ERROR } from '../src/cli/failure.ts';
import { verbs } from '../src/cli/verbs.ts';

const root = join(import.meta.dirname, '..');
const committed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\0')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const documents = committed.filter((file) => file.endsWith('.md'));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const readme = read('README.md');

/** The blocks of a language, without their fences. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\S*)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === language)
    .map((match) => match[2] ?? '');
}

/** The cells of every row of the tables in a document, formatting kept. */
function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The part of a document under one heading, up to the next of any level. */
function section(text: string, heading: string): string {
  const found = new RegExp(`^#+ ${heading}\n([\\s\\S]*?)(?=^#+ )`, 'm').exec(text)?.[1];
  if (found === undefined) throw new Error(`there is no heading "${heading}"`);
  return found;
}

const prose = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, '');
const codeIn = (text: string) => [...prose(text).matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');

/** How forges name the place of a heading. */
function anchors(file: string): Set<string> {
  const headings = [...prose(read(file)).matchAll(/^#+ (.*)$/gm)].map((match) => match[1] ?? '');
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe('links', () => {
  test.each(documents)('of %s lead to files and headings that are there', (file) => {
    const targets = [...prose(read(file)).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
    const broken = targets.filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [path = '', anchor] = target.split('#');
      const to = path === '' ? file : join(dirname(file), path).replace(/\/$/, '');
      if (!committed.some((other) => other === to || other.startsWith(`${to}/`))) return true;
      return anchor !== undefined && !anchors(to).has(anchor);
    });
    expect(broken).toEqual([]);
  });
});

describe('the README', () => {
  test('lists the exit codes of the command line, all of them', () => {
    const listed = rows(section(readme, 'Exit codes'))
      .map(([code]) => code)
      .filter((code) => /^\d+$/.test(code ?? ''));
    expect(listed.map(Number)).toEqual(Object.values(ExitCode).sort((a, b) => a - b));
    expect(section(readme, 'Exit codes')).toContain(`\n${INTERNAL_ERROR} is a fault of Cordon itself`);
  });

  test('names the verbs there are', () => {
    const table = rows(section(readme, 'Commands')).flatMap(([name = '']) => /^`cordon ([a-z]+)/.exec(name)?.[1] ?? []);
    expect(table.sort()).toEqual(verbs.map(({ name }) => name).sort());
  });

  test('is read in the two commands that set everything up', () => {
    const [commands = ''] = blocks(section(readme, 'Two commands'), 'sh');
    expect(commands.match(/^\S+ \S+/gm)).toEqual(['./cordon demo', 'npm test']);
    expect(JSON.parse(read('package.json')).scripts.test).toBe('scripts/test');
  });
});

describe('commands that documents name', () => {
  const named = documents.flatMap((file) => {
    const shown = [...codeIn(read(file)), ...blocks(read(file), '').flatMap((block) => block.split('\n'))];
    return shown.filter((text) => /^cordon [a-z]/.test(text)).map((text) => ({ file, text }));
  });

  test('there are some', () => expect(named.length).toBeGreaterThan(20));

  const help = new Map<string, string>();
  const helpOf = (...words: string[]) => {
    const key = words.join(' ');
    const known = help.get(key) ?? spawnSync(join(root, 'cordon'), [...words, '--help'], { encoding: 'utf8' }).stdout;
    help.set(key, known);
    return known;
  };

  test('are verbs, and parts and options of them, that are there', () => {
    const wrong = named.filter(({ text }) => {
      const [verb = '', part = '', ...rest] =
        text
          .split(/ {2,}| -- /, 1)[0]
          ?.split(' ')
          .slice(1) ?? [];
      if (!verbs.some(({ name }) => name === verb)) return true;
      const parts = [...helpOf(verb).matchAll(/^ {2}([a-z][a-z-]*) /gm)].map((match) => match[1]);
      const grouped = helpOf(verb).includes('\nCommands:\n');
      if (grouped && /^[a-z]/.test(part) && !parts.includes(part)) return true;
      const options = [part, ...rest].filter((word) => /^--[a-z]/.test(word)).map((word) => word.split('=')[0] ?? '');
      const offered = helpOf(...(grouped && /^[a-z]/.test(part) ? [verb, part] : [verb]));
      return options.some(
        (option) => !['--help', '--json', '--quiet'].includes(option) && !offered.includes(`${option} `),
      );
    });
    expect(wrong).toEqual([]);
  });
});

describe('ARCHITECTURE.md', () => {
  const layout = rows(section(read('ARCHITECTURE.md'), 'Where things are'))
    .map(([path = '']) => /^`([^`]+)`$/.exec(path)?.[1])
    .filter((path) => path !== undefined);
  const folders = [...new Set(committed.map(dirname))].filter((folder) => folder !== '.');

  test('has a row for every folder, and no row for what is not there', () => {
    const there = layout.filter(
      (path) => committed.includes(path) || folders.some((f) => `${f}/`.startsWith(`${path}/`)),
    );
    expect(there).toEqual(layout);
    const covered = (folder: string) => layout.includes(folder) || !/^(src|test)\//.test(folder);
    expect(folders.filter((folder) => !covered(folder) && !folder.endsWith('/__snapshots__'))).toEqual([]);
  });

  test('names functions that are in the sources, and files', () => {
    const sources = committed
      .filter((file) => /^(src|scripts|bench)\/.*\.(ts|c)$/.test(file))
      .map(read)
      .join('\n');
    const path = section(read('ARCHITECTURE.md'), 'The data path, function by function');
    const missing = codeIn(path).filter((name) => {
      if (/^[\w/-]+\.(ts|c)$/.test(name)) return !committed.some((file) => file.endsWith(`/${name}`));
      const word = /^[A-Za-z]+(?:[A-Z]\w*)+$/.exec(name)?.[0];
      return word !== undefined && !new RegExp(`\\b${word}\\b`).test(sources);
    });
    expect(missing).toEqual([]);
  });
});

test('docs/audit.md lists every type of event with what it is', () => {
  const listed = rows(section(read('docs/audit.md'), 'A record'))
    .map(([name = '', is = '']) => `${name} ${is}`.replaceAll('`', ''))
    .filter((row) => /^[a-z]+\.[a-z.]+ /.test(row));
  const there = Object.entries(specs).map(([name, spec]) =>
    'closes' in spec ? `${name} ${spec.phase} of ${spec.closes.join(', ')}` : `${name} ${spec.phase}`,
  );
  expect(listed.sort()).toEqual(there.sort());
});

/** One command of a console block, with the lines of a here-document, and what it answers. */
interface Step {
  command: string;
  answer: string;
}

function steps(block: string): Step[] {
  const found: Step[] = [];
  for (const line of block.split('\n').slice(0, -1)) {
    const last = found.at(-1);
    if (line.startsWith('$ ')) found.push({ command: line.slice(2), answer: '' });
    else if (last === undefined) throw new Error(`"${line}" is the answer to nothing`);
    else if (/^> ?/.test(line) && last.answer === '') last.command += `\n${line.replace(/^> ?/, '')}`;
    else last.answer += `${line}\n`;
  }
  return found;
}

/** What differs from one run to the next, in the order in which it is looked for. */
const VARIABLE: readonly [RegExp, string][] = [
  [/\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d\d:\d\d:\d\d\.\d{3}\b/g, 'TIME'],
  // Before spans: the end of a run's id may read as one, `12345s`.
  [/^ +\d+ TIME [0-9a-z]{6} /gm, 'SEQ TIME RUN '],
  [/\b\d+(?:\.\d+)? ?m?s\b/g, 'SPAN'],
  [/\bsha256:[0-9a-f]{64}\b/g, 'DIGEST'],
  [/\bby cordon\/[0-9a-f]{16}\b/g, 'by ORIGIN'],
  [/\b[0-9a-f]{12}\b/g, 'COMMIT'],
  [/\buser:[a-z0-9._@-]+/g, 'USER'],
  [/\brecord \d+\b/g, 'RECORD'],
  [/\b(?=\w*\d)[0-9a-hjkmnp-tv-z]{16}\b/g, 'RUN'],
  [/\b\d+ (records?|commands?)\b|\btree of \d+/g, 'COUNT'],
  [/[ \t]+/g, ' '],
];

const plain = (text: string) => VARIABLE.reduce((all, [pattern, name]) => all.replace(pattern, name), text).trim();

/** Where the sandbox cannot be made the session cannot be typed in; on CI that is a failure. */
const possible = process.env.CI !== undefined || spawnSync(join(root, 'cordon'), ['doctor']).status === 0;

describe.skipIf(!possible)(
  'a session, typed in (skipped where `cordon doctor` names a control that is missing)',
  () => {
    const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'cordon-readme-')));
    const env = {
      HOME: scratch,
      PATH: `${join(scratch, 'bin')}:${process.env.PATH}`,
      GIT_AUTHOR_NAME: 'Ada',
      GIT_AUTHOR_EMAIL: 'ada@acme.example',
      GIT_COMMITTER_NAME: 'Ada',
      GIT_COMMITTER_EMAIL: 'ada@acme.example',
    };
    let cwd = scratch;
    const answers: { step: Step; answer: string }[] = [];

    /** As a terminal shows it, both streams together; `cd` is remembered. */
    function type(command: string): string {
      const script = `exec 2>&1\n${command}\nstatus=$?\npwd > "$HOME/.cwd"\nexit $status`;
      const { stdout } = spawnSync('sh', ['-c', script], { cwd, env, encoding: 'utf8' });
      cwd = readFileSync(join(scratch, '.cwd'), 'utf8').trim();
      return stdout.replaceAll(scratch, '/home/ada');
    }

    beforeAll(() => {
      mkdirSync(join(scratch, 'bin'));
      symlinkSync(join(root, 'cordon'), join(scratch, 'bin', 'cordon'));
      const written = /^branch +cordon\/(\w{16})$/m.exec(readme)?.[1] ?? 'no run';
      let actual = written;
      for (const step of blocks(readme, 'console').flatMap(steps)) {
        const answer = type(step.command.replaceAll(written, actual));
        actual = /^branch +cordon\/(\w{16})$/m.exec(answer)?.[1] ?? actual;
        answers.push({ step, answer });
      }
    });
    afterAll(() => rmSync(scratch, { recursive: true }));

    test('answers as the README prints it', () => {
      expect(answers.length).toBeGreaterThan(10);
      const printed = answers.map(({ step }) => `$ ${step.command}\n${plain(step.answer)}`);
      const got = answers.map(({ step, answer }) => `$ ${step.command}\n${plain(answer)}`);
      expect(got).toEqual(printed);
    });

    test('the verifier of docs/audit.md takes what was exported, and nothing that was changed', () => {
      const [verifier = ''] = blocks(read('docs/audit.md'), 'js');
      const program = join(scratch, 'verify.mjs');
      writeFileSync(program, verifier);
      const key = readFileSync(join(scratch, '.local/state/cordon/keys/audit.vkey'), 'utf8');
      const verify = (file: string, by = key) => spawnSync(process.execPath, [program, file, by], { encoding: 'utf8' });
      type(
        'cordon audit export ../one.jsonl --run "$(git for-each-ref --format="%(refname:lstrip=3)" refs/heads/cordon)"',
      );
      for (const [file, count] of [
        ['log.jsonl', /^(\d+) of \1 records/],
        ['proof.json', /^1 of /],
        ['one.jsonl', /^\d\d+ of /],
      ] as const) {
        const path = join(scratch, file);
        expect(verify(path)).toMatchObject({ status: 0, stdout: expect.stringMatching(count) });
        const text = readFileSync(path, 'utf8');
        const changed = join(scratch, `changed-${basename(file)}`);
        writeFileSync(changed, text.replace('\\"principal\\"', '\\"principa1\\"'));
        expect(readFileSync(changed, 'utf8')).not.toBe(text);
        expect(verify(changed)).toMatchObject({ status: 1 });
      }
      const lines = readFileSync(join(scratch, 'log.jsonl'), 'utf8').split('\n');
      writeFileSync(join(scratch, 'short.jsonl'), [...lines.slice(0, 5), ...lines.slice(6)].join('\n'));
      expect(verify(join(scratch, 'short.jsonl'))).toMatchObject({ status: 1 });
      const other = key.trim().replace(/.(?=.{9}$)/, (letter) => (letter === 'A' ? 'B' : 'A'));
      expect(verify(join(scratch, 'log.jsonl'), other)).toMatchObject({ status: 1 });
    });
  },
);
