/**
 * Builds dist/, what the package runs: few files, since each one costs at a start, and one chunk for each verb, so that a
 * verb loads only what it needs. The policy engine (WebAssembly) and the foreign function interface (native) stay packages.
 */
import { execFileSync } from 'node:child_process';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { rolldown } from 'rolldown';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

/**
 * Worker threads are started by file name, so each is an entry of its own beside the chunks. The file that starts one
 * names both: './name.ts' for the source, './name.js' for the package.
 */
async function workers(): Promise<Record<string, string>> {
  const list = execFileSync('grep', ['-rlE', 'new Worker\\(', '--include=*.ts', '--exclude=*.test.ts', 'src'], {
    cwd: root,
  });
  const found: Record<string, string> = {};
  for (const file of list.toString().trim().split('\n')) {
    const text = await readFile(join(root, file), 'utf8');
    for (const [, name = ''] of text.matchAll(/'\.\/([\w-]+)\.js'/g)) found[name] = join(dirname(file), `${name}.ts`);
  }
  return found;
}

/**
 * What many verbs share would be cut into dozens of small files, one for each set of verbs that share it, and finding and
 * reading a file costs a start more than what stands in it.
 */
const GROUPS = [
  { name: 'base', test: /src\/base\/(?!redact)/ },
  { name: 'recorder', test: /src\/sandbox\/(control-protocol|native|process-view|recorder|toolbox-digests)\.ts/ },
  { name: 'sandbox', test: /src\/sandbox\/(?!supervisor\.ts)/ },
  { name: 'audit', test: /src\/audit\/(?!verify|export|proof|record-check|problem|bundle|causality)/ },
].map((group) => ({ ...group, includeDependenciesRecursively: false }));

const input = { main: 'src/main.ts', ...(await workers()) };
const bundle = await rolldown({
  cwd: root,
  input,
  platform: 'node',
  preserveEntrySignatures: 'allow-extension',
  external: ['@cedar-policy/cedar-wasm', /^@cedar-policy\/cedar-wasm\//, 'koffi'],
  onLog(level, log, next) {
    if (level === 'warn') throw new Error(`${log.code}: ${log.message}`);
    next(level, log);
  },
});
await rm(dist, { recursive: true, force: true });
await bundle.write({
  dir: dist,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  codeSplitting: { groups: GROUPS },
});
await bundle.close();

const files = await readdir(dist);
let size = 0;
for (const file of files) size += (await stat(join(dist, file))).size;
process.stderr.write(
  `dist: ${files.length} files, ${Math.round(size / 1024)} KiB; entries ${Object.keys(input).join(', ')}\n`,
);
