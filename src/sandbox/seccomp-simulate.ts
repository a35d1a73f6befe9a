import { Op } from './seccomp-bpf.ts';

/** What the kernel hands a filter: `struct seccomp_data`. Numbers and the architecture as unsigned 32 bits. */
export interface SeccompData {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

export type SimulatedVerdict = 'allow' | 'notify' | 'kill' | { readonly errno: number };

/**
 * Runs a filter in user space the way the kernel does (Linux kernel/bpf/core.c for the opcodes used, linux/seccomp.h for
 * the data): how tests and `doctor` ask what a program says without loading it.
 * Throws `RangeError` for a program the kernel would not load: an unknown opcode, a jump or a read out of bounds.
 */
export function simulateFilter(program: Uint8Array, data: SeccompData): SimulatedVerdict {
  const memory = seccompData(data);
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const length = program.byteLength / 8;
  let a = 0;
  for (let pc = 0; pc < length; pc++) {
    const opcode = code.getUint16(pc * 8, true);
    const k = code.getUint32(pc * 8 + 4, true);
    if (opcode === Op.return) return verdictOf(k);
    if (opcode === Op.load) {
      if (k % 4 !== 0 || k + 4 > memory.byteLength) throw new RangeError(`instruction ${pc} loads from offset ${k}`);
      a = memory.getUint32(k, true);
    } else if (opcode === Op.and) a = (a & k) >>> 0;
    else if (opcode === Op.jump) pc += k;
    else if (opcode === Op.jumpEqual || opcode === Op.jumpGreaterEqual) {
      const taken = opcode === Op.jumpEqual ? a === k : a >= k;
      pc += code.getUint8(pc * 8 + (taken ? 2 : 3));
    } else
      throw new RangeError(`instruction ${pc} has opcode 0x${opcode.toString(16)}, which this filter does not use`);
  }
  throw new RangeError('the program runs off its end');
}

function seccompData(data: SeccompData): DataView {
  const memory = new DataView(new ArrayBuffer(64));
  memory.setUint32(0, data.nr, true);
  memory.setUint32(4, data.arch, true);
  data.args?.forEach((arg, i) => {
    memory.setBigUint64(16 + 8 * i, BigInt.asUintN(64, arg), true);
  });
  return memory;
}

function verdictOf(value: number): SimulatedVerdict {
  const action = (value & 0xffff0000) >>> 0;
  if (action === 0x7fff0000) return 'allow';
  if (action === 0x7fc00000) return 'notify';
  if (action === 0x00050000) return { errno: value & 0xffff };
  if (action === 0x80000000) return 'kill';
  throw new RangeError(`return value 0x${value.toString(16)} is none that this filter uses`);
}
