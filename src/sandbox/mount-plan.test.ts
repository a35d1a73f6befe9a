import { describe, expect, test } from 'vitest';
import { bubblewrapArguments } from './drivers/bubblewrap-program.ts';
import type { Operation } from './mount-operations.ts';
import { planBox, separate } from './mount-plan.ts';
import { outsideFiles } from './outside-plan.ts';
import { planRoot } from './root-plan.ts';
import type { Toolbox } from './sandbox.ts';

const usr: Toolbox = { kind: 'usr' };
const file = (path: string, outsideUsr = false) => ({ path, sha256: '0'.repeat(64), outsideUsr });
const list: Toolbox = {
  kind: 'list',
  executables: [
    { ...file('/usr/bin/git'), listed: ['/usr/bin/git'], companionOf: null, interpreter: null },
    { ...file('/opt/tool/run', true), listed: ['/opt/tool/run'], companionOf: null, interpreter: null },
  ],
  libraries: [file('/usr/lib/x.so'), file('/opt/lib/y.so', true)],
  links: [{ path: '/opt/bin/run', target: '../tool/run' }],
  digest: 'sha256:1',
};

const root = (toolbox: Toolbox) =>
  planRoot({
    name: 'root',
    toolbox,
    outside: outsideFiles(toolbox),
    bound: {},
    programs: {},
    tools: [],
    etc: { passwd: 'x\n', 'a/b': 'y' },
    files: { task: 'do' },
  });

const READ_ONLY = 1;
const NO_EXEC = 8;
const NO_SUID_NO_DEV = 6;
const named = (plan: readonly Operation[], name: string) => plan.filter(([op]) => op === name);
/** Where a plan mounts something over the root's own folders, and the attributes it then gets. */
const mounts = (plan: readonly Operation[]) =>
  new Map(
    named(plan, 'mount').map(([, source, target]) => [
      String(target),
      {
        source: String(source),
        attributes: Number(
          named(plan, 'attributes')
            .filter(([, at]) => at === target)
            .at(-1)?.[2],
        ),
      },
    ]),
  );

describe.each([
  ['usr', usr],
  ['list', list],
] as const)('a guest’s root (%s)', (kind, toolbox) => {
  const plan = root(toolbox);

  test('shows of the host only /usr and a few named system files, all read-only', () => {
    const fromHost = [...mounts(plan)].filter(([, { source }]) => source.startsWith('/'));
    const known =
      /^\/(usr(\/.*)?|lib64|lib32|libx32|lib|bin|sbin|etc\/(ld\.so\.cache|localtime|alternatives|ssl\/certs|perl|java-17-openjdk))$/;
    expect(fromHost.length).toBeGreaterThan(0);
    for (const [target, { source, attributes }] of fromHost) {
      expect(source).toMatch(known);
      expect(target).toBe(`root${source}`);
      expect({ source, readOnly: attributes & READ_ONLY }).toEqual({ source, readOnly: READ_ONLY });
    }
  });

  test('has no set-user-id file and no device anywhere', () => {
    for (const [target, { attributes }] of mounts(plan))
      expect({ target, attributes: attributes & NO_SUID_NO_DEV }).toEqual({ target, attributes: NO_SUID_NO_DEV });
  });

  test('is itself read-only in the end, after everything is in its place', () => {
    expect(plan.at(-1)).toEqual(['attributes', 'root', READ_ONLY | NO_SUID_NO_DEV, 0]);
    const bound = plan.findIndex(([op, source, target]) => op === 'mount' && source === 'root' && target === 'root');
    const firstMount = plan.findIndex(([op]) => op === 'mount');
    expect(firstMount).toBe(bound); // else what is below would be covered
  });

  test('makes every folder before what goes into it, once', () => {
    const made = named(plan, 'mkdir').map(([, path]) => String(path));
    expect(new Set(made).size).toBe(made.length);
    for (const [op, path] of plan) {
      if (op !== 'file' && op !== 'mkdir') continue;
      const parent = String(path).slice(0, String(path).lastIndexOf('/'));
      if (!String(path).includes('/')) continue;
      const before = plan.slice(
        0,
        plan.findIndex((o) => o[0] === op && o[1] === path),
      );
      expect(
        before.some((o) => o[0] === 'mkdir' && o[1] === parent),
        `${path}`,
      ).toBe(true);
    }
  });

  test(kind === 'list' ? 'nothing writable can be executed' : 'the workspace can be executed', () => {
    const writable = [...mounts(plan)].filter(([, { attributes }]) => (attributes & READ_ONLY) === 0);
    expect(
      writable
        .map(([target]) => target)
        .filter((t) => t !== 'root')
        .sort(),
    ).toEqual(['root/home/agent', 'root/run/shm', 'root/tmp', 'root/var/tmp', 'root/workspace'].sort());
    for (const [target, { attributes }] of writable)
      expect({ target, noExec: (attributes & NO_EXEC) !== 0 }).toEqual({ target, noExec: kind === 'list' });
  });
});

