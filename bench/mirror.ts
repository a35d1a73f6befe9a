/**
 * A remote repository of 50,000 files: what a second clone costs once the mirror has it, beside `git clone` of the same repository on the
 * same disk. Bar: 1.2 × `git clone`, refs asked of the forge over TLS and the working tree written anew included.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openForge, openMirror } from '../src/forge/index.ts';
import { parseRemote } from '../src/policy/remotes.ts';
import { prepareCheckout } from '../src/runs/checkout.ts';
import { inspectRepository } from '../src/runs/workspace.ts';
import { forgeRepository, startForge } from '../test/fakes/forge.ts';
import { GitFolder } from '../test/fakes/push-scene.ts';
import { bar, interleaved, row, timed } from './_table.ts';
import { FILES, makeRepository } from './workspace.ts';

const root = mkdtempSync(join(process.env.CORDON_BENCH_DIR ?? tmpdir(), 'cordon-bench-'));
const user = join(root, 'repository');
makeRepository(user);
forgeRepository(join(root, 'served'), 'app.git', new GitFolder(user));
const server = await startForge(join(root, 'served'));
const local = await inspectRepository(user);
const remote = parseRemote(server.url('app'));
if (!remote.ok) throw new Error(remote.message);
const { value: name } = remote;
const home = join(root, 'home');
for (const folder of ['mirrors', 'checkouts']) mkdirSync(join(home, folder), { recursive: true });
const signal = new AbortController().signal;

/** What a run does until it has a working tree. */
async function clone(): Promise<void> {
  const token = async () => Buffer.from(server.token);
  const options = { repository: name, scheme: 'basic', user: 'robot', token, ca: [server.ca], signal } as const;
  const forge = openForge('git', options);
  const crossing = <T>(update: () => Promise<T>) => update();
  const mirror = await openMirror({ root: join(home, 'mirrors'), forge, maxBytes: 1e10, signal, crossing });
  const dir = mirror.place.gitDir;
  const repository = { ...local, dir, gitDir: dir, commonDir: dir, objectsDir: mirror.objectsDir };
  (await prepareCheckout({ home, repository, paths: [], depth: 'full', owner: null })).release();
  mirror.release();
  forge.close();
}

const remove = () => rmSync(join(root, 'clone'), { recursive: true, force: true });
const peer = (from: string) => async () => {
  const ms = await timed(() => execFileSync('git', ['clone', '-q', from, join(root, 'clone')]));
  remove();
  return ms;
};
/** Removing the last working tree is not what is measured. */
const anew = async () => {
  rmSync(join(home, 'checkouts'), { recursive: true });
  mkdirSync(join(home, 'checkouts'));
  return timed(() => clone());
};

try {
  const first = await timed(() => clone());
  const medians = await interleaved(
    { anew, again: () => timed(() => clone()), local: peer(user), transport: peer(`file://${user}`) },
    3,
    0,
  );
  const ms = (name: string) => medians.get(name) ?? Number.NaN;
  const text = (value: number) => `${value.toFixed(0)} ms`;
  console.log(`a remote repository of ${FILES} files`);
  row('cordon, the first time: fetch, fsck, working tree', text(first));
  const ratio = ms('anew') / ms('local');
  row(
    'cordon, from the mirror, working tree anew',
    text(ms('anew')),
    bar(ratio <= 1.2, `${ratio.toFixed(2)} × git clone, at most 1.2`),
  );
  row('cordon, from the mirror, a commit that ran before', text(ms('again')));
  row('git clone, local (objects are linked)', text(ms('local')));
  row('git clone, file:// (objects are copied)', text(ms('transport')));
} finally {
  await server.close();
  rmSync(root, { recursive: true, force: true });
}
