/**
 * `git push` of 1, 10 and 50 commits, and of a pack of 100 MB: through the gateway as a run has it (real judge, policy and log) beside
 * the same push to git's own `http-backend` behind a small Node server. Each round pushes to both; what the gateway adds is the
 * median difference of the rounds: at most 60 ms, and 3 ms a commit; 100 MB at most 1.5 times as long.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type DeskScene, deskScene } from '../test/fakes/desk-scene.ts';
import { backend, forgeRepository } from '../test/fakes/forge.ts';
import { branch, type GitFolder, gitEnv } from '../test/fakes/push-scene.ts';
import { bar, median, row, timed } from './_table.ts';

const SIZES = [1, 10, 50] as const;
const ROUNDS = 9;
const BIG_ROUNDS = 3;
const MB = 1_000_000;
const ref = `refs/heads/${branch}`;

function push(guest: GitFolder, remote: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', ['push', '-q', remote, `+work:${ref}`], {
      cwd: guest.dir,
      env: gitEnv,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`git push ${remote} ended with ${code}`))));
  });
}

/** git's own server for one repository, as little around it as there can be. */
async function direct(scene: DeskScene) {
  const root = join(scene.scene.root, 'served');
  forgeRepository(root, 'app.git', scene.scene.user);
  const server = createServer((request, response) => backend(root, request, response, () => {}));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  scene.scene.guest.git(
    'remote',
    'add',
    'direct',
    `http://127.0.0.1:${(server.address() as AddressInfo).port}/app.git`,
  );
  return server;
}

/** Commits on top of the base, made by one process; each changes one file. */
function commits(guest: GitFolder, count: number, content: (i: number) => string | Buffer): void {
  const parts: (string | Buffer)[] = [];
  for (let i = 0; i < count; i++) {
    const bytes = Buffer.from(content(i) as string);
    const from = i === 0 ? `from ${guest.git('rev-parse', 'base')}\n` : '';
    const who = `Agent <agent@acme.example> ${1_772_366_400 + i} +0000`;
    parts.push(`commit refs/heads/work\ncommitter ${who}\ndata 2\nc\n${from}M 100644 inline src/f${i}.js\n`);
    parts.push(`data ${bytes.length}\n`, bytes, '\n');
  }
  const input = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  guest.bytes(['-c', 'core.compression=0', 'fast-import', '--quiet', '--force'], input);
}

const scene = await deskScene();
const { guest } = scene.scene;
const server = await direct(scene);
guest.git('branch', 'base');
// Neither deltas nor compression: what the client does with the bytes is not what is measured.
for (const setting of ['core.bigFileThreshold', 'pack.compression', 'core.compression'] as const)
  guest.git('config', setting, setting === 'core.bigFileThreshold' ? '1m' : '0');
/** Pushes what is checked out to both, in turn first, and tells how long each took. */
async function both(round: number): Promise<{ gateway: number; direct: number }> {
  const times = { gateway: 0, direct: 0 };
  const order = round % 2 === 0 ? (['origin', 'direct'] as const) : (['direct', 'origin'] as const);
  for (const remote of order)
    times[remote === 'origin' ? 'gateway' : 'direct'] = await timed(() => push(guest, remote));
  return times;
}

try {
  for (const count of SIZES) {
    const rounds: { gateway: number; direct: number }[] = [];
    for (let round = -1; round < ROUNDS; round++) {
      commits(guest, count, (i) => `export const value = ${JSON.stringify(`${round}-${i}`)};\n`.repeat(20));
      const times = await both(round);
      if (round >= 0) rounds.push(times);
    }
    const added = median(rounds.map(({ gateway, direct }) => gateway - direct));
    const most = 60 + 3 * count;
    const of = (name: 'gateway' | 'direct') => rounds.map((times) => times[name]);
    const note = `best ${Math.min(...of('gateway')).toFixed(0)}`;
    row(
      `git http-backend, ${count} commits`,
      `${median(of('direct')).toFixed(0)} ms`,
      `best ${Math.min(...of('direct')).toFixed(0)}`,
    );
    row(`the gateway, ${count} commits`, `${median(of('gateway')).toFixed(0)} ms`, note);
    row('  added', `${added.toFixed(0)} ms`, bar(added <= most, `at most ${most} ms`));
  }
  const ratios: { gateway: number; direct: number }[] = [];
  for (let round = 0; round < BIG_ROUNDS; round++) {
    commits(guest, 20, () => randomBytes(5 * MB));
    ratios.push(await both(round));
  }
  const [gateway, plain] = [Math.min(...ratios.map((r) => r.gateway)), Math.min(...ratios.map((r) => r.direct))];
  row('git http-backend, a pack of 100 MB', `${(plain / 1000).toFixed(2)} s`);
  row(
    'the gateway, a pack of 100 MB',
    `${(gateway / 1000).toFixed(2)} s`,
    bar(gateway <= 1.5 * plain, `at most 1.5 × (${(gateway / plain).toFixed(2)})`),
  );
} finally {
  server.closeAllConnections();
  server.close();
  await scene.close();
}
