/**
 * What somebody tries who can write where sealed values lie, who sits in a sandbox with a placeholder, or who looks at processes.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CordonError, EnforcementError, NotFoundError, PolicyDeniedError } from '../../src/base/errors.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import {
  type Broker,
  openBroker,
  openSecrets,
  parseUse,
  Secret,
  type SecretEvent,
  type SecretStore,
} from '../../src/secrets/index.ts';

const VALUE = 'the-value-of-A-1';
const HOST = 'packages.acme.example';
const run = {
  id: '0123456789abcdef',
  repository: '/home/ann/app',
  agent: 'command',
  workflow: null,
  environment: null,
};
const other = { ...run, id: 'fedcba9876543210' };

let home: string;
let dir: string;
let keys: string;
let store: SecretStore;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cordon-attack-'));
  [dir, keys] = [join(home, 'secrets'), join(home, 'keys')];
  await mkdir(keys, { mode: 0o700 });
  store = open();
  await store.set('A', new Secret(Buffer.from(VALUE), 'A'), { hosts: [HOST] });
  await store.set('B', new Secret(Buffer.from('the-value-of-B-1'), 'B'), { hosts: ['evil.example'] });
});
afterEach(() => rm(home, { recursive: true }));

function open(masterKey?: string): SecretStore {
  return openSecrets('embedded', { dir, keys, masterKey });
}
const read = async (name: string, from = store) => (await from.read(name)).value.reveal().toString();
const file = (name: string) => join(dir, name);

interface IndexFile {
  readonly entries: Record<string, { scopes: { hosts?: string[] } } | undefined>;
  readonly gone: Record<string, number>;
}

async function editIndex(change: (index: IndexFile) => unknown): Promise<void> {
  const path = join(keys, 'secrets.json');
  const index = JSON.parse(await readFile(path, 'utf8'));
  change(index);
  await writeFile(path, JSON.stringify(index));
}

async function refused(
  work: Promise<unknown>,
  kind: new (...args: never[]) => Error = EnforcementError,
): Promise<void> {
  const error = await work.then(
    () => null,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(kind);
  expect((error as CordonError).remedy).toBeTruthy();
  expect(`${(error as Error).stack}${JSON.stringify(error)}`).not.toContain('the-value');
}

test('control: as it was written, it opens', async () => {
  expect([await read('A'), await read('B')]).toEqual([VALUE, 'the-value-of-B-1']);
});

describe('where sealed values lie', () => {
  test('no file holds a value in any encoding', async () => {
    const redactor = new Redactor();
    redactor.add('A', VALUE);
    for (const folder of [dir, keys]) {
      for (const name of await readdir(folder))
        expect(redactor.matches(await readFile(join(folder, name)))).toBe(false);
    }
  });

  test('one put in the place of another', async () => {
    await copyFile(file('B.1.json'), file('A.1.json'));
    await refused(store.read('A'));
    expect(await read('B')).toBe('the-value-of-B-1');
  });

  test('one that says it is the other', async () => {
    const sealed = JSON.parse(await readFile(file('B.1.json'), 'utf8'));
    await writeFile(file('A.1.json'), JSON.stringify({ ...sealed, name: 'A' }), { mode: 0o600 });
    await refused(store.read('A'));
  });

  test('an old value under the new version', async () => {
    const old = await readFile(file('A.1.json'), 'utf8');
    await store.set('A', new Secret(Buffer.from('the-value-of-A-2'), 'A'));
    await writeFile(file('A.2.json'), old.replace('"version":1', '"version":2'));
    await refused(store.read('A'));
  });

  test('an old value and its old number', async () => {
    const old = await readFile(file('A.1.json'));
    await store.set('A', new Secret(Buffer.from('the-value-of-A-2'), 'A'));
    await writeFile(file('A.1.json'), old);
    expect(await read('A')).toBe('the-value-of-A-2');
    await unlink(file('A.2.json'));
    await refused(store.read('A'));
  });

  test('a removed one does not come back, nor under a number of its own when it is set again', async () => {
    const old = await readFile(file('A.1.json'));
    await store.remove('A');
    await writeFile(file('A.1.json'), old, { mode: 0o600 });
    await refused(store.read('A'), NotFoundError);
    expect((await store.set('A', new Secret(Buffer.from('the-value-of-A-9'), 'A'))).version).toBe('2');
    expect(await read('A')).toBe('the-value-of-A-9');
  });

  test.each([0, 40, 100])('a bit changed at %i', async (at) => {
    const sealed = JSON.parse(await readFile(file('A.1.json'), 'utf8'));
    const bytes = Buffer.from(sealed.sealed, 'base64');
    const place = Math.min(at, bytes.length - 1);
    bytes[place] = (bytes[place] as number) ^ 1;
    await writeFile(file('A.1.json'), JSON.stringify({ ...sealed, sealed: bytes.toString('base64') }));
    await refused(store.read('A'));
  });

  test.each(['', '{', 'null', '{"v":1}', '[]', '\0'.repeat(100)])('a file that holds %j', async (text) => {
    await writeFile(file('A.1.json'), text);
    await refused(store.read('A'));
  });

  test('a symbolic link in a file’s place', async () => {
    await rename(file('A.1.json'), join(home, 'elsewhere'));
    await symlink(join(home, 'elsewhere'), file('A.1.json'));
    await refused(store.read('A'));
  });

  test('a link to something that never ends', async () => {
    await unlink(file('A.1.json'));
    await symlink('/dev/zero', file('A.1.json'));
    await refused(store.read('A'));
  });
});

describe('the index and the master key', () => {
  test('wider scopes', async () => {
    await editIndex(({ entries }) => delete entries.A?.scopes.hosts);
    await refused(store.read('A'));
    await refused(store.list());
  });

  test('entries exchanged, added, taken away, or taken back', async () => {
    const path = join(keys, 'secrets.json');
    const before = await readFile(path, 'utf8');
    const changes: ((index: IndexFile) => unknown)[] = [
      ({ entries }) => Object.assign(entries, { A: entries.B, B: entries.A }),
      ({ entries }) => Object.assign(entries, { C: entries.A }),
      ({ entries }) => delete entries.B,
      ({ gone }) => Object.assign(gone, { D: 4 }),
    ];
    for (const change of changes) {
      await writeFile(path, before);
      await editIndex(change);
      await refused(store.list());
    }
    await writeFile(path, before.slice(0, 50));
    await refused(store.list());
  });

  test('no entry is taken from what every object has', async () => {
    expect(await store.find('constructor')).toBeNull();
    expect(await store.find('__proto__')).toBeNull();
  });

  test('a master key that others can read, or that is a link', async () => {
    const key = join(keys, 'master.key');
    await chmod(key, 0o644);
    await refused(store.read('A'));
    await chmod(key, 0o600);
    await rename(key, join(home, 'key'));
    await symlink(join(home, 'key'), key);
    await refused(store.read('A'));
  });

  test('a missing master key is not replaced, and nothing is lost', async () => {
    const key = join(keys, 'master.key');
    const kept = await readFile(key);
    await unlink(key);
    await refused(store.read('A'));
    await refused(store.set('A', new Secret(Buffer.from('the-value-of-A-2'), 'A')));
    await refused(store.set('NEW', new Secret(Buffer.from('the-value-of-N-2'), 'NEW')));
    await expect(readFile(key)).rejects.toThrow();
    await writeFile(key, kept, { mode: 0o600 });
    expect(await read('A')).toBe(VALUE);
  });

  test('another master key, in the file or the variable; the right one in the variable', async () => {
    const key = join(keys, 'master.key');
    const kept = await readFile(key, 'utf8');
    const wrong = randomBytes(32).toString('base64');
    await refused(open(wrong).read('A'));
    await writeFile(key, `${wrong}\n`);
    await refused(store.read('A'));
    expect(await read('A', open(kept))).toBe(VALUE);
    for (const no of ['', 'abc', randomBytes(31).toString('base64'), `${wrong}!`])
      await refused(open(no).read('A'), CordonError);
    await writeFile(key, 'damaged');
    await refused(store.read('A'), CordonError);
  });
});

describe('a file that is mounted', () => {
  const mounted = (path: string) => openSecrets('file', { folder: dir, secrets: { X: { file: path } } });

  test('a link that leads out, and one that others can read', async () => {
    await writeFile(join(home, 'outside'), 'the-value-outside', { mode: 0o600 });
    await symlink(join(home, 'outside'), file('x'));
    await refused(mounted('x').read('X'));
    await writeFile(file('y'), 'the-value-for-all', { mode: 0o600 });
    await chmod(file('y'), 0o644);
    await refused(mounted('y').read('X'));
    await chmod(file('y'), 0o440);
    expect((await mounted('y').read('X')).value.reveal().toString()).toBe('the-value-for-all');
  });

  test('a path that leaves the folder, and a pipe that nobody writes to', async () => {
    for (const path of ['../keys/master.key', '/etc/shadow', 'a/../../x', '..'])
      expect(() => mounted(path)).toThrow(CordonError);
    await refused(mounted('.').read('X'));
  });
});

describe('a volume of Kubernetes secrets', () => {
  /** As the kubelet writes it (its AtomicWriter): a new folder, a link beside, one rename, the folder before removed. */
  async function publish(volume: string, version: number, value: string): Promise<void> {
    const folder = `..2026_11_21_10_00_00.${version}`;
    await mkdir(join(volume, folder));
    await writeFile(join(volume, folder, 'token'), value, { mode: 0o400 });
    const before = await readlink(join(volume, '..data')).catch(() => null);
    await symlink(folder, join(volume, '..data_tmp'));
    await rename(join(volume, '..data_tmp'), join(volume, '..data'));
    if (before !== null) await rm(join(volume, before), { recursive: true });
  }

  test('changed again and again while it is read: one value or the other, whole, and never an error', async () => {
    const volume = join(home, 'volume');
    await mkdir(volume);
    const values = [`first-${'a'.repeat(5000)}`, `second-${'b'.repeat(9000)}`];
    await publish(volume, 0, values[0] as string);
    await symlink(join('..data', 'token'), join(volume, 'token'));
    const driver = openSecrets('file', { folder: volume, secrets: { X: { file: 'token' } } });
    const seen = new Set<string>();
    let over = false;
    const readers = Array.from({ length: 4 }, async () => {
      while (!over) seen.add(await read('X', driver as SecretStore));
    });
    const writing = (async () => {
      for (let version = 1; version <= 300; version++) await publish(volume, version, values[version % 2] as string);
    })();
    await writing.finally(() => {
      over = true;
    });
    await Promise.all(readers);
    expect([...seen].sort()).toEqual(values);
  });
});

