/**
 * Builds dist/, what the package runs: few files, since each one costs at a start, and one chunk for each verb, so that a
 * verb loads only what it needs. The policy engine (WebAssembly) and the foreign function interface (native) stay packages.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

/** What is started by its own file name: the command line, and every worker thread. */
const entries = { main: 'src/main.ts', supervisor: 'src/sandbox/supervisor.ts' };

const bundle = await rolldown({
  cwd: root,
  input: entries,
  platform: 'node',
  external: ['@cedar-policy/cedar-wasm', /^@cedar-policy\/cedar-wasm\//, 'koffi'],
  onLog(level, log, log_) {
    if (level === 'warn') throw new Error(`${log.code}: ${log.message}`);
    log_(level, log);
  },
});
await rm(dist, { recursive: true, force: true });
await bundle.write({
  dir: dist,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  minify: false,
});
await bundle.close();

const files = await readdir(dist);
let size = 0;
for (const file of files) size += (await stat(join(dist, file))).size;
process.stderr.write(`dist: ${files.length} files, ${Math.round(size / 1024)} KiB\n`);
