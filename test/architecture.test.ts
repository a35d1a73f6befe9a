/**
 * The direction of imports, and the other rules of the house that a program can check. The table below is the
 * documentation: a folder may import from the layers after its own, from its own folder, and from nothing else.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

const layers: readonly (readonly string[])[] = [
  ['main'], //                           argv → command
  ['cli'], //                            one file a verb
  ['client', 'compose'], //              the typed client · configuration → wired system
  ['api', 'workflows'],
  ['runs'], //                           the data path: prepare ▶ sandbox ▶ agent ▶ deliver ▶ seal
  ['approvals', 'agents', 'sandbox', 'gateways', 'forge', 'secrets', 'store', 'identity', 'config'],
  ['attest'], //                         proofs, made of signatures and of the log
  ['audit'],
  ['policy'], //                         pure
  ['base'],
];

/** Stricter than their layer: what proves, what judges and what runs among enemies stands on nothing but base. */
const onlyBase = ['audit', 'policy', 'guest'];

/** Packages that only one domain may know. What is not named here may be used anywhere. */
const packageOwners: Readonly<Record<string, readonly string[]>> = {
  '@cedar-policy/cedar-wasm': ['policy'],
  koffi: ['sandbox', 'secrets', 'base'],
  kysely: ['store'],
  commander: ['cli'],
  '@agentclientprotocol/sdk': ['agents'],
};

/** Node's own modules that policy, which is pure, may not touch. */
const impure = ['fs', 'net', 'http', 'https', 'child_process', 'dns', 'worker_threads', 'sqlite', 'os', 'process'];

const root = join(import.meta.dirname, '..');
const committed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\0')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const sources = committed.filter((file) => /^src\/.*\.ts$/.test(file) && !/\.(test|fixture)\.ts$/.test(file));

interface Import {
  readonly from: string;
  /** A file of this project, relative to its root, or a package's name. */
  readonly to: string;
  readonly local: boolean;
  /** Erased before the program runs. */
  readonly typeOnly: boolean;
}

const imports: readonly Import[] = sources.flatMap((from) => importsOf(from));