describe('a placeholder', () => {
  let broker: Broker;
  let events: SecretEvent[];
  beforeEach(() => {
    events = [];
    const record = async (event: SecretEvent) => void events.push(event);
    broker = openBroker({ drivers: [store], dir, redactor: new Redactor(), record });
  });
  afterEach(() => broker.close());
  const grant = (who = run) => broker.grant(who, { name: 'A', use: parseUse({ host: HOST }) });

  test('is no value of a secret: it would be met and stopped everywhere', async () => {
    const { placeholder } = await grant(run);
    for (const text of [placeholder, `Bearer ${placeholder}\n`])
      expect(() => new Secret(Buffer.from(text), 'B')).toThrow(/stands for a secret inside a run/);
    await writeFile(file('mounted'), placeholder, { mode: 0o400 });
    const driver = openSecrets('file', { folder: dir, secrets: { X: { file: 'mounted' } } });
    await refused(driver.read('X'), CordonError);
  });

  test('of a name that another name begins with, or is within, is that one’s alone', async () => {
    await store.set('A_B', new Secret(Buffer.from('the-value-of-A_B'), 'A_B'));
    await store.set('B_A', new Secret(Buffer.from('the-value-of-B_A'), 'B_A'));
    const facts = { name: 'A_B', use: parseUse({ host: HOST, header: 'X-A-B: {}' }) };
    const longer = await broker.grant(run, facts);
    const inner = await broker.grant(run, { name: 'B_A', use: parseUse({ host: HOST, header: 'X-B-A: {}' }) });
    const short = await grant(run);
    for (const one of [longer, inner, short]) {
      expect(broker.findPlaceholders(`x${one.placeholder}x`)).toEqual([{ name: one.name, grant: one }]);
      const { value } = await broker.resolve(one.id, run.id, HOST);
      expect(value.reveal().toString()).toContain(`the-value-of-${one.name}`);
    }
    await broker.revoke('A');
    await expect(broker.resolve(short.id, run.id, HOST)).rejects.toThrow(/A was revoked/);
    await expect(broker.resolve(longer.id, run.id, HOST)).resolves.toBeTruthy();
  });

  test('cannot be guessed from others', async () => {
    const tails = new Set<string>();
    for (let i = 0; i < 20; i++) tails.add((await grant()).placeholder.slice(-26));
    expect(tails.size).toBe(20);
    for (const position of [0, 13, 25])
      expect(new Set([...tails].map((tail) => tail[position])).size).toBeGreaterThan(3);
  });

  test('is found in a path, a query, a body, base64, JSON, hex and a header', async () => {
    const mine = await grant();
    const p = mine.placeholder;
    const carriers = [
      `/upload/${p}/x`,
      `/x?token=${encodeURIComponent(p)}&y`,
      `{"token":${JSON.stringify(p)}}`,
      Buffer.from(`user:${p}`).toString('base64'),
      Buffer.from(`u:${p}`).toString('base64url'),
      Buffer.from(p).toString('hex'),
      Buffer.from(p).toString('hex').toUpperCase(),
      `Cookie: a=b; t=${p}`,
    ];
    for (const carrier of carriers) expect(broker.findPlaceholders(carrier)).toEqual([{ name: 'A', grant: mine }]);
    expect(broker.findPlaceholders('/upload/cordon-secret-/x')).toEqual([]);
  });

  test('is found in a body that comes a byte at a time', async () => {
    const mine = await grant();
    const found: unknown[] = [];
    const watch = broker.watchPlaceholders((sighting) => found.push(sighting.grant));
    const body = Buffer.from(`a${Buffer.from(`xx${mine.placeholder}`).toString('base64')}b ${mine.placeholder}`);
    for (let i = 0; i < body.length; i++) watch(body.subarray(i, i + 1), i === body.length - 1);
    expect(found).toEqual([mine]);
  });

  test('of another run, of an ended run, of nobody: recognised, and worth nothing', async () => {
    const theirs = await grant(other);
    expect(broker.findPlaceholders(theirs.placeholder)).toEqual([{ name: 'A', grant: theirs }]);
    await expect(broker.resolve(theirs.id, run.id, HOST)).rejects.toThrow(PolicyDeniedError);
    await broker.endRun(other.id);
    expect(broker.findPlaceholders(Buffer.from(theirs.placeholder).toString('hex'))).toEqual([
      { name: 'A', grant: theirs },
    ]);
    await expect(broker.resolve(theirs.id, other.id, HOST)).rejects.toThrow(PolicyDeniedError);
    const made = `cordon-secret-A-${'0'.repeat(26)}`;
    const [sighting] = broker.findPlaceholders(made);
    expect(sighting).toEqual({ name: 'A', grant: null });
    await expect(broker.resolve(made, run.id, HOST)).rejects.toThrow(PolicyDeniedError);
  });

  test('raises an alarm that says where, and repeats neither it nor the value', async () => {
    const theirs = await grant(other);
    const [sighting] = broker.findPlaceholders(theirs.placeholder);
    await broker.alarm(run.id, sighting as NonNullable<typeof sighting>, 'body', 'evil.example');
    const alarm = events.at(-1);
    expect(alarm).toMatchObject({
      type: 'secret.alarm',
      run: run.id,
      resource: {
        secret: 'A',
        grant: theirs.id,
        where: 'body',
        host: 'evil.example',
        what: `a placeholder of run ${other.id}`,
      },
    });
    expect(JSON.stringify(events)).not.toContain(theirs.placeholder.slice(-26));
    expect(JSON.stringify(events)).not.toContain(VALUE);
  });
});

