/** What a hostile agent brings along: perl (on every Debian) for raw system calls, and hand-made programs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Execution } from '../../src/sandbox/sandbox.ts';
import { auditArch, seccompArch, syscallNumbers } from '../../src/sandbox/seccomp.ts';
import { type Cage, guestEnv } from '../fakes/sandbox-scene.ts';

export const arch = seccompArch() ?? 'x86_64';
const numbers = syscallNumbers[arch];

/** The number of a system call here. */
export function nr(name: string): number {
  const number = numbers[name];
  if (number === undefined) throw new RangeError(`no system call ${name} on ${arch}`);
  return number;
}

/** `S('name', …)` in perl code becomes the raw call; `say` writes at once. */
export function perl(code: string): [string, string, string] {
  const raw = code.replace(/\bS\('(\w+)'/g, (_, name: string) => `syscall(${nr(name)}`);
  return ['/usr/bin/perl', '-e', `$| = 1; sub say { print @_, "\\n" } ${raw}`];
}

/** Something that has run up to a line `ready`, and stands there until {@link Standing.go}. */
export interface Standing {
  /** As the host counts. */
  readonly pid: number;
  go(): Promise<void>;
}

const STAND = 'say "ready"; <STDIN>;';

/** Perl code that is to stand still at its end, to be looked at from outside. `token` finds the process. */
export function standing(code: string, token: string): [string, string, string] {
  return perl(`$0 = "${token}"; ${code}; ${STAND}`);
}

/** Outside of any sandbox: how an attack shows that it would work. */
export async function onHost(
  argv: readonly [string, ...string[]],
  options: { user?: boolean } = {},
): Promise<ChildProcess> {
  const [program, ...args] = argv;
  const ids = options.user && process.geteuid?.() === 0 ? { uid: 1_900_000_000, gid: 1_900_000_000 } : {};
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], cwd: '/', ...ids });
  await firstLine(child.stdout as AsyncIterable<Buffer>);
  return child;
}

export async function inCage(cage: Cage, argv: readonly [string, ...string[]]): Promise<Execution> {
  const execution = await cage.sandbox.exec({ argv, env: guestEnv, stdin: 'pipe' });
  execution.stderr.resume();
  await firstLine(execution.stdout);
  return execution;
}

/** What was written until `ready` stands at the end of it, or until its end. */
async function firstLine(stream: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  return new Promise((resolve) => {
    const readable = stream as unknown as NodeJS.ReadableStream;
    readable.on('data', (chunk: Buffer) => {
      parts.push(chunk);
      const text = Buffer.concat(parts).toString('latin1');
      if (text.includes('ready\n')) resolve(text);
    });
    readable.on('end', () => resolve(Buffer.concat(parts).toString('latin1')));
    readable.on('error', () => resolve(Buffer.concat(parts).toString('latin1')));
  });
}

/** A static program for this machine of exactly these instructions. */
function program(code: readonly number[]): Buffer {
  const head = Buffer.alloc(120);
  const base = 0x400000n;
  head.write('\x7fELF\x02\x01\x01', 'latin1');
  head.writeUInt16LE(2, 16); // ET_EXEC
  head.writeUInt16LE(auditArch[arch] & 0xffff, 18);
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(base + 120n, 24);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(1, 56);
  head.writeUInt32LE(1, 64); // PT_LOAD
  head.writeUInt32LE(5, 68); // read, execute
  head.writeBigUInt64LE(base, 80);
  head.writeBigUInt64LE(base, 88);
  const size = BigInt(120 + code.length);
  head.writeBigUInt64LE(size, 96);
  head.writeBigUInt64LE(size, 104);
  head.writeBigUInt64LE(4096n, 112);
  return Buffer.concat([head, Buffer.from(code)]);
}

/** exit_group(42) in x86-64 by three doors: the ordinary one, `int 0x80` (32-bit numbers), and x32 numbers. */
export const doors = {
  ordinary: program([0xbf, 42, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05]),
  int80: program([0xbb, 42, 0, 0, 0, 0xb8, 252, 0, 0, 0, 0xcd, 0x80]),
  x32: program([
    0xbf, 42, 0, 0, 0, 0xb8, 231, 0, 0, 0x40, 0x0f, 0x05, 0xbf, 43, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05,
  ]),
};

/** A folder that the guest has nothing to do with, with a secret in it. */
export class Canary {
  readonly dir = mkdtempSync(join(tmpdir(), 'cordon-canary-'));
  readonly secret = `canary-${process.pid}-${performance.now()}`;
  readonly file = join(this.dir, 'secret');

  constructor() {
    chmodSync(this.dir, 0o777); // permissions are not what keeps the guest out
    writeFileSync(this.file, this.secret);
    chmodSync(this.file, 0o666);
  }

  dispose(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
