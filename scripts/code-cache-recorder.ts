/**
 * Loaded into a warm-up of the build before everything else (`--import`): compiles the chunks of dist/ as src/base/code-cache.ts does, and
 * writes at the end what V8 has compiled of each to the folder CORDON_WARM_UP names. What an earlier warm-up left there is
 * taken up, and so is in it again.
 */
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Script } from 'node:vm';
import { isMainThread } from 'node:worker_threads';
import { execute, loader, scriptOf } from '../src/base/code-cache.ts';

const dist = dirname(realpathSync(process.argv[1] ?? '.'));
const folder = process.env.CORDON_WARM_UP;

if (isMainThread && folder !== undefined) {
  const scripts = new Map<string, Script>();
  const compile = loader._compile;
  const recording: typeof compile = function (content, filename, ...more) {
    // What is loaded before the package's own way to load is never loaded by it.
    const early = loader._compile === recording;
    if (early || dirname(filename) !== dist) return compile.call(this, content, filename, ...more);
    const earlier = join(folder, basename(filename));
    const script = scriptOf(content, filename, existsSync(earlier) ? readFileSync(earlier) : undefined);
    scripts.set(earlier, script);
    return execute(script, this, filename);
  };
  loader._compile = recording;
  process.once('exit', () => {
    for (const [file, script] of scripts) writeFileSync(file, script.createCachedData());
  });
}
