/**
 * `cordon run -- true`, end to end on a small repository: workspace, sandbox, record, durable log, delivery; from the
 * checkout and as built, beside the `srt` command, which makes a sandbox and nothing else. Interleaved, medians.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Installation, Project } from '../test/fakes/project.ts';
import { installBuilt } from './_built.ts';
import { bar, interleaved, median, row, timed } from './_table.ts';

const ROUNDS = 15;
const LIMIT = 250;
const RUN = ['run', '--quiet', '--'];
const root = join(import.meta.dirname, '..');
const site = new Installation();
const env = {
  ...site.env,
  PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
  XDG_CACHE_HOME: join(site.root, 'cache'),
};
const project = new Project(join(site.root, 'repository'));
for (let i = 0; i < 40; i++) project.write(`src/file-${i}.ts`, `export const value = ${i};\n`);
project.commit();

/** What a run passes through, each phase by the mark of _phases.cjs that ends it. */
const PHASES = {
  node: 'Node’s own start',
  asked: 'command line read, git asked, supervisor started',
  loaded: 'the rest loaded',
  decided: 'log and store opened, policy decided, run recorded',
  ran: 'sandbox made, command run, sandbox gone',
  closed: 'run sealed, log published, everything closed',
} as const;

type Marks = Record<keyof typeof PHASES, readonly [number, number]>;

async function phasesOf(program: string): Promise<Marks> {
  const file = join(site.root, 'phases.json');
  const hook = join(import.meta.dirname, '_phases.cjs');
  const watched = { ...env, NODE_OPTIONS: `--require ${hook}`, CORDON_BENCH_PHASES: file };
  await command(program, [...RUN, 'true'], watched);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** Where the milliseconds of a run go; medians of several. */
async function showPhases(program: string): Promise<void> {
  const runs: Marks[] = [];
  for (let round = 0; round < ROUNDS; round++) runs.push(await phasesOf(program));
  let before: keyof Marks | null = null;
  for (const name of Object.keys(PHASES) as (keyof Marks)[]) {
    const from = before;
    const took = (at: 0 | 1) => median(runs.map((run) => run[name][at] - (from === null ? 0 : run[from][at])));
    row(`  ${PHASES[name]}`, `${took(0).toFixed(0)} ms`, `${took(1).toFixed(0)} ms of them the main thread worked`);
    before = name;
  }
}

async function command(program: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  const child = spawn(program, args, { env, cwd: project.dir, stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk) => {
    complaint += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${complaint}`);
}

try {
  const built = installBuilt(join(site.root, 'package'));
  const srt = join(root, 'node_modules/.bin/srt');
  const withPeer = existsSync(srt) && spawnSync(srt, ['true'], { env, cwd: project.dir }).status === 0;
  const medians = await interleaved(
    {
      checkout: () => timed(() => command(join(root, 'cordon'), [...RUN, 'true'], env)),
      built: () => timed(() => command(built, [...RUN, 'true'], env)),
      change: () => timed(() => command(built, [...RUN, 'sh', '-c', 'echo two > new.txt'], env)),
      node: () => timed(() => command(process.execPath, ['-e', '0'], env)),
      ...(withPeer ? { srt: () => timed(() => command(srt, ['true'], env)) } : {}),
    },
    ROUNDS,
  );
  const ms = (name: string) => medians.get(name) ?? Number.NaN;
  row('node -e 0', `${ms('node').toFixed(0)} ms`);
  if (withPeer) row('srt true', `${ms('srt').toFixed(0)} ms`, 'no workspace, limits, record, log or delivery');
  else row('srt true', 'not run', 'it does not start on this machine');
  row(
    'cordon run -- true, as built',
    `${ms('built').toFixed(0)} ms`,
    bar(ms('built') <= LIMIT && !(ms('built') >= ms('srt')), `at most ${LIMIT} ms, and ahead of srt`),
  );
  row('cordon run -- true, from the checkout', `${ms('checkout').toFixed(0)} ms`, 'types stripped at each start');
  row('cordon run with a change that is committed and delivered', `${ms('change').toFixed(0)} ms`);
  console.log('  where its time goes, once more and with a look at it:');
  await showPhases(built);
} finally {
  site.dispose();
  rmSync(site.root, { recursive: true, force: true });
}
