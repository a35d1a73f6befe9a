/** The words of which mount plans are made. Each operation is one call of the outer half (src/guest/init.c). */
import { dirname } from 'node:path';
import type { Words } from './control-protocol.ts';

export type Operation = readonly [string, ...Words];

/** Flags of mount(2). */
export const MountFlag = { noSuid: 2, noDev: 4, bind: 4096, recursive: 16_384, private: 1 << 18 } as const;

/** Attributes of mount_setattr(2): other numbers than the flags of mount. */
export const Attribute = { readOnly: 1, noSuid: 2, noDev: 4, noExec: 8 } as const;

/** Where the outer half mounts the box. */
export const BOX = '/tmp';
export const GUEST_HOME = '/home/agent';
export const GUEST_UID = 1000;

/** Makes folders below one of the box's own, and remembers which are there already. */
export class FolderPlan {
  readonly #name: string;
  readonly #made = new Set<string>(['/']);

  constructor(name: string) {
    this.#name = name;
  }

  make(path: string): Operation[] {
    if (this.#made.has(path)) return [];
    this.#made.add(path);
    return [...this.make(dirname(path)), ['mkdir', `${this.#name}${path}`, 0o755]];
  }
}
