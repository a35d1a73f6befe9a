/**
 * Loads the chunks of dist/ in the form that V8 has compiled them into, functions that are called included: the build keeps it
 * beside each chunk after it has run them. Node's own compile cache keeps what is compiled at loading, which leaves most
 * functions to be compiled at each start. docs/decisions/0013-code-cache.md
 *
 * A kept file is `<chunk>.<Node's version>-<architecture>`: SHA-256 of the chunk's text, SHA-256 of the rest, the rest: V8's code
 * cache. V8 compares the text's length only, and trusts the rest. What does not fit is not used, and the chunk loaded as ever.
 */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Module } from 'node:module';
import { dirname } from 'node:path';
import { constants, Script } from 'node:vm';

const DIGEST = 32;

interface Loaded {
  readonly exports: object;
  require(id: string): unknown;
}

type Compile = (this: Loaded, content: string, filename: string, ...more: readonly unknown[]) => unknown;

/** Where Node compiles a CommonJS module. It has no name that is documented; `pirates`, and with it most loaders, hold on to it. */
export const loader = Module.prototype as unknown as { _compile: Compile };

/** Has the chunks of a folder loaded from what was kept of them. */
export function useCodeCache(folder: string): void {
  const compile = loader._compile;
  let refused = false; // by another V8, or one with other flags: it refuses all
  loader._compile = function (content, filename, ...more) {
    const kept = refused || dirname(filename) !== folder ? null : readKept(filename, content);
    const script = kept && scriptOf(content, filename, kept);
    refused ||= script?.cachedDataRejected === true;
    return script && !refused ? execute(script, this, filename) : compile.call(this, content, filename, ...more);
  };
}

export const keptFile = (chunk: string): string => `${chunk}.${process.version}-${process.arch}`;

const digest = (data: string | Buffer) => hash('sha256', data, 'buffer');

/** What was kept of a chunk with exactly this text, whole; else null. */
export function readKept(chunk: string, content: string): Buffer | null {
  try {
    const file = readFileSync(keptFile(chunk));
    const data = file.subarray(2 * DIGEST);
    const fits =
      file.subarray(0, DIGEST).equals(digest(content)) && file.subarray(DIGEST, 2 * DIGEST).equals(digest(data));
    return fits ? data : null;
  } catch {
    return null;
  }
}

export const encodeKept = (content: string, data: Buffer): Buffer =>
  Buffer.concat([digest(content), digest(data), data]);

/** A module's text as the function that Node makes of it. The lines stay where they are. */
export const scriptOf = (content: string, filename: string, cachedData?: Buffer): Script =>
  new Script(`(function (exports, require, module, __filename, __dirname) {${content}\n})`, {
    filename,
    ...(cachedData === undefined ? {} : { cachedData }),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });

export function execute(script: Script, module: Loaded, filename: string): unknown {
  const require = (id: string) => module.require(id);
  return script.runInThisContext().call(module.exports, module.exports, require, module, filename, dirname(filename));
}
