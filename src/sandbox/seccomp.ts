import { digest } from '../base/digest.ts';
import { assembleRule, branch, encode, type Instruction, Offset, Op, op, returns } from './seccomp-bpf.ts';
import { absent, allowed, byArgument, refused, unknown, type Verdict } from './seccomp-rules.ts';
import { arm64 } from './syscalls/arm64.ts';
import { x86_64 } from './syscalls/x86-64.ts';

/**
 * The system call filter: one classic BPF program, loaded by the sandbox's first process and inherited by all others.
 *
 * Layout of the program:
 *
 *     load arch       not the native one (32-bit entry: int 0x80, sysenter, AArch32)      → kill the process
 *     load nr         -1 (what a tracer leaves of a skipped call)                         → ENOSYS
 *                     ≥ 0x40000000 (x32: other numbers for the same calls)                → kill the process
 *     binary search over runs of neighbouring numbers with one verdict                    → verdict, or
 *         a block that loads the low half of arguments and compares (seccomp-rules.ts)    → verdict
 *     what no list names                                                                  → ENOSYS
 *
 * Since Linux 5.11 the kernel evaluates a program once per number and keeps a bitmap of those that are allowed whatever
 * their arguments: for these (nearly all calls a program makes) the filter costs nothing, and the search is for the rest.
 */
export type SeccompArch = 'x86_64' | 'arm64';

export interface FilterOptions {
  readonly arch: SeccompArch;
  /**
   * Calls that wait for the recorder's word (SECCOMP_RET_USER_NOTIF) where they would be allowed.
   * Default: execve, execveat, exit_group.
   */
  readonly notify?: readonly string[];
  /** Allowed calls to refuse with EPERM all the same: `sched_setaffinity` where affinity is what limits the processors. */
  readonly refuse?: readonly string[];
}

export const notifiedByDefault: readonly string[] = ['execve', 'execveat', 'exit_group'];

export const syscallNumbers: Readonly<Record<SeccompArch, Readonly<Record<string, number>>>> = { x86_64, arm64 };

/** AUDIT_ARCH_* (linux/audit.h). */
export const auditArch: Readonly<Record<SeccompArch, number>> = { x86_64: 0xc000003e, arm64: 0xc00000b7 };

/** The architecture by Node's name for it, or null when there is no filter for it. */
export function seccompArch(nodeArch: string = process.arch): SeccompArch | null {
  if (nodeArch === 'x64') return 'x86_64';
  return nodeArch === 'arm64' ? 'arm64' : null;
}

const allowedNames: ReadonlySet<string> = new Set(allowed);
const refusedNames: ReadonlySet<string> = new Set(refused);
const X32_BIT = 0x40000000;
const SKIPPED = 0xffffffff;

interface Leaf {
  readonly name: string;
  readonly number: number;
  /** Same key, same code. */
  readonly key: string;
  readonly code: readonly Instruction[];
  readonly verdict: string;
}

/**
 * The program as an array of `struct sock_filter` (8 bytes each, little endian). Pure: same options, same bytes.
 * Throws `RangeError` for a name in `notify` or `refuse` that this architecture has but that is not allowed anyway:
 * waiting for a call that never comes is a mistake in the caller.
 */
export function buildFilter(options: FilterOptions): Uint8Array {
  const fallback = returns(unknown);
  const runs: { start: number; key: string; code: readonly Instruction[] }[] = [];
  const add = (start: number, key: string, code: readonly Instruction[]) => {
    if (runs.at(-1)?.key !== key) runs.push({ start, key, code });
  };
  let next = 0;
  for (const leaf of leaves(options)) {
    if (leaf.number > next) add(next, 'unknown', [fallback]);
    add(leaf.number, leaf.key, leaf.code);
    next = leaf.number + 1;
  }
  add(next, 'unknown', [fallback]);
  const search = (from: number, to: number): Instruction[] => {
    if (to - from === 1) return [...(runs[from]?.code ?? [fallback])];
    const middle = (from + to) >> 1;
    return branch(runs[middle]?.start ?? 0, search(from, middle), search(middle, to));
  };
  const program = [
    op(Op.load, Offset.arch),
    op(Op.jumpEqual, auditArch[options.arch], 1, 0),
    returns('kill'),
    op(Op.load, Offset.nr),
    op(Op.jumpEqual, SKIPPED, 0, 1),
    fallback,
    op(Op.jumpGreaterEqual, X32_BIT, 0, 1),
    returns('kill'),
    ...search(0, runs.length),
  ];
  if (program.length > 4096)
    throw new RangeError(`${program.length} instructions: the kernel takes 4096 (BPF_MAXINSNS)`);
  return encode(program);
}

/** `sha256:…` of the program: what the run's record and `doctor` name. */
export function filterDigest(options: FilterOptions): string {
  return digest(buildFilter(options));
}

export interface FilterRow {
  readonly syscall: string;
  readonly number: number;
  /** `allow`, `notify`, `EPERM`, `ENOSYS`, or what arguments are allowed. */
  readonly verdict: string;
}

/** Every system call with a name and its verdict, by number: for documentation and `doctor`. */
export function describeFilter(options: FilterOptions): FilterRow[] {
  return leaves(options).map(({ name, number, verdict }) => ({ syscall: name, number, verdict }));
}

function leaves(options: FilterOptions): Leaf[] {
  const { arch, notify = notifiedByDefault, refuse = [] } = options;
  const table = syscallNumbers[arch];
  for (const name of [...notify, ...refuse]) {
    const known = Object.hasOwn(x86_64, name) || Object.hasOwn(arm64, name);
    if (!known || !(allowedNames.has(name) || Object.hasOwn(byArgument, name)))
      throw new RangeError(`"${name}" is not a system call that the filter allows`);
  }
  return Object.entries(table)
    .map(([name, number]) => leaf(name, number, notify.includes(name), refuse.includes(name)))
    .sort((a, b) => a.number - b.number);
}

function leaf(name: string, number: number, notify: boolean, refuse: boolean): Leaf {
  const as = (verdict: Verdict): Verdict => (verdict === 'allow' && notify ? 'notify' : verdict);
  const rule = byArgument[name];
  if (rule !== undefined && !refuse) {
    const verdict = `${notify ? 'notify' : 'allow'}: ${rule.note}`;
    return { name, number, key: name, code: assembleRule(rule, as), verdict };
  }
  const verdict = refuse || refusedNames.has(name) ? { errno: 1 } : allowedNames.has(name) ? as('allow') : unknown;
  const text = typeof verdict === 'string' ? verdict : verdict.errno === 1 ? 'EPERM' : 'ENOSYS';
  const key = text === 'ENOSYS' ? 'unknown' : text;
  return { name, number, key, code: [returns(verdict)], verdict: text };
}

/** The names that are answered ENOSYS on purpose rather than for being unknown. */
export const absentByDesign: readonly string[] = absent;