describe('a list', () => {
  const plan = root(list);
  test('takes execution from /usr and gives it back to exactly the listed files', () => {
    const all = mounts(plan);
    expect((all.get('root/usr')?.attributes ?? 0) & NO_EXEC).toBe(NO_EXEC);
    const executable = [...all].filter(([, { attributes }]) => (attributes & NO_EXEC) === 0).map(([target]) => target);
    expect(executable.filter((target) => target !== 'root').sort()).toEqual(
      ['root/opt/lib/y.so', 'root/opt/tool/run', 'root/usr/bin/git', 'root/usr/lib/x.so'].sort(),
    );
    for (const target of ['root/usr/bin/git', 'root/opt/tool/run'])
      expect((all.get(target)?.attributes ?? 0) & READ_ONLY).toBe(READ_ONLY);
  });

  test('what lies outside /usr is bound from the descriptors that were opened for it, in that order', () => {
    expect(outsideFiles(list)).toEqual(['/opt/tool/run', '/opt/lib/y.so']);
    expect(mounts(plan).get('root/opt/tool/run')?.source).toBe('outside/0');
    expect(mounts(plan).get('root/opt/lib/y.so')?.source).toBe('outside/1');
    expect(plan).toContainEqual(['link', '../tool/run', 'root/opt/bin/run']);
    expect(outsideFiles(usr)).toEqual([]);
  });
});

describe('the box', () => {
  const plan = planBox({
    checkout: '/cache/checkout',
    overlay: true,
    tmpfs: 'size=1,nr_inodes=2',
    outside: ['/opt/tool/run'],
  });
  const index = (test: (operation: Operation) => boolean) => plan.findIndex(test);

  test('is private first, opens what the host has while it still may, and then gives up its ids', () => {
    expect(plan[0]).toEqual(['mount', 'none', '/', '', 16384 | (1 << 18), '']);
    const opened = plan.flatMap((o, i) => (o[0] === 'open' ? [i] : []));
    expect(opened.map((i) => plan[i]?.[1])).toEqual(['/cache/checkout', '/opt/tool/run']);
    expect(Math.max(...opened)).toBeLessThan(index(([op]) => op === 'root'));
    expect(index(([op]) => op === 'root')).toBeLessThan(index(([op, source]) => op === 'mount' && source === 'box'));
  });

  test('holds no more than the run may write, and the checkout below is read-only', () => {
    expect(plan.find(([op, source]) => op === 'mount' && source === 'box')?.[5]).toBe('size=1,nr_inodes=2,mode=0755');
    expect(plan).toContainEqual(['attributes', 'lower', 7, 0]);
    const overlay = plan.find(([op, , , type]) => op === 'mount' && type === 'overlay');
    expect(String(overlay?.[5])).not.toContain('/'); // the guest reads it
  });

  test('fresh namespaces for users, mounts, network and System V objects before all else', () => {
    expect(separate).toEqual([['unshare', 0x10000000 | 0x20000 | 0x40000000 | 0x8000000]]);
  });
});

test('bubblewrap gets nothing that would weaken it', () => {
  const args = bubblewrapArguments('/usr/bin/bwrap', 'root');
  expect(args[0]).toBe('/usr/bin/bwrap');
  for (const flag of [
    '--unshare-user',
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup',
    '--disable-userns',
    '--die-with-parent',
    '--new-session',
    '--clearenv',
  ])
    expect(args).toContain(flag);
  expect(args.join(' ')).toContain('--cap-drop ALL');
  for (const flag of [
    '--share-net',
    '--cap-add',
    '--dev-bind',
    '--setenv',
    '--unshare-user-try',
    '--unshare-cgroup-try',
  ])
    expect(args).not.toContain(flag);
  expect(args.slice(args.indexOf('--'))).toEqual(['--', '/proc/self/fd/4', 'init']);
});
