/**
 * Builds src/guest/bin/cordon-init-* from src/guest/init.c, and writes their digests to src/sandbox/guest-binary.ts.
 * Needed only after a change of init.c; needs gcc 12 and gcc-aarch64-linux-gnu of Debian 12, with which the bytes are
 * the same on every machine (src/guest/build.test.ts compares where a compiler is there).
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { sha256Hex } from '../src/base/digest.ts';

export const compilers = { x64: ['x86_64', 'gcc'], arm64: ['arm64', 'aarch64-linux-gnu-gcc'] } as const;

const flags =
  '-std=c11 -Os -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -fno-builtin -Wl,--build-id=none,-z,noexecstack,-z,norelro,-s'.split(
    ' ',
  );

export function build(arch: keyof typeof compilers, output: string): void {
  execFileSync(compilers[arch][1], [...flags, '-o', output, 'src/guest/init.c'], { stdio: 'inherit' });
}

if (import.meta.main) {
  const digests = Object.entries(compilers).map(([arch, [name]]) => {
    const output = `src/guest/bin/cordon-init-${name}`;
    build(arch as keyof typeof compilers, output);
    return `  ${arch}: '${sha256Hex(readFileSync(output))}',`;
  });
  const file = 'src/sandbox/guest-digests.ts';
  writeFileSync(
    file,
    `/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */\nexport const guestDigests = {\n${digests.join('\n')}\n} as const;\n`,
  );
  console.log(readFileSync(file, 'utf8'));
}
