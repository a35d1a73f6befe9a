/**
 * Builds dist/ (or the folder that is named), what the package runs: few files, since each one costs at a start, and one chunk for
 * each verb, so that a verb loads only what it needs. The policy engine (WebAssembly) and the foreign function interface (native) stay packages.
 */
import { execFileSync } from 'node:child_process';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';
import { keepCode } from './code-cache.ts';

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'dist'));

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
 * reading a file costs a start more than what stands in it. The first group that fits takes a module. Nothing may come into a
 * group that brings more with it than those need who load the group for something else.
 */
const GROUPS = [
  // With what checks a proof: those two of the log's modules need nothing of the rest, and who verifies needs nothing else of it.
  { name: 'base', test: /src\/(base\/(?!redact|file-lock|code-cache)|audit\/(checkpoint|merkle)\.ts)/ },
  {
    name: 'native',
    test: /src\/(sandbox\/(control-protocol|native|process-view|recorder|images)|base\/file-lock)\.ts/,
  },
  { name: 'program', test: /src\/cli\/(program|context)\.ts|node_modules\/commander\// },
  { name: 'sandbox', test: /src\/sandbox\/(?!supervisor|toolbox-digests)/ },
  { name: 'audit', test: /src\/audit\/(?!verify|export|proof|record-check|problem|bundle|causality)/ },
  { name: 'light', test: (id: string) => parts().light.has(id) },
  { name: 'common', test: (id: string) => parts().common.has(id) },
  { name: 'run-path', test: (id: string) => parts().runOnly.has(id) },
  { name: 'shared', test: (id: string) => parts().shared.has(id) },
].map((group) => ({ ...group, includeDependenciesRecursively: false }));

/** What each module loads with it, and what it may load later. */
const loads = new Map<string, { readonly now: readonly string[]; readonly later: readonly string[] }>();
const seeing: Plugin = {
  name: 'loads',
  moduleParsed({ id, importedIds, dynamicallyImportedIds }) {
    loads.set(id, { now: importedIds, later: dynamicallyImportedIds });
  },
};

function loadedWith(roots: readonly string[]): Set<string> {
  const all = new Set<string>();
  const waiting = [...roots];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (all.has(id)) continue;
    all.add(id);
    waiting.push(...(loads.get(id)?.now ?? []));
  }
  return all;
}

const source = (file: string) => join(root, 'src', file);
/** What a plain run loads when git has been asked and the supervisor was started, and what comes before that. */
const RUN = ['compose.ts', 'runs/pipeline.ts'].map(source);
const VERB = ['cli/run.ts', 'config/load.ts', 'config/paths.ts'].map(source);
/** Of Node's own, what every start has loaded anyway. */
const CHEAP = /^node:(buffer|child_process|crypto|events|fs|os|path|timers|url|util)(\/promises)?$/;

/** What has a file of its own that brings more with it. */
const HEAVY = /src\/(audit\/|sandbox\/(?!supervisor-|toolbox-digests)|base\/file-lock)/;

interface Parts {
  /** What `cordon run` needs to know what it is to do. It needs nothing but base and itself. */
  readonly light: ReadonlySet<string>;
  /** Of the rest what needs nothing else either, and other verbs need too. */
  readonly common: ReadonlySet<string>;
  /** What every run needs, and only what runs one. */
  readonly runOnly: ReadonlySet<string>;
  /** The rest of what every run needs, but for the domains that have a file of their own. */
  readonly shared: ReadonlySet<string>;
}

let found: Parts | null = null;

function parts(): Parts {
  found ??= findParts();
  return found;
}

function findParts(): Parts {
  const verb = loadedWith(VERB);
  const run = [...new Set([...verb, ...loadedWith(RUN)])].filter((id) => loads.has(id));
  const entries = new Set([...loads.values()].flatMap(({ later }) => later).filter((id) => !RUN.includes(id)));
  const others = [...entries, source('main.ts')].filter((id) => !loadedWith([id]).has(source('runs/pipeline.ts')));
  const theirs = loadedWith(others);
  const isOwn = (id: string) => id.startsWith(source(''));
  const isCheap = (id: string) =>
    [...loadedWith([id])].every((part) => (isOwn(part) && !HEAVY.test(part)) || CHEAP.test(part));
  return {
    light: new Set(run.filter((id) => verb.has(id) && isCheap(id))),
    common: new Set(run.filter((id) => !verb.has(id) && theirs.has(id) && isCheap(id))),
    runOnly: new Set(run.filter((id) => !verb.has(id) && !theirs.has(id))),
    shared: new Set(
      run.filter((id) => !verb.has(id) && theirs.has(id) && /src\/(runs|config|store|secrets|gateways)\//.test(id)),
    ),
  };
}

const input = { main: 'src/main.ts', ...(await workers()) };
const bundle = await rolldown({
  cwd: root,
  input,
  platform: 'node',
  preserveEntrySignatures: 'allow-extension',
  plugins: [seeing],
  external: ['@cedar-policy/cedar-wasm', /^@cedar-policy\/cedar-wasm\//, 'koffi'],
  onLog(level, log, next) {
    if (level === 'warn') throw new Error(`${log.code}: ${log.message}`);
    next(level, log);
  },
});
await rm(dist, { recursive: true, force: true });
const { output } = await bundle.write({
  dir: dist,
  format: 'cjs', // of ES modules V8's code cache cannot be given (src/base/code-cache.ts)
  strict: true,
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  codeSplitting: { groups: GROUPS },
  comments: { legal: true, annotation: false, jsdoc: false }, // what is read at each start
});
await bundle.close();
await writeFile(join(dist, 'package.json'), '{"type":"commonjs"}\n');

/** Starts that people wait for, each with what it must not load: by where it was cut, a chunk may bring along what its source does not name. */
const LEAN = [{ module: 'cli/verify-commits.ts', without: /\/(zod|koffi)\/|\/src\/sandbox\// }];

for (const { module, without } of LEAN) {
  const chunks = output.filter((one) => one.type === 'chunk');
  const loaded = chunks.filter(({ moduleIds }) => moduleIds.includes(source(module)));
  if (loaded.length === 0) throw new Error(`${module} is in no chunk`);
  for (const chunk of loaded) {
    const burden = chunk.moduleIds.find((id) => without.test(id));
    if (burden !== undefined) throw new Error(`${module} loads ${chunk.fileName}, and with it ${burden}`);
    loaded.push(...chunks.filter((one) => chunk.imports.includes(one.fileName) && !loaded.includes(one)));
  }
}

/** A chunk that is needed by one that it needs would find it empty when it is loaded: CommonJS. */
const imports = new Map(output.map((one) => [one.fileName, one.type === 'chunk' ? one.imports : []]));
function refuseCycle(path: readonly string[]): void {
  for (const next of imports.get(path.at(-1) ?? '') ?? []) {
    if (path.includes(next)) throw new Error(`chunks need each other: ${[...path, next].join(' → ')}`);
    refuseCycle([...path, next]);
  }
}
for (const name of imports.keys()) refuseCycle([name]);

const { chunks: kept, bytes, failed } = keepCode(dist);
const files = await readdir(dist);
let size = 0;
for (const file of files) size += (await stat(join(dist, file))).size;
const kib = (bytes: number) => `${Math.round(bytes / 1024)} KiB`;
process.stderr.write(
  `dist: ${files.length} files, ${kib(size)}; entries ${Object.keys(input).join(', ')}; code cache of ${kept} chunks, ${kib(bytes)}\n`,
);
if (failed !== null)
  process.stderr.write(
    `dist: the code cache is not whole, and starts are slower, since a warm-up failed here: ${failed}\n`,
  );