describe('on the command line', () => {
  const root = join(import.meta.dirname, '..', '..');
  const cordon = (args: readonly string[], input = '') => {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(root, 'src/main.ts'), ...args],
      {
        env: { PATH: process.env.PATH ?? '', CORDON_HOME: home, HOME: home },
      },
    );
    child.stdin.on('error', () => {}); // it may have ended before it read
    child.stdin.end(input);
    let text = '';
    child.stdout.on('data', (piece) => (text += piece));
    child.stderr.on('data', (piece) => (text += piece));
    return new Promise<{ code: number | null; text: string }>((done) =>
      child.on('close', (code) => done({ code, text })),
    );
  };

  test('a value as an argument is refused, named as leaked, and not repeated', async () => {
    for (const args of [['NPM_TOKEN', 'hunter2-hunter2'], ['NPM_TOKEN=hunter2-hunter2'], ['hunter2-hunter2']]) {
      const { code, text } = await cordon(['secrets', 'set', ...args], 'another-value-2');
      expect(code).toBe(2);
      expect(text).not.toContain('hunter2');
    }
    expect((await cordon(['secrets', 'set', 'X', 'hunter2-hunter2'])).text).toMatch(/history/);
    expect(await store.find('NPM_TOKEN')).toBeNull();
  });

  test('no verb shows a value, and the log holds none', async () => {
    const secret = 'hunter2-hunter2-hunter2';
    const shown = [
      await cordon(['secrets', 'set', 'NPM_TOKEN', '--host', HOST], `${secret}\n`),
      await cordon(['secrets', 'list']),
      await cordon(['secrets', 'list', '--json']),
      await cordon(['secrets', 'revoke', 'NPM_TOKEN']),
      await cordon(['secrets', 'set', 'NPM_TOKEN'], 'short'),
    ];
    expect(shown.map(({ code }) => code)).toEqual([0, 0, 0, 0, 2]);
    expect(await read('NPM_TOKEN')).toBe(secret);
    expect((await store.find('NPM_TOKEN'))?.scopes).toEqual({ hosts: [HOST] });
    const { text } = await cordon(['audit', 'tail', '--json', '--no-follow']);
    expect(text).toContain('secret.changed');
    expect(text + shown.map((one) => one.text).join('')).not.toContain('hunter2');
    expect((await cordon(['audit', 'verify'])).code).toBe(0);
  });

  test('revoking reaches the run of another process, and names it', async () => {
    const broker = openBroker({ drivers: [store], dir, redactor: new Redactor(), record: async () => {} });
    const grant = await broker.grant(run, { name: 'A', use: parseUse({ host: HOST }) });
    const { code, text } = await cordon(['secrets', 'revoke', 'A']);
    expect(code).toBe(0);
    expect(text).toContain(`taken from run ${run.id}`);
    expect(grant.signal.aborted).toBe(true);
    const again = await broker.grant(other, { name: 'A', use: parseUse({ host: HOST }) });
    expect((await cordon(['secrets', 'remove', 'A'])).text).toContain(`taken from run ${other.id}`);
    expect(again.signal.aborted).toBe(true);
    await broker.close();
  });

  test('a name that nobody knows is not revoked, and the one that was meant is named', async () => {
    await cordon(['secrets', 'set', 'NPM_TOKEN'], 'the-value-of-npm');
    const { code, text } = await cordon(['secrets', 'revoke', 'NPM_TOKNE']);
    expect(code).toBe(2);
    expect(text).toContain('did you mean NPM_TOKEN?');
    expect((await cordon(['audit', 'tail', '--json', '--no-follow'])).text).not.toContain('NPM_TOKNE');
    // A run may have what is kept nowhere any more.
    const broker = openBroker({ drivers: [store], dir, redactor: new Redactor(), record: async () => {} });
    const grant = await broker.grant(run, { name: 'A', use: parseUse({ host: HOST }) });
    await store.remove('A');
    expect((await cordon(['secrets', 'revoke', 'A'])).code).toBe(0);
    expect(grant.signal.aborted).toBe(true);
    await broker.close();
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    '%s at the prompt ends it, with the terminal as it was',
    async (signal) => {
      const pid = join(home, 'pid');
      const set = `sh -c 'echo $$ > ${pid}; exec ${join(root, 'cordon')} secrets set X'`;
      const terminal = spawn('script', ['-qec', `stty echo icanon; ${set}; echo "code=$?"; stty -a`, '/dev/null'], {
        env: { PATH: process.env.PATH ?? '', CORDON_HOME: home, HOME: home, SHELL: '/bin/sh' },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      let text = '';
      for await (const piece of terminal.stdout) {
        const asked = text.includes('not shown');
        text += piece;
        if (!asked && text.includes('not shown')) {
          process.kill(Number(await readFile(pid, 'utf8')), signal);
        }
      }
      expect(text).toContain('code=130');
      expect(text).toMatch(/ icanon .* echo /s);
    },
  );

  test('using a value puts it into no process’s arguments or environment', async () => {
    const broker = openBroker({ drivers: [store], dir, redactor: new Redactor(), record: async () => {} });
    const grant = await broker.grant(run, { name: 'A', use: parseUse({ host: HOST }) });
    await broker.resolve(grant.id, run.id, HOST);
    expect(JSON.stringify([process.argv, process.env])).not.toContain(VALUE);
    const child = spawn('sh', ['-c', 'cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline']);
    let text = '';
    for await (const piece of child.stdout) text += piece;
    expect(text.length).toBeGreaterThan(0);
    expect(text).not.toContain(VALUE);
    await broker.close();
  });
});