function importsOf(from: string): Import[] {
  const text = readFileSync(join(root, from), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
  const statement = /\b(?:(import|export)\s+(type\s+)?[^;'"]*?from\s*|import\s*\(?\s*)'([^'\n]+)'/g;
  return [...text.matchAll(statement)].map(([, , type, specifier = '']) => {
    const local = specifier.startsWith('.');
    const to = local ? relative(root, normalize(join(root, dirname(from), specifier))) : specifier;
    return { from, to, local, typeOnly: type !== undefined };
  });
}

/** `src/audit/merkle.ts` → `audit`; `src/main.ts` → `main`. */
function domain(file: string): string {
  return file.split('/')[1]?.replace(/\.ts$/, '') ?? file;
}

function layer(name: string): number {
  return layers.findIndex((names) => names.includes(name));
}

describe('direction of imports', () => {
  test('there is something to check', () => {
    expect(sources.length).toBeGreaterThan(20);
    expect(imports.some((i) => i.from === 'src/base/durable-file.ts' && i.to === 'node:fs/promises')).toBe(true);
    expect(imports.some((i) => i.local)).toBe(true);
  });

  test('every folder of src has its place in the table', () => {
    const unknown = [...new Set(sources.map(domain))].filter((name) => layer(name) === -1 && name !== 'guest');
    expect(unknown).toEqual([]);
  });

  test('a folder imports only from itself and from the layers below it', () => {
    const wrong = imports.filter(({ from, to, local }) => {
      if (!local || domain(from) === domain(to)) return false;
      if (domain(from) === 'guest' || domain(to) === 'guest') return domain(to) !== 'base';
      return layer(domain(to)) <= layer(domain(from));
    });
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('audit, policy and guest stand on base alone', () => {
    const wrong = imports.filter(
      ({ from, to, local }) => local && onlyBase.includes(domain(from)) && ![domain(from), 'base'].includes(domain(to)),
    );
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('attest stands on audit and base, and only what proves or records knows audit', () => {
    const wrong = imports.filter(({ from, to, local }) => {
      if (!local || domain(from) === domain(to)) return false;
      if (domain(from) === 'attest') return !['audit', 'base'].includes(domain(to));
      return domain(to) === 'audit' && layer(domain(from)) > layer('runs');
    });
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('a driver knows its own domain, policy’s types and base, and no other driver', () => {
    const wrong = imports.filter(({ from, to, local }) => {
      const [, own, folder, name] = from.split('/');
      if (!local || folder !== 'drivers') return false;
      if (![own, 'policy', 'base'].includes(domain(to))) return true;
      const [, , otherFolder, other] = to.split('/');
      return otherFolder === 'drivers' && driverOf(other) !== driverOf(name) && !isShared(to);
    });
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('a driver is named only in its domain’s table', () => {
    const wrong = imports.filter(({ from, to, local }) => {
      if (!local || !/\/drivers\//.test(to) || from.includes('/drivers/')) return false;
      return !(domain(from) === domain(to) && from.endsWith('/index.ts'));
    });
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('a package is known only where it belongs', () => {
    const wrong = imports.filter(({ from, to, local }) => {
      const owners =
        packageOwners[
          to
            .split('/')
            .slice(0, to.startsWith('@') ? 2 : 1)
            .join('/')
        ];
      return !local && owners !== undefined && !owners.includes(domain(from));
    });
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('policy is pure: no file, no network, no process', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        domain(from) === 'policy' && impure.some((name) => to === `node:${name}` || to.startsWith(`node:${name}/`)),
    );
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('no file loads itself through others', () => {
    const graph = new Map(
      sources.map((file) => [file, imports.filter((i) => i.from === file && i.local && !i.typeOnly).map((i) => i.to)]),
    );
    expect(findCycle(graph)).toEqual([]);
  });
});

describe('house rules', () => {
  test('files stay readable: at most 400 lines', () => {
    const generated = /\/(syscalls|__snapshots__)\//;
    const long = sources
      .filter((file) => !generated.test(file))
      .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length - 1 }))
      .filter(({ lines }) => lines > 400);
    expect(long).toEqual([]);
  });

  test('nothing is left to be done in a comment', () => {
    const marks = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
    const found = committed.filter(
      (file) => /\.(ts|c|sh|md|json)$/.test(file) && marks.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(found.filter((file) => file !== 'package-lock.json')).toEqual([]);
  });

  test('no file names a package registry', () => {
    const hosts = ['registry.npmjs' + '.org', 'registry.yarnpkg' + '.com', 'npm.pkg.github' + '.com'];
    const found = committed.filter((file) => {
      const text = readFileSync(join(root, file), 'latin1');
      return hosts.some((host) => text.includes(host));
    });
    expect(found).toEqual([]);
    expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toContain('"resolved"');
  });

  test('domains do not look at the clock or throw dice by themselves', () => {
    // The recorder stamps what it sees in a thread of its own, where a clock cannot be handed over.
    const outside = /^src\/(base|cli|main|compose|sandbox)/;
    const clock = /\b(Date\.now|Math\.random)\s*\(|new Date\(\)/;
    // A file's own time stamp is for the file system's use.
    const found = sources.filter(
      (file) => !outside.test(file) && clock.test(readFileSync(join(root, file), 'utf8').replace(/\butimes\(.*/g, '')),
    );
    expect(found).toEqual([]);
  });
});

/** `bubblewrap.ts` and `bubblewrap-mounts.ts` are one driver. */
function driverOf(name: string | undefined): string | undefined {
  return name?.replace(/\.ts$/, '').split('-')[0];
}

/** Beside the drivers of a folder there may be what they share. */
function isShared(file: string): boolean {
  return /\/drivers\/(rows|shared)\.ts$/.test(file);
}

function findCycle(graph: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): readonly string[] => {
    if (done.has(file)) return [];
    const start = path.indexOf(file);
    if (start !== -1) return [...path.slice(start), file];
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next);
      if (cycle.length > 0) return cycle;
    }
    path.pop();
    done.add(file);
    return [];
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle.length > 0) return cycle;
  }
  return [];
}
