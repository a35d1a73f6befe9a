import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { build, compilers } from '../../scripts/build-guest.ts';
import { sha256Hex } from '../base/digest.ts';
import { guestDigests } from '../sandbox/guest-digests.ts';

const architectures = Object.keys(compilers) as (keyof typeof compilers)[];

/** The compiler whose bytes are compared: others make other code of the same source. */
const COMPILER = /\b12\.2\./;

function whyNot(compiler: string): string | null {
  const { error, stdout } = spawnSync(compiler, ['-dumpfullversion'], { encoding: 'utf8' });
  if (error !== undefined) return `${compiler} is not installed`;
  return COMPILER.test(stdout) ? null : `${compiler} is version ${stdout.trim()}, not 12.2`;
}

describe.each(architectures)('cordon-init for %s', (arch) => {
  const [name, compiler] = compilers[arch];
  const released = readFileSync(join(import.meta.dirname, `bin/cordon-init-${name}`));

  test('is the program whose digest the source names', () => {
    expect(sha256Hex(released)).toBe(guestDigests[arch]);
  });

  test('is a static program of a few kilobytes that asks for no library and no executable stack', () => {
    expect(released.subarray(0, 4).toString('latin1')).toBe('\x7fELF');
    expect(released.length).toBeLessThan(32_768);
    const PHDR = {
      size: released.readUInt16LE(54),
      count: released.readUInt16LE(56),
      at: Number(released.readBigUInt64LE(32)),
    };
    const segments = Array.from({ length: PHDR.count }, (_, i) => ({
      type: released.readUInt32LE(PHDR.at + i * PHDR.size),
      flags: released.readUInt32LE(PHDR.at + i * PHDR.size + 4),
    }));
    expect(segments.map(({ type }) => type)).not.toContain(3); // PT_INTERP
    expect(segments.map(({ type }) => type)).not.toContain(2); // PT_DYNAMIC
    const writableAndExecutable = segments.filter(({ flags }) => (flags & 3) === 3);
    expect(writableAndExecutable).toEqual([]);
  });

  const reason = whyNot(compiler);
  test.skipIf(reason !== null)(
    `is what the source builds${reason === null ? '' : ` (not compared: ${reason})`}`,
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'cordon-guest-'));
      try {
        build(arch, join(folder, 'init'));
        expect(sha256Hex(readFileSync(join(folder, 'init')))).toBe(sha256Hex(released));
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
});

test('without a role it does nothing', () => {
  const program = join(import.meta.dirname, `bin/cordon-init-${compilers[process.arch as 'x64'][0]}`);
  expect(spawnSync(program, []).status).toBe(2);
  expect(spawnSync(program, ['other']).status).toBe(2);
});
