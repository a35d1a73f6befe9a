/**
 * A list of commands holds for content, not for names. The control is the same attack without a list, where it works;
 * what ran is judged by the record, and by what the attack left in the workspace.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DocumentError } from '../../src/base/errors.ts';
import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import type { SandboxEvent, Toolbox } from '../../src/sandbox/sandbox.ts';
import { resolveToolbox } from '../../src/sandbox/toolbox.ts';
import { guestEnv, SandboxScene } from '../fakes/sandbox-scene.ts';
import { arch, doors, nr, perl } from './guest.ts';

const scene = new SandboxScene(bubblewrap);
let list: Toolbox;
/** What stands on the list of these tests; `perl` is there so that raw calls can be made. */
const LISTED = [
  '/bin/sh',
  '/usr/bin/perl',
  '/usr/bin/cp',
  '/usr/bin/ln',
  '/usr/bin/mv',
  '/usr/bin/chmod',
  '/usr/bin/env',
  '/usr/bin/cat',
];

beforeAll(async () => {
  list = await resolveToolbox(LISTED.map((path) => ({ path })));
});
afterEach(() => scene.close());
afterAll(() => scene.dispose());

const allowed = () =>
  new Set(list.kind === 'list' ? [...list.executables, ...list.libraries].map((file) => file.sha256) : []);

type End = Extract<SandboxEvent, { type: 'ended' }>;

/** Images that really ran, by what was mapped. */
async function ran(argv: readonly [string, ...string[]], toolbox: Toolbox): Promise<{ ends: End[]; out: string }> {
  const cage = await scene.over({ door: doors.ordinary, lib: 'x' }, { toolbox });
  const { out } = await cage.run(...argv);
  await cage.sandbox.quiesce();
  const events = await cage.end();
  expect(events.filter((event) => event.type === 'lost')).toEqual([]);
  return { ends: events.filter((event) => event.type === 'ended' && event.how.kind !== 'failed') as End[], out };
}

