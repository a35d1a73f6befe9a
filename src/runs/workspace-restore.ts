/** Puts a lost run's workspace back: what was kept of it goes through tar, in a view of the new sandbox where nothing else runs. */
import type { Duplex } from 'node:stream';
import type { ContentStore } from '../audit/content.ts';
import type { ContentRef } from '../audit/event.ts';
import { OutsideError } from '../base/errors.ts';
import { TAR_END, tarEntry } from '../base/tar.ts';
import { guestEnvironment } from '../sandbox/guest-etc.ts';
import type { ExecSpec, Sandbox } from '../sandbox/sandbox.ts';
import { resolveToolbox } from '../sandbox/toolbox.ts';
import type { RunScope } from './scope.ts';
import { type PackHead, unpacked } from './workspace-pack.ts';

export interface Restored {
  /** Names that were put back. */
  readonly files: number;
  /** Those that held what may be a secret, and were not kept. */
  readonly withheld: readonly string[];
}

const TOOLS = ['/usr/bin/tar', '/usr/bin/xargs', '/usr/bin/rm'] as const;
const [TAR, XARGS, RM] = TOOLS;

/** Of `run`, in the order in which they were kept. Nothing of the agent's may have run yet. Throws `OutsideError` when it does not work out. */
export async function restoreWorkspace(
  scope: RunScope,
  sandbox: Sandbox,
  run: string,
  packs: readonly ContentRef[],
): Promise<Restored> {
  const { content } = scope.system;
  const state = await folded(content, run, packs);
  const withheld = [...state.values()].filter(({ head }) => head.k === 'w').map(({ head }) => head.p);
  const away = awayOf([...state.values()].map(({ head }) => head));
  const files = [...state.values()].filter(({ head }) => 'fld'.includes(head.k)).length;
  if (files + away.length === 0) return { files, withheld };
  const toolbox = await resolveToolbox(TOOLS.map((path) => ({ path })));
  scope.record?.allow(toolbox);
  await sandbox.quiesce();
  const trusted = await sandbox.sibling(toolbox);
  const env = guestEnvironment(scope.run.id);
  if (away.length > 0) {
    const list = away.map((path) => Buffer.from(`./${path}\0`, 'latin1'));
    await pour(trusted, { argv: [XARGS, '-0', RM, '-rf', '--'], env }, list);
  }
  const argv = [TAR, '-x', '-p', '--no-same-owner', '--delay-directory-restore', '-f', '-'] as const;
  await pour(trusted, { argv, env }, archive(content, run, packs, state));
  await trusted.destroy();
  return { files, withheld };
}

/**
 * What is to be removed of the checkout before the rest comes. Not below a name that is no folder in the end: what stood there goes
 * with that name, and where the checkout has a link of that name the removal would go through it, and take what lies elsewhere.
 */
export function awayOf(heads: readonly PackHead[]): string[] {
  const ends = new Set(heads.filter(({ k }) => k !== 'd').map(({ p }) => p));
  const below = (path: string) => {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1))
      if (ends.has(path.slice(0, at))) return true;
    return false;
  };
  return heads.filter(({ p, k, r }) => (k === 'x' || r) && !below(p)).map(({ p }) => p);
}

/** What each name was in the end, and which pack says so. */
async function folded(content: ContentStore, run: string, packs: readonly ContentRef[]) {
  const state = new Map<string, { readonly head: PackHead; readonly pack: number }>();
  for (const [pack, ref] of packs.entries()) {
    for await (const { head } of unpacked(content.read(run, ref))) {
      state.delete(head.p); // the order is that of what counts
      state.set(head.p, { head, pack });
    }
  }
  return state;
}

async function* archive(
  content: ContentStore,
  run: string,
  packs: readonly ContentRef[],
  state: Awaited<ReturnType<typeof folded>>,
): AsyncGenerator<Buffer> {
  for (const [pack, ref] of packs.entries()) {
    for await (const { head, bytes } of unpacked(content.read(run, ref))) {
      const kind = head.k === 'f' ? 'file' : head.k === 'l' ? 'symlink' : head.k === 'd' ? 'directory' : null;
      if (kind === null || state.get(head.p)?.pack !== pack) continue;
      const path = Buffer.from(`./${head.p}${kind === 'directory' ? '/' : ''}`, 'latin1');
      yield tarEntry({ path, kind, mode: head.m, mtime: head.t / 1000, content: bytes });
    }
  }
  yield TAR_END;
}

async function pour(sandbox: Sandbox, spec: ExecSpec, pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
  const execution = await sandbox.exec({ ...spec, stdin: 'pipe' });
  const said: Buffer[] = [];
  const reading = Promise.all(
    [execution.stdout, execution.stderr].map(async (stream) => {
      for await (const chunk of stream) if (said.length < 16) said.push(chunk as Buffer);
    }),
  ).catch(() => {});
  if (execution.stdin !== null) await write(execution.stdin, pieces);
  const exit = await execution.exit;
  await reading;
  if (exit.kind === 'exited' && exit.code === 0) return;
  const words = Buffer.concat(said).toString('utf8').trim().split('\n').slice(-4).join('\n  ');
  throw new OutsideError(
    `the workspace of the lost run could not be put back: ${spec.argv[0]} ended with ${JSON.stringify(exit)}\n  ${words}`,
    {
      remedy: 'nothing was delivered; it can be tried again, or the task given to a new run',
    },
  );
}

async function write(stdin: Duplex, pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
  let broken = false;
  stdin.on('error', () => {
    broken = true; // it ended without reading all: its exit code tells
  });
  for await (const piece of pieces) {
    if (broken || stdin.destroyed) return;
    if (!stdin.write(piece)) {
      await new Promise<void>((resolve) => {
        stdin.once('drain', resolve);
        stdin.once('close', resolve);
      });
    }
  }
  stdin.end();
}
