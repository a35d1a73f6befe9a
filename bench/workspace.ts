/**
 * A workspace of 50,000 files: what the first and every further run on a commit waits for, beside the usual ways to get
 * a second working tree. Bar: ready within 100 ms the second time.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepareCheckout } from '../src/runs/checkout.ts';
import { inspectRepository, uncommittedWork } from '../src/runs/workspace.ts';

interface WorkspaceFigure {
  readonly what: string;
  readonly ms: number;
}

export const FILES = 50_000;
const BYTES = 4_800;
const REPEATS = 7;

function git(dir: string, ...args: string[]): void {
  const identity = ['-c', 'user.name=Bench', '-c', 'user.email=bench@acme.example', '-c', 'gc.auto=0'];
  execFileSync('git', [...identity, ...args], { cwd: dir, stdio: 'ignore' });
}

export function makeRepository(dir: string): void {
  mkdirSync(dir);
  git(dir, 'init', '-b', 'main');
  for (let i = 0; i < FILES; i++) {
    const folder = join(dir, `packages/${i % 50}/src/${Math.floor(i / 50) % 20}`);
    if (i < 1000) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file-${i}.ts`), `// ${i}\n`.padEnd(BYTES, `export const value${i} = ${i};\n`));
  }
  git(dir, 'add', '-A');
  git(dir, 'commit', '-m', 'all of it');
  git(dir, 'repack', '-adq', '--window=0');
}

async function timed(action: () => unknown): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

async function median(action: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < REPEATS; i++) times.push(await timed(action));
  return times.sort((a, b) => a - b)[Math.floor(REPEATS / 2)] as number;
}

async function measureWorkspace(): Promise<readonly WorkspaceFigure[]> {
  const root = mkdtempSync(join(process.env.CORDON_BENCH_DIR ?? tmpdir(), 'cordon-bench-'));
  try {
    const dir = join(root, 'repository');
    makeRepository(dir);
    const home = join(root, 'home');
    mkdirSync(home);
    const prepare = async () => {
      const repository = await inspectRepository(dir);
      const checkout = await prepareCheckout({ home, repository, paths: [], depth: 'full', owner: null });
      checkout.release();
      return { repository, checkout };
    };
    const first = await timed(prepare);
    const again = await median(prepare);
    const { repository, checkout } = await prepare();
    const dirty = await timed(() => uncommittedWork(repository, checkout.view, 60_000));
    const status = await median(() => execFileSync('git', ['status', '--porcelain'], { cwd: checkout.dir }));
    const fresh = async (make: (to: string) => void) => {
      const ms = await timed(() => make(join(root, 'peer')));
      rmSync(join(root, 'peer'), { recursive: true });
      return ms;
    };
    return [
      { what: 'cordon, first time on this commit', ms: first },
      { what: 'cordon, second time (bar: 100 ms)', ms: again },
      { what: 'git status inside a cached checkout', ms: status },
      { what: 'looking for uncommitted work (beside the run)', ms: dirty },
      { what: 'git worktree add', ms: await fresh((to) => git(dir, 'worktree', 'add', '--detach', to)) },
      { what: 'git clone --local', ms: await fresh((to) => git(dir, 'clone', '--local', dir, to)) },
      { what: 'cp -a', ms: await fresh((to) => execFileSync('cp', ['-a', dir, to])) },
    ];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.log(`workspace of ${FILES} files, ${Math.round((FILES * BYTES) / 1e6)} MB`);
  for (const { what, ms } of await measureWorkspace()) console.log(`${ms.toFixed(1).padStart(10)} ms  ${what}`);
}