/** Each tries to have `seq 3 5` (not listed) run, and prints `3 4 5` where it does. */
const attacks: Record<string, readonly [string, ...string[]]> = {
  'its own path': ['/bin/sh', '-c', '/usr/bin/seq 3 5'],
  'a name found in PATH': ['/bin/sh', '-c', 'seq 3 5'],
  'a PATH of its own': [
    '/bin/sh',
    '-c',
    'cp /usr/bin/seq /workspace/cat; chmod 755 /workspace/cat; PATH=/workspace; cat 3 5',
  ],
  'a copy in the workspace': [
    '/bin/sh',
    '-c',
    'cp /usr/bin/seq /workspace/x; chmod 755 /workspace/x; /workspace/x 3 5',
  ],
  'a copy in /tmp': ['/bin/sh', '-c', 'cp /usr/bin/seq /tmp/x; chmod 755 /tmp/x; /tmp/x 3 5'],
  'a copy in the home': ['/bin/sh', '-c', 'cp /usr/bin/seq ~/x; chmod 755 ~/x; ~/x 3 5'],
  'a copy in /dev/shm': ['/bin/sh', '-c', 'cp /usr/bin/seq /dev/shm/x; chmod 755 /dev/shm/x; /dev/shm/x 3 5'],
  'a copy in /run/shm and /var/tmp': [
    '/bin/sh',
    '-c',
    'for d in /run/shm /var/tmp; do cp /usr/bin/seq $d/y; chmod 755 $d/y; $d/y 3 5; done',
  ],
  'a copy with a listed name': [
    '/bin/sh',
    '-c',
    'cp /usr/bin/seq /workspace/perl; chmod 755 /workspace/perl; /workspace/perl 3 5',
  ],
  'a link with a listed name': ['/bin/sh', '-c', 'ln -s /usr/bin/seq /workspace/env; /workspace/env 3 5'],
  'a hard link': ['/bin/sh', '-c', 'ln /usr/bin/seq /workspace/h; /workspace/h 3 5'],
  'renaming over a listed file': [
    '/bin/sh',
    '-c',
    'cp /usr/bin/seq /tmp/s; mv -f /tmp/s /usr/bin/cat; cat 3 5 < /dev/null',
  ],
  'the loader': [
    '/bin/sh',
    '-c',
    'for l in /lib64/ld-linux*.so* /lib/ld-linux*.so*; do [ -e $l ] && $l /usr/bin/seq 3 5; done',
  ],
  'the loader, on a copy': [
    '/bin/sh',
    '-c',
    'cp /usr/bin/seq /tmp/x; for l in /lib64/ld-linux*.so* /lib/ld-linux*.so*; do [ -e $l ] && $l /tmp/x 3 5; done',
  ],
  'the loader, preloading it': [
    '/bin/sh',
    '-c',
    'cp /usr/bin/seq /tmp/x.so; for l in /lib64/ld-linux*.so*; do $l --preload /tmp/x.so /usr/bin/seq 3 5; done',
  ],
  env: ['/usr/bin/env', 'seq', '3', '5'],
  'a script with its #! line': [
    '/bin/sh',
    '-c',
    'printf "#!/usr/bin/printf 3 4 5\\n" > /workspace/s; chmod 755 /workspace/s; /workspace/s',
  ],
  'a descriptor through /proc/self/fd': perl(
    "open my $f, '<', '/usr/bin/seq'; S('fcntl', fileno($f), 2, 0); exec '/proc/self/fd/' . fileno($f), 3, 5",
  ),
  'a descriptor of a copy, unlinked': perl(
    "system 'cp /usr/bin/seq /tmp/u; chmod 755 /tmp/u'; open my $f, '<', '/tmp/u'; unlink '/tmp/u'; S('fcntl', fileno($f), 2, 0); exec '/proc/self/fd/' . fileno($f), 3, 5",
  ),
  'fexecve (execveat, AT_EMPTY_PATH)': perl(
    "open my $f, '<', '/usr/bin/seq'; my @a = ('seq', '3', '5'); my $v = pack('P P P Q', @a, 0); my $n = pack('Q', 0); S('execveat', fileno($f), my $e = '', $v, $n, 0x1000)",
  ),
  'execveat by path': perl(
    "my @a = ('seq', '3', '5'); my $v = pack('P P P Q', @a, 0); my $n = pack('Q', 0); S('execveat', -100, my $e = '/usr/bin/seq', $v, $n, 0)",
  ),
  'a file in memory': perl(
    "my $fd = S('memfd_create', my $n = 'x', 0); open my $m, '>&=', $fd; open my $s, '<', '/usr/bin/seq'; local $/; print $m <$s>; $m->flush if 0; S('fcntl', $fd, 2, 0); exec \"/proc/self/fd/$fd\", 3, 5",
  ),
  'the root of another process': [
    '/bin/sh',
    '-c',
    'for p in /proc/self /proc/1 /proc/$$; do $p/root/usr/bin/seq 3 5; done',
  ],
  '/proc/self/exe of the loader': [
    '/bin/sh',
    '-c',
    'for l in /lib64/ld-linux*.so*; do $l /proc/self/root/usr/bin/seq 3 5; done',
  ],
  'another mount of the same file': [
    '/bin/sh',
    '-c',
    'for f in /bin/seq /usr/../usr/bin/seq /etc/alternatives/../../usr/bin/seq /sbin/../bin/seq; do $f 3 5; done',
  ],
};

