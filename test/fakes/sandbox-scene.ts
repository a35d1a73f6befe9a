import {
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { defaultLimits, type Limits } from '../../src/policy/limits.ts';
import { guestOwner } from '../../src/sandbox/owner.ts';
import type {
  Execution,
  ExitStatus,
  Sandbox,
  SandboxDriver,
  SandboxEvent,
  SandboxSpec,
} from '../../src/sandbox/sandbox.ts';

/** Small enough that twenty fit on any machine. */
export const smallLimits: Limits = { ...defaultLimits, memory: 256 << 20, disk: 64 << 20, inodes: 20_000, pids: 128 };

export const guestEnv = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/home/agent', LANG: 'C.UTF-8' };

/** What a checkout holds: a string or bytes for a file, `{ to }` for a link, `null` for an empty folder. */
export type Files = Readonly<Record<string, string | Uint8Array | { readonly to: string } | null>>;

export interface Ended {
  readonly exit: ExitStatus;
  readonly out: string;
  readonly err: string;
}

/** Reads both streams to their end and waits for the command's own. */
export async function finish(execution: Execution): Promise<Ended> {
  const [out, err, exit] = await Promise.all([
    bytesOf(execution.stdout),
    bytesOf(execution.stderr),
    execution.exit,
  ] as const);
  return { exit, out: out.toString(), err: err.toString() };
}

export async function bytesOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of stream) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

/** One sandbox of a test, with all it told so far. */
export class Cage {
  readonly sandbox: Sandbox;
  readonly events: SandboxEvent[] = [];
  /** Resolves when the events have ended. */
  readonly told: Promise<void>;

  constructor(sandbox: Sandbox) {
    this.sandbox = sandbox;
    this.told = (async () => {
      for await (const event of sandbox.events) this.events.push(event);
    })();
  }

  async run(...argv: [string, ...string[]]): Promise<Ended> {
    return finish(await this.sandbox.exec({ argv, env: guestEnv }));
  }

  /** A script that must succeed; what it wrote. */
  async bash(script: string): Promise<string> {
    const { exit, out, err } = await this.run('/bin/bash', '-c', script);
    if (exit.kind !== 'exited' || exit.code !== 0) throw new Error(`${script}: ${JSON.stringify(exit)} ${err}`);
    return out;
  }

  /** Ends it and resolves with everything it told. */
  async end(): Promise<readonly SandboxEvent[]> {
    await this.sandbox.destroy();
    await this.told;
    return this.events;
  }
}

/** Sandboxes and folders of this process: their groups have names of their own. */
let made = 0;

/** Makes sandboxes with their folders, and removes both. */
export class SandboxScene {
  readonly root = mkdtempSync(join(tmpdir(), 'cordon-sandbox-'));
  readonly #driver: SandboxDriver;
  readonly #open: Cage[] = [];

  constructor(driver: SandboxDriver) {
    this.#driver = driver;
  }

  /** A folder as a cached checkout is: whoever the guest is inside owns its files. */
  checkout(files: Files): string {
    const dir = join(this.root, `checkout-${++made}`);
    mkdirSync(dir);
    const owner = guestOwner();
    const own = (path: string) => owner !== null && lchownSync(path, owner.uid, owner.gid);
    own(dir);
    for (const [name, content] of Object.entries(files)) {
      const path = join(dir, name);
      const folders = [];
      for (let at = content === null ? path : dirname(path); at.length > dir.length; at = dirname(at)) folders.push(at);
      for (const folder of folders.reverse()) {
        mkdirSync(folder, { recursive: true });
        own(folder);
      }
      if (content === null) continue;
      if (typeof content === 'string' || content instanceof Uint8Array) writeFileSync(path, content);
      else symlinkSync(content.to, path);
      own(path);
    }
    return dir;
  }

  spec(fields: Partial<SandboxSpec> = {}): SandboxSpec {
    const runDir = join(this.root, `run-${++made}`);
    mkdirSync(runDir, { mode: 0o700 });
    return {
      runId: `conform-${process.pid}-${made}`,
      runDir,
      workspace: { kind: 'empty' },
      toolbox: { kind: 'usr' },
      limits: smallLimits,
      ...fields,
    };
  }

  async create(fields: Partial<SandboxSpec> = {}): Promise<Cage> {
    const cage = new Cage(await this.#driver.create(this.spec(fields)));
    this.#open.push(cage);
    return cage;
  }

  /** A sandbox over a checkout of these files. */
  over(files: Files, fields: Partial<SandboxSpec> = {}): Promise<Cage> {
    return this.create({ workspace: { kind: 'checkout', dir: this.checkout(files) }, ...fields });
  }

  async close(): Promise<void> {
    for (const cage of this.#open.splice(0)) await cage.end();
  }

  dispose(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Processes whose command line holds the text, and their ids. */
export function processesWith(text: string): number[] {
  return processIds().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
    } catch {
      return false;
    }
  });
}

/** Ends sleeps of that many seconds in runs, once there are so many: what a script does next, it does at that moment and no sooner. */
export async function wake(seconds: string, count = 1): Promise<void> {
  const asleep = () => processesWith(`sleep\0${seconds}\0`);
  while (asleep().length < count) await new Promise((resolve) => setTimeout(resolve, 20));
  for (const pid of asleep()) process.kill(pid);
}

/** All that descend from a process, itself not counted. */
export function descendants(of: number): number[] {
  const parents = new Map(processIds().map((pid) => [pid, parentOf(pid)]));
  const found = new Set([of]);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  }
  found.delete(of);
  return [...found];
}

/** The sandbox helpers that a process has started and that still are. */
export function helpers(of: number = process.pid): number[] {
  return descendants(of).filter((pid) => processesWith('cordon-init').includes(pid));
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

/** What this process has open, as the kernel names it. */
export function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // the one that read the folder
    }
  });
}
