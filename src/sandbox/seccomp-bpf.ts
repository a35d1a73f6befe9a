import type { ArgRule, ArgTest, Verdict } from './seccomp-rules.ts';

/** One `struct sock_filter` of classic BPF (linux/filter.h): code u16, jump-if-true u8, jump-if-false u8, operand u32. */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** The opcodes this filter uses. All of them are ones that the kernel's seccomp accepts (kernel/seccomp.c). */
export const Op = {
  /** A = 32 bits of struct seccomp_data at offset k. */
  load: 0x20,
  and: 0x54,
  jump: 0x05,
  jumpEqual: 0x15,
  jumpGreaterEqual: 0x35,
  return: 0x06,
} as const;

/** Offsets in `struct seccomp_data` { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }, little endian. */
export const Offset = {
  nr: 0,
  arch: 4,
  argLow: (arg: number): number => 16 + 8 * arg,
} as const;

/** Return values (linux/seccomp.h). */
const Return = { kill: 0x80000000, errno: 0x00050000, notify: 0x7fc00000, allow: 0x7fff0000 } as const;

export function op(code: number, k: number, jt = 0, jf = 0): Instruction {
  if (jt > 255 || jf > 255) throw new RangeError(`a conditional jump of ${Math.max(jt, jf)} does not fit in 8 bits`);
  return { code, jt, jf, k: k >>> 0 };
}

export function returns(verdict: Verdict): Instruction {
  if (typeof verdict === 'object') return op(Op.return, Return.errno | verdict.errno);
  return op(Op.return, Return[verdict]);
}

/** `A >= k ? right : left`, where left follows at once; a far right is reached by an unconditional jump (32 bits). */
export function branch(k: number, left: readonly Instruction[], right: readonly Instruction[]): Instruction[] {
  if (left.length <= 255) return [op(Op.jumpGreaterEqual, k, left.length, 0), ...left, ...right];
  return [op(Op.jumpGreaterEqual, k, 0, 1), op(Op.jump, left.length), ...left, ...right];
}

/** Falls into `body` when the test holds, else jumps behind it. */
function guard(test: ArgTest, body: readonly Instruction[]): Instruction[] {
  const block = [op(Op.load, Offset.argLow(test.arg))];
  if (test.mask !== undefined) block.push(op(Op.and, test.mask));
  const last = test.values.length - 1;
  test.values.forEach((value, i) => {
    block.push(op(Op.jumpEqual, value, last - i, i === last ? body.length : 0));
  });
  return [...block, ...body];
}

/** Every path of the result ends in a return. */
export function assembleRule(rule: ArgRule, as: (verdict: Verdict) => Verdict): Instruction[] {
  const clauses = rule.clauses.flatMap(({ when, verdict }) =>
    when.reduceRight<Instruction[]>((body, test) => guard(test, body), [returns(as(verdict))]),
  );
  return [...clauses, returns(as(rule.otherwise))];
}

/** The array of `struct sock_filter` that seccomp(2) and `bwrap --seccomp` take; 8 bytes each, little endian. */
export function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  program.forEach(({ code, jt, jf, k }, i) => {
    view.setUint16(i * 8, code, true);
    view.setUint8(i * 8 + 2, jt);
    view.setUint8(i * 8 + 3, jf);
    view.setUint32(i * 8 + 4, k, true);
  });
  return bytes;
}
