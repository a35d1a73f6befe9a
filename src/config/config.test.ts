import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DocumentError, EnforcementError, UsageError } from '../base/errors.ts';
import { checkHome, prepareHome } from './home.ts';
import { loadSettings, parseSettings } from './load.ts';
import { resolvePaths } from './paths.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cordon-config-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('paths', () => {
  test('CORDON_HOME, then XDG_STATE_HOME, then HOME', () => {
    expect(resolvePaths({ CORDON_HOME: '/c', XDG_STATE_HOME: '/s', HOME: '/h' }).home).toBe('/c');
    expect(resolvePaths({ XDG_STATE_HOME: '/s', HOME: '/h' }).home).toBe('/s/cordon');
    expect(resolvePaths({ HOME: '/h' })).toMatchObject({
      home: '/h/.local/state/cordon',
      configFile: '/h/.config/cordon/config.yaml',
    });
  });
  test('a relative XDG folder is ignored', () => {
    expect(resolvePaths({ XDG_STATE_HOME: 'state', HOME: '/h' }).home).toBe('/h/.local/state/cordon');
  });
  test('without any place it says which variables to set', () => {
    expect(() => resolvePaths({ HOME: 'relative' })).toThrow(UsageError);
  });
});

describe('the data folder', () => {
  const paths = () => resolvePaths({ CORDON_HOME: join(folder, 'home'), HOME: '/h' });

  test('is made for this user alone', async () => {
    await prepareHome(paths());
    for (const path of [paths().home, paths().keys, paths().audit]) expect((await stat(path)).mode & 0o777).toBe(0o700);
    await prepareHome(paths());
  });

  test.each([
    ['the folder, by the group', 'home', 0o770],
    ['the folder, by all', 'home', 0o702],
    ['the log', 'audit', 0o722],
    ['the keys, read by the group', 'keys', 0o740],
  ] as const)('is refused when others can change or read it: %s', async (_, part, mode) => {
    await prepareHome(paths());
    await chmod(paths()[part], mode);
    await expect(prepareHome(paths())).rejects.toThrow(EnforcementError);
    await expect(checkHome(paths())).rejects.toThrow(paths()[part]);
  });

  test('is refused when a key can be read by others', async () => {
    await prepareHome(paths());
    await writeFile(join(paths().keys, 'log.key'), 'secret', { mode: 0o640 });
    await expect(prepareHome(paths())).rejects.toThrow('log.key');
    await chmod(join(paths().keys, 'log.key'), 0o600);
    await writeFile(join(paths().keys, 'log.vkey'), 'public', { mode: 0o644 });
    await prepareHome(paths());
    await chmod(join(paths().keys, 'log.vkey'), 0o664);
    await expect(prepareHome(paths())).rejects.toThrow('log.vkey');
  });

  test('is refused when it is another user’s', async () => {
    await prepareHome(paths());
    await expect(checkHome(paths(), 54321)).rejects.toThrow('belongs to user');
  });

  test('is refused below a folder where anybody could swap it, also through a link', async () => {
    const open = join(folder, 'open');
    await mkdir(open);
    await chmod(open, 0o777);
    await mkdir(join(open, 'real'), { mode: 0o700 });
    await symlink(join(open, 'real'), join(folder, 'link'));
    const inOpen = resolvePaths({ CORDON_HOME: join(folder, 'link'), HOME: '/h' });
    await expect(prepareHome(inOpen)).rejects.toThrow('above the data folder');
    await chmod(open, 0o1777);
    await prepareHome(inOpen);
  });
});

describe('settings', () => {
  test('no file: the defaults', async () => {
    expect(await loadSettings(join(folder, 'none.yaml'))).toEqual({ version: 1, run: {} });
  });

  test('the proxy of the network comes as host and port', async () => {
    for (const [text, host] of [
      ['http://proxy.acme.example:3128/', 'proxy.acme.example'],
      ['http://[fd00::1]:3128', '[fd00::1]'],
    ]) {
      const { network } = await parseSettings('c.yaml', `version: 1\nnetwork: {proxy: "${text}"}\n`);
      expect(network).toEqual({ proxy: { host, port: 3128 } });
    }
  });

  test('sizes and times come in base units', async () => {
    const text = 'version: 1\nrun: {memory: 1g, timeout: 90s}\n';
    expect((await parseSettings('c.yaml', text)).run).toEqual({ memory: 1024 ** 3, timeout: 90_000 });
  });

  test.each([
    ['an unknown key', 'version: 1\nrun:\n  memroy: 1g\n', 'c.yaml:3:'],
    ['a duplicate key', 'version: 1\nversion: 1\n', 'c.yaml:2:'],
    ['a bad size', 'version: 1\nrun:\n  memory: much\n', 'c.yaml:3:11: run.memory: "much"'],
    ['no version', 'run: {}\n', 'c.yaml:1:'],
    ['not YAML', 'version: [1\n', 'c.yaml:'],
    ['nothing', '', 'c.yaml:1:1'],
    ['an alias', 'version: 1\nrun: &a {}\nnetwork: *a\n', 'c.yaml:3:10: aliases of YAML are not taken'],
  ])('%s is refused with its place', async (_, text, message) => {
    const parsing = parseSettings('c.yaml', text);
    await expect(parsing).rejects.toThrow(DocumentError);
    await expect(parsing).rejects.toThrow(message);
  });
});
