/**
 * What a fresh sandbox with everything on costs in a long-lived process, beside bare `bwrap` with the same namespaces
 * and beside the closest peer's library, which has no limits, no recorder and no log. Then 200 at once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { sandboxDrivers } from '../src/sandbox/index.ts';
import { type Cage, descendants, SandboxScene, smallLimits } from '../test/fakes/sandbox-scene.ts';
import { bar, interleaved, row, timed } from './_table.ts';

const ROUNDS = 41;
const CROWD = 200;
const scene = new SandboxScene(sandboxDrivers.bubblewrap());
const dir = scene.checkout(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`src/file-${i}.ts`, `${i}\n`])));
const fresh = (fields = {}) => scene.create({ workspace: { kind: 'checkout', dir }, ...fields });

async function spawned(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
}

const bwrap = [
  '--unshare-user',
  '--unshare-pid',
  '--unshare-net',
  '--unshare-ipc',
  '--unshare-uts',
  '--unshare-cgroup',
  '--uid',
  '1000',
  '--gid',
  '1000',
  '--die-with-parent',
  '--new-session',
  '--cap-drop',
  'ALL',
  '--clearenv',
  '--ro-bind',
  '/usr',
  '/usr',
  '--symlink',
  'usr/lib',
  '/lib',
  '--symlink',
  'usr/lib64',
  '/lib64',
  '--symlink',
  'usr/bin',
  '/bin',
  '--proc',
  '/proc',
  '--dev',
  '/dev',
  '--tmpfs',
  '/tmp',
  '--bind',
  dir,
  '/workspace',
  '--chdir',
  '/workspace',
  '/usr/bin/true',
];

/** The peer as its documentation uses it; null with the reason where it does not run. */
async function peer(): Promise<{ run: () => Promise<void>; end: () => Promise<void> } | string> {
  try {
    const { SandboxManager } = await import('@anthropic-ai/sandbox-runtime');
    await SandboxManager.initialize({
      network: { allowedDomains: [], deniedDomains: [] },
      filesystem: { denyRead: [], allowWrite: [dir, '/tmp'], denyWrite: [] },
    });
    const run = async () => spawned('/bin/sh', ['-c', await SandboxManager.wrapWithSandbox('true')]);
    await run();
    return { run, end: () => SandboxManager.reset() };
  } catch (error) {
    return (error as Error).message.split('\n')[0] ?? 'it does not start';
  }
}

async function one(): Promise<void> {
  const cage = await fresh();
  await cage.run('/usr/bin/true');
  await cage.end();
}

async function single(): Promise<void> {
  const other = await peer();
  const standing = await fresh();
  const medians = await interleaved(
    {
      cordon: () => timed(one),
      up: async () => {
        let cage: Cage | undefined;
        const ms = await timed(async () => {
          cage = await fresh();
          await cage.run('/usr/bin/true');
        });
        await cage?.end();
        return ms;
      },
      bwrap: () => timed(() => spawned('/usr/bin/bwrap', bwrap)),
      spawn: () => timed(() => spawned('/usr/bin/true', [])),
      further: () => timed(() => standing.run('/usr/bin/true')),
      ...(typeof other === 'string' ? {} : { peer: () => timed(other.run) }),
    },
    ROUNDS,
  );
  await standing.end();
  const ms = (name: string) => medians.get(name) ?? Number.NaN;
  const factor = ms('cordon') / ms('bwrap');
  row('spawn of true, no sandbox', `${ms('spawn').toFixed(1)} ms`);
  row('bare bwrap, the same namespaces', `${ms('bwrap').toFixed(1)} ms`);
  row(
    'cordon: fresh sandbox, true, all gone again',
    `${ms('cordon').toFixed(1)} ms`,
    bar(factor <= 4, `${factor.toFixed(2)} × bwrap, at most 4`),
  );
  row('cordon: of that, until true has ended', `${ms('up').toFixed(1)} ms`);
  if (typeof other === 'string') row('sandbox-runtime, library', 'not run', other);
  else {
    row(
      'sandbox-runtime, library: true',
      `${ms('peer').toFixed(1)} ms`,
      bar(ms('cordon') < ms('peer'), 'cordon is ahead'),
    );
    await other.end();
  }
  row(
    'cordon: a further command in the same sandbox',
    `${ms('further').toFixed(2)} ms`,
    bar(ms('further') <= 5, 'at most 5 ms'),
  );
}

/** Proportional set size in KiB of the sandbox's own processes: helper, bubblewrap, process 1. */
function ownMemory(): number[] {
  const own = descendants(process.pid).filter((pid) => readdirSync(`/proc/${pid}`).includes('smaps_rollup'));
  return own.map((pid) => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0));
}

async function crowd(): Promise<void> {
  const before = process.memoryUsage().rss;
  const start = performance.now();
  const cages = await Promise.all(
    Array.from({ length: CROWD }, () => fresh({ limits: { ...smallLimits, memory: 32 << 20, disk: 16 << 20 } })),
  );
  const up = performance.now() - start;
  const ended = await Promise.all(cages.map((cage) => cage.run('/usr/bin/true')));
  const ran = performance.now() - start;
  const memory = ownMemory().reduce((sum, kib) => sum + kib, 0) / CROWD / 1024;
  const ours = (process.memoryUsage().rss - before) / CROWD / (1 << 20);
  await Promise.all(cages.map((cage) => cage.end()));
  const gone = performance.now() - start;
  const good = ended.filter(({ exit }) => exit.kind === 'exited' && exit.code === 0).length;
  row(`${CROWD} at once: all up`, `${(up / 1000).toFixed(2)} s`, bar(up <= 5000, 'at most 5 s'));
  row(
    `${CROWD} at once: each has run true`,
    `${(ran / 1000).toFixed(2)} s`,
    bar(good === CROWD, `${good} of ${CROWD}`),
  );
  row(`${CROWD} at once: all gone`, `${(gone / 1000).toFixed(2)} s`);
  row(
    'memory of an idle sandbox (PSS of its own processes)',
    `${memory.toFixed(2)} MiB`,
    bar(memory <= 3, 'at most 3 MiB'),
  );
  row('and of the process that holds it', `${ours.toFixed(2)} MiB`);
}

try {
  await single();
  await crowd();
} finally {
  await scene.close();
  scene.dispose();
}