describe('what is not listed does not run', () => {
  const works = new Set<string>();
  /** Some attacks are about a list only, or are stopped by the filter with and without one. */
  const NO_CONTROL = [
    'a hard link',
    'renaming over a listed file',
    'fexecve (execveat, AT_EMPTY_PATH)',
    'a file in memory',
    'the loader, preloading it',
    '/proc/self/exe of the loader',
  ];
  for (const [name, argv] of Object.entries(attacks)) {
    test(`by ${name}`, async () => {
      if (!NO_CONTROL.includes(name)) {
        expect((await ran(argv, { kind: 'usr' })).out.split(/\s+/).slice(0, 3), 'without a list it runs').toEqual([
          '3',
          '4',
          '5',
        ]);
        works.add(name);
      }
      const { ends, out } = await ran(argv, list);
      expect(out).not.toContain('4');
      const may = allowed();
      for (const end of ends) if (end.sha256 !== null) expect(may, end.path).toContain(end.sha256);
    });
  }

  test.runIf(arch === 'x86_64')('a hand-made program that the agent wrote', async () => {
    const argv = ['/bin/sh', '-c', 'cp /workspace/door /tmp/door; chmod 755 /tmp/door; /tmp/door; echo $?'] as const;
    expect((await ran([...argv], { kind: 'usr' })).out.trim()).toBe('42');
    expect((await ran([...argv], list)).out.trim()).toBe('126');
  });

  test('code mapped from a writable place, as LD_PRELOAD does it', async () => {
    const map = perl(
      `system 'cp /workspace/door /tmp/l'; open my $f, '<', '/tmp/l'; my $a = S('mmap', 0, 4096, 5, 2, fileno($f), 0); print $a > 0 ? 'mapped' : 'refused'`,
    );
    expect((await ran(map, { kind: 'usr' })).out).toBe('mapped');
    expect((await ran(map, list)).out).toBe('refused');
    expect(nr('mmap')).toBeGreaterThan(0);
  });
});

describe('what is listed runs', () => {
  test('with its libraries, by its path, its name and its links', async () => {
    const { out } = await ran(
      ['/bin/sh', '-c', 'echo a | cat; /usr/bin/env cat /workspace/lib; perl -e "print 7"'],
      list,
    );
    expect(out).toBe('a\nx7');
  });

  test('an interpreter runs any script it is given: the list says what may be executed, not what it does', async () => {
    const { out } = await ran(
      ['/bin/sh', '-c', 'printf "print 6*7" > /tmp/s; perl /tmp/s; printf "echo hello" > /tmp/t; sh /tmp/t'],
      list,
    );
    expect(out).toBe('42hello\n');
  });

  test('an empty list lets nothing run, not everything', async () => {
    const cage = await scene.create({ toolbox: await resolveToolbox([]) });
    for (const argv of [['/bin/sh', '-c', 'echo x'], ['/usr/bin/true'], ['sh']] as [string, ...string[]][]) {
      expect((await cage.run(...argv)).exit).toMatchObject({ kind: 'failed' });
    }
    const events = await cage.end();
    expect(events.filter((event) => event.type === 'ended' && event.how.kind !== 'failed')).toEqual([]);
  });

  test('a script brings no shell along unseen', async () => {
    const { mkdtempSync, writeFileSync } = await import('node:fs');
    const dir = mkdtempSync(`${scene.root}/scripts-`);
    writeFileSync(`${dir}/tool`, '#!/usr/bin/perl\n', { mode: 0o755 });
    await expect(resolveToolbox([{ path: `${dir}/tool` }])).rejects.toBeInstanceOf(DocumentError);
  });

  test('a sibling for trusted steps has its own list: the agent programs do not run in it', async () => {
    const cage = await scene.over({ lib: 'x' });
    await cage.bash('cp /usr/bin/seq /workspace/git; chmod 755 /workspace/git; ln -s /usr/bin/seq ~/git');
    await cage.sandbox.quiesce();
    const trusted = await cage.sandbox.sibling(await resolveToolbox([{ path: '/usr/bin/cat' }]));
    for (const argv of [
      ['/workspace/git', '1'],
      ['/usr/bin/seq', '1'],
      ['/bin/sh', '-c', 'true'],
    ] as [string, ...string[]][]) {
      const execution = await trusted.exec({ argv, env: guestEnv });
      expect(await execution.exit).toMatchObject({ kind: 'failed' });
    }
    const cat = await trusted.exec({ argv: ['/usr/bin/cat', '/workspace/lib'], env: guestEnv });
    expect((await cat.stdout.toArray()).join('')).toBe('x');
  });
});
