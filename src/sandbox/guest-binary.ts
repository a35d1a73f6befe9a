import { existsSync, readFileSync, statSync } from 'node:fs';
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

/**
 * The same program for the guest to execute. Where the guest has an id of its own (`owned`), the file's mode must let everybody: a
 * checkout made with a strict umask does not, and every commit inside would fail. Throws `EnforcementError`.
 */
export function guestProgram(owned: boolean): string {
  const path = guestBinary();
  if (owned && (statSync(path).mode & 0o005) !== 0o005) {
    throw new EnforcementError('helper', `${path} can be executed by its owner alone, and signs for the guest`, {
      remedy: `chmod go+rx ${path}`,
    });
  }
  return path;
}

/** SHA-256 of this machine's `cordon-init`, which the guest may execute as `GIT_SIGN`. */
export function guestProgramDigest(): string {
  return guestDigests[process.arch as keyof typeof names];
}
