import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { RunResult } from '../../src/runs/request.ts';
import { limitHost } from '../../src/sandbox/limits.ts';
import { gitEnv } from './push-scene.ts';

const cordonProgram = join(import.meta.dirname, '../../cordon');

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What `--json` ended with. */
  readonly result: RunResult;
}

// biome-ignore lint/suspicious/noExplicitAny: events of all types
export type AnyEvent = any;

/** A data folder of its own, and what is typed with it. */
export class Installation {
  readonly root = mkdtempSync(join(tmpdir(), 'cordon-run-'));
  readonly home: string;
  readonly env: Record<string, string>;
  readonly #uid: number | null;

  constructor(uid: number | null = null) {
    this.home = join(this.root, 'home');
    this.#uid = uid;
    this.env = {
      PATH: process.env.PATH ?? '',
      HOME: this.root,
      CORDON_HOME: this.home,
      TMPDIR: this.root,
    };
    if (uid !== null) execFileSync('chown', [`${uid}:${uid}`, this.root]);
  }

  #options() {
    return { env: this.env, cwd: this.root, ...(this.#uid === null ? {} : { uid: this.#uid, gid: this.#uid }) };
  }

  cordon(...args: string[]): Finished {
    const { status, stdout, stderr } = spawnSync(cordonProgram, args, {
      ...this.#options(),
      encoding: 'utf8',
      maxBuffer: 256 << 20,
    });
    return { status, stdout, stderr, result: resultOf(stdout) };
  }

  /** `cordon run --json` of a shell script in that repository. */
  run(project: Project, script: string, ...options: string[]): Finished {
    return this.cordon('run', '--json', '-w', project.dir, ...options, '--', 'sh', '-c', script);
  }

  start(project: Project, script: string, ...options: string[]): Running {
    return this.type('run', '--json', '-w', project.dir, ...options, '--', 'sh', '-c', script);
  }

  /** In a process group of its own, as a shell starts what is typed: `interrupt` is Ctrl-C. */
  startAtTerminal(project: Project, script: string): Running & { interrupt(): void } {
    const args = ['run', '--json', '-w', project.dir, '--', 'sh', '-c', script];
    const child = spawn(cordonProgram, args, { ...this.#options(), stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    return Object.assign(new Running(child), { interrupt: () => void process.kill(-(child.pid as number), 'SIGINT') });
  }

  /** The same, while a server of this process answers. */
  type(...args: string[]): Running {
    return new Running(spawn(cordonProgram, args, { ...this.#options(), stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** `cordon secrets set`, the value coming as people pipe it in. Returns what it said. */
  keep(name: string, value: string, ...options: string[]): string {
    const typed = ['secrets', 'set', name, ...options];
    const { status, stdout, stderr } = spawnSync(cordonProgram, typed, { ...this.#options(), input: value });
    if (status !== 0) throw new Error(stderr.toString());
    return stdout.toString();
  }

  /** What the log says of a run, in its order; with `types`, of these alone. */
  events(run: string, ...types: string[]): AnyEvent[] {
    const { status, stdout, stderr } = this.cordon('audit', 'show', '--run', run, '--json');
    if (status !== 0) throw new Error(stderr);
    const all: AnyEvent[] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    return types.length === 0 ? all : all.filter(({ type }) => types.includes(type));
  }

  /** What is wrong with the log; empty when it holds. */
  verify(): readonly unknown[] {
    const { status, stdout, stderr } = this.cordon('audit', 'verify', '--json');
    try {
      const report = JSON.parse(stdout) as { ok: boolean; problems: readonly unknown[] };
      return report.ok && status === 0 ? [] : [report];
    } catch {
      return [{ status, stdout, stderr }];
    }
  }

  /** Everything a run could leave behind that is not its record. */
  leftovers(): string[] {
    const runs = join(this.home, 'runs');
    const folders = readdirSync(runs).flatMap((run) => readdirSync(join(runs, run)).map((name) => `${run}/${name}`));
    const known = new Set(readdirSync(runs));
    const groups = (limitHost().cgroups?.names() ?? []).filter((name) => known.has(name.split('.')[0] ?? ''));
    return [...folders.filter((name) => !name.endsWith('/artifacts')), ...groups];
  }

  dispose(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

function resultOf(stdout: string): RunResult {
  try {
    return JSON.parse(stdout);
  } catch {
    return {} as RunResult;
  }
}

export class Running {
  readonly child: ChildProcess;
  #stdout = '';
  #stderr = '';
  readonly done: Promise<Finished>;

  constructor(child: ChildProcess) {
    this.child = child;
    // A character may come in two pieces.
    child.stdout?.setEncoding('utf8');
    child.stderr?.setEncoding('utf8');
    child.stdout?.on('data', (chunk) => {
      this.#stdout += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      this.#stderr += chunk;
    });
    this.done = new Promise((resolve) => {
      child.on('close', (status) =>
        resolve({ status, stdout: this.#stdout, stderr: this.#stderr, result: resultOf(this.#stdout) }),
      );
    });
  }

  /** Resolves when the agent has written that; rejects when the run ends before. */
  async says(text: string): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      const look = () => this.#stderr.includes(text) && resolve();
      this.child.stderr?.on('data', look);
      look();
    });
    const early = this.done.then(({ status, stderr }) => {
      throw new Error(`ended with ${status} before it said ${text}: ${stderr}`);
    });
    await Promise.race([seen, early]);
    early.catch(() => {});
  }
}

/** A user's repository, and everything about it that a run must not touch. */
export class Project {
  readonly dir: string;

  constructor(dir: string, initArgs: readonly string[] = []) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true });
    this.git('init', '-q', '-b', 'main', ...initArgs);
  }

  git(...args: string[]): string {
    return execFileSync('git', ['-c', 'safe.directory=*', '-C', this.dir, ...args], {
      env: gitEnv,
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'pipe'],
    }).trimEnd();
  }

  write(path: string | Buffer, content: string, mode?: number): this {
    const file = Buffer.concat([Buffer.from(`${this.dir}/`), Buffer.from(path as string)]);
    mkdirSync(dirname(file.toString('latin1')), { recursive: true });
    writeFileSync(file, content);
    if (mode !== undefined) chmodSync(file, mode);
    return this;
  }

  commit(message = 'x'): this {
    this.git('add', '-A');
    this.git('commit', '-q', '--allow-empty', '-m', message);
    return this;
  }

  /** Every file with its mode, time and content. */
  snapshot(): Map<string, string> {
    const seen = new Map<string, string>();
    const visit = (folder: Buffer) => {
      for (const name of readdirSync(folder, { encoding: 'buffer' })) {
        const path = Buffer.concat([folder, Buffer.from('/'), name]);
        const stat = lstatSync(path);
        const key = path.subarray(this.dir.length + 1).toString('latin1');
        if (stat.isDirectory()) {
          seen.set(`${key}/`, `${stat.mode}`);
          visit(path);
          continue;
        }
        const content = stat.isSymbolicLink() ? readlinkSync(path, { encoding: 'buffer' }) : readFileSync(path);
        const digest = createHash('sha256').update(content).digest('hex');
        seen.set(key, `${stat.mode} ${stat.uid} ${stat.mtimeMs} ${digest}`);
      }
    };
    visit(Buffer.from(this.dir));
    return seen;
  }
}

/** What differs between two snapshots: `+ added`, `- gone`, `~ changed`. */
export function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const found = [];
  for (const [path, state] of before)
    if (after.get(path) !== state) found.push(`${after.has(path) ? '~' : '-'} ${path}`);
  for (const path of after.keys()) if (!before.has(path)) found.push(`+ ${path}`);
  return found.sort();
}
