import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sha256Hex } from '../base/digest.ts';
import { EnforcementError } from '../base/errors.ts';
import { guestDigests } from './guest-digests.ts';

const names = { x64: 'cordon-init-x86_64', arm64: 'cordon-init-arm64' } as const;

let verified: string | undefined;

/**
 * The path of this machine's `cordon-init`, its bytes compared with the digest in the source (once a process).
 * Throws `EnforcementError` when there is none for this architecture, or it is not the one that was built.
 */
export function guestBinary(): string {
  if (verified !== undefined) return verified;
  const arch = process.arch as keyof typeof names;
  if (names[arch] === undefined) {
    throw new EnforcementError('architecture', `no sandbox helper for ${process.arch}`, {
      remedy: 'use a 64-bit x86 or ARM machine',
    });
  }
  const places = ['../guest/bin/', '../src/guest/bin/'].map((place) =>
    fileURLToPath(new URL(place + names[arch], import.meta.url)),
  );
  const path = places.find((place) => existsSync(place));
  const reinstall = { remedy: 'install cordon again' };
  if (path === undefined) throw new EnforcementError('helper', `${names[arch]} is not in this installation`, reinstall);
  const digest = sha256Hex(readFileSync(path));
  if (digest !== guestDigests[arch]) {
    throw new EnforcementError('helper', `${path} is not the program that was released (SHA-256 ${digest})`, reinstall);
  }
  verified = path;
  return path;
}

/** SHA-256 of this machine's `cordon-init`, which the guest may execute as `GIT_SIGN`. */
export function guestProgramDigest(): string {
  return guestDigests[process.arch as keyof typeof names];
}
