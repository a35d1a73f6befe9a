import { gitForge } from './drivers/git.ts';
import type { Forge } from './forge.ts';

export * from './forge.ts';
export { type Mirror, type MirrorUpdate, mirrorId, openMirror } from './mirror.ts';
export { openKeptMirror } from './mirror-kept.ts';

/** One line for each driver. */
const drivers = {
  git: gitForge,
} satisfies Record<string, (options: never) => Forge>;

export type ForgeDriverName = keyof typeof drivers;

export function openForge<Name extends ForgeDriverName>(
  driver: Name,
  options: Parameters<(typeof drivers)[Name]>[0],
): Forge {
  return drivers[driver](options);
}
