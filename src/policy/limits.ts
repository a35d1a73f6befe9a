/** Limits on one run, in base units. Every one has a value: what the document leaves out comes from here. */
export interface Limits {
  /** Bytes of memory of all processes together. */
  readonly memory: number;
  /** Processors; fractions allowed. */
  readonly cpus: number;
  /** Processes and threads together. */
  readonly pids: number;
  /** Bytes that may be written to `/workspace`, `/tmp` and `$HOME` together. */
  readonly disk: number;
  /** Files and folders that may be made there. */
  readonly inodes: number;
  /** Open files of one process. */
  readonly openFiles: number;
  /** Milliseconds from the start of the agent to its end. */
  readonly wallClock: number;
  /** Bytes of the agent's output that are kept. */
  readonly output: number;
}

const MiB = 1024 * 1024;

export const defaultLimits: Limits = {
  memory: 2048 * MiB,
  cpus: 2,
  pids: 512,
  disk: 4096 * MiB,
  inodes: 1_000_000,
  openFiles: 4096,
  wallClock: 30 * 60_000,
  output: 16 * MiB,
};
