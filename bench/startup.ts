/**
 * How long `cordon --version` takes beside a bare Node, from the checkout and (when it is built) as the package:
 * at most 1.5 times. Interleaved, so that the machine's mood is the same for all; medians.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const ROUNDS = 41;
const LIMIT = 1.5;
const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'cordon-bench-'));
const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}`, XDG_CACHE_HOME: scratch };

const contestants: Record<string, readonly string[]> = {
  'node -e 0': [process.execPath, '-e', '0'],
  'cordon --version, checkout': [join(root, 'cordon'), '--version'],
  'cordon --help, checkout': [join(root, 'cordon'), '--help'],
};
if (existsSync(join(root, 'dist/main.js'))) {
  for (const part of ['cordon', 'package.json', 'dist'])
    cpSync(join(root, part), join(scratch, part), { recursive: true });
  contestants['cordon --version, package'] = [join(scratch, 'cordon'), '--version'];
  contestants['cordon --help, package'] = [join(scratch, 'cordon'), '--help'];
}

const times = new Map(Object.keys(contestants).map((name) => [name, [] as number[]]));
for (let round = -3; round < ROUNDS; round++) {
  for (const [name, [program = '', ...args]] of Object.entries(contestants)) {
    const start = performance.now();
    const { status } = spawnSync(program, args, { env, stdio: 'ignore' });
    if (status !== 0) throw new Error(`${name} ended with ${status}`);
    if (round >= 0) times.get(name)?.push(performance.now() - start);
  }
}
rmSync(scratch, { recursive: true });

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] as number;
const bare = median(times.get('node -e 0') ?? []);
for (const [name, values] of times) {
  const ms = median(values);
  const verdict = name.includes('--version') ? (ms <= LIMIT * bare ? `≤ ${LIMIT} ×` : `OVER ${LIMIT} ×`) : '';
  console.log(`  ${name.padEnd(28)} ${ms.toFixed(1).padStart(6)} ms  ${(ms / bare).toFixed(2)} ×  ${verdict}`);
  if (verdict.startsWith('OVER')) process.exitCode = 1;
}
