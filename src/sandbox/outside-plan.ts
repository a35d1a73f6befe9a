/** What of the host is bound one by one. The outer half opens it in this order, and the plan of a root names it by its index. */
import type { SandboxSpec, Toolbox, ToolMount } from './sandbox.ts';
import { GIT_SIGN } from './sandbox.ts';

export interface OutsidePlan {
  /** Paths on the host. */
  readonly outside: readonly string[];
  /** Which of them are folders. */
  readonly folders: readonly string[];
  /** Guest path → index in `outside`. */
  readonly bound: Readonly<Record<string, number>>;
  /** Likewise, for programs of Cordon's own: they can be executed, whatever the toolbox is. */
  readonly programs: Readonly<Record<string, number>>;
  /** Folders and files with programs in them, by their index in `outside`. */
  readonly tools: readonly (Omit<ToolMount, 'host'> & { readonly index: number })[];
}

/** Programs outside /usr, then the trusted side's own files, then tools, then our own program, which `ownProgram` finds. */
export function planOutside(
  { toolbox, hostFiles = {}, tools = [], gitSign = false }: SandboxSpec,
  ownProgram: () => string,
): OutsidePlan {
  const outside = outsideFiles(toolbox);
  const add = (path: string) => outside.push(path) - 1;
  const bound = Object.fromEntries(Object.entries(hostFiles).map(([guest, host]) => [guest, add(host)]));
  const mounts = tools.map(({ host, ...tool }) => ({ ...tool, index: add(host) }));
  const programs: Record<string, number> = gitSign ? { [GIT_SIGN]: add(ownProgram()) } : {};
  const folders = tools.filter(({ folder }) => folder).map(({ host }) => host);
  return { outside, folders, bound, programs, tools: mounts };
}

/** Files of a toolbox that `/usr` does not bring, in the order in which they are opened. */
export function outsideFiles(toolbox: Toolbox): string[] {
  if (toolbox.kind === 'usr') return [];
  return [...toolbox.executables, ...toolbox.libraries].filter((file) => file.outsideUsr).map((file) => file.path);
}
