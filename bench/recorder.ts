/**
 * What recording every command costs: the same sandbox with the recorder and without, on the worst case (programs that do
 * nothing, one after the other) and on the tests of a real npm package. Interleaved, medians.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createUnrecorded } from '../src/sandbox/drivers/bubblewrap.ts';
import { sandboxDrivers } from '../src/sandbox/index.ts';
import type { SandboxDriver } from '../src/sandbox/sandbox.ts';
import { type Cage, finish, guestEnv, SandboxScene, smallLimits } from '../test/fakes/sandbox-scene.ts';
import { bar, interleaved, row, timed } from './_table.ts';

const driver = sandboxDrivers.bubblewrap();
const unrecorded: SandboxDriver = { ...driver, create: createUnrecorded };
const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'cordon-bench-'));
const limits = { ...smallLimits, memory: 2 * 2 ** 30, disk: 2 ** 30, inodes: 100_000, pids: 512 };

/** A project with `node --test` over the documents of a real parser: it starts a process for each file of tests. */
function project(dir: string): void {
  chmodSync(dir, 0o755); // the guest is another user
  mkdirSync(join(dir, 'node_modules'), { recursive: true });
  mkdirSync(join(dir, 'test'));
  for (const name of ['yaml', 'zod', 'commander'])
    cpSync(join(root, 'node_modules', name), join(dir, 'node_modules', name), { recursive: true });
  cpSync(join(root, 'node_modules/node/bin/node'), join(dir, 'node'));
  writeFileSync(
    join(dir, 'package.json'),
    JSON.stringify({ name: 'example', type: 'module', scripts: { test: 'node --test' } }),
  );
  for (let i = 0; i < 8; i++) {
    writeFileSync(
      join(dir, `test/round-trip-${i}.test.js`),
      `import test from 'node:test'; import assert from 'node:assert/strict'; import { execFileSync } from 'node:child_process';
import { parse, stringify } from 'yaml'; import { z } from 'zod'; import { Command } from 'commander';
const shape = z.object({ id: z.number(), tags: z.array(z.string()), deep: z.record(z.string(), z.number()) });
for (let n = 0; n < 40; n++) test('document ' + n, () => {
  const value = { id: n, tags: Array.from({ length: 60 }, (_, k) => 'tag ' + k), deep: Object.fromEntries(Array.from({ length: 60 }, (_, k) => ['k' + k, k * n])) };
  assert.deepEqual(shape.parse(parse(stringify(value))), value);
});
test('command line', () => { assert.equal(new Command().option('--x <n>').parse(['--x', '1'], { from: 'user' }).opts().x, '1'); });
test('git', () => { assert.match(execFileSync('git', ['--version']).toString(), /git version/); });
`,
    );
  }
}

async function measured(cage: Cage, argv: [string, ...string[]]): Promise<number> {
  return timed(async () => {
    const { exit, out, err } = await finish(await cage.sandbox.exec({ argv, env: guestEnv }));
    if (exit.kind !== 'exited' || exit.code !== 0)
      throw new Error(`${argv.join(' ')}: ${JSON.stringify(exit)} ${out.slice(-500)} ${err.slice(-500)}`);
  });
}

async function compare(what: string, argv: [string, ...string[]], rounds: number, most: number): Promise<void> {
  const scenes = [new SandboxScene(driver), new SandboxScene(unrecorded)];
  const workspace = { kind: 'checkout' as const, dir: scratch };
  const [on, off] = await Promise.all(scenes.map((scene) => scene.create({ workspace, limits })));
  if (on === undefined || off === undefined) throw new Error('no sandbox');
  const medians = await interleaved({ on: () => measured(on, argv), off: () => measured(off, argv) }, rounds, 1);
  const [events, none] = [await on.end(), await off.end()];
  const started = events.filter((event) => event.type === 'started').length;
  if (none.length > 0 || started === 0) throw new Error('the comparison compares nothing');
  const [recorded, plain] = [medians.get('on') ?? 0, medians.get('off') ?? 0];
  const factor = recorded / plain;
  row(`${what}, not recorded`, `${plain.toFixed(0)} ms`);
  row(
    `${what}, recorded (${Math.round(started / (rounds + 1))} programs)`,
    `${recorded.toFixed(0)} ms`,
    bar(factor <= most, `${factor.toFixed(3)} ×, at most ${most}`),
  );
  for (const scene of scenes) scene.dispose();
}

try {
  project(scratch);
  await compare('1,000 × /bin/true', ['/bin/bash', '-c', 'for i in {1..1000}; do /bin/true; done'], 9, 1.5);
  await compare('tests of an npm project', ['/workspace/node', '--test', '--test-concurrency=2'], 9, 1.05);
} finally {
  rmSync(scratch, { recursive: true });
}
