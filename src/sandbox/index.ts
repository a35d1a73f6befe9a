import { bubblewrap } from './drivers/bubblewrap.ts';
import type { SandboxDriver } from './sandbox.ts';

/** One line for each driver. */
export const sandboxDrivers = {
  bubblewrap: () => bubblewrap,
} satisfies Record<string, () => SandboxDriver>;
