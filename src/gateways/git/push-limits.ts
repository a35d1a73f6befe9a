export interface PushLimits {
  /** New objects, of all types. */
  readonly objects: number;
  readonly commits: number;
  /** Bytes of all new objects, inflated. */
  readonly bytes: number;
  /** Bytes of one file; the policy's own limit is lower. */
  readonly fileBytes: number;
  /** Bytes of one commit object, its message included. */
  readonly commitBytes: number;
  /** Paths that differ, over all commits together. */
  readonly changedPaths: number;
  readonly treeBytes: number;
  readonly depth: number;
  readonly pathBytes: number;
  /** Milliseconds for any one step. */
  readonly time: number;
}

const MiB = 1024 * 1024;

export const defaultPushLimits: PushLimits = {
  objects: 200_000,
  commits: 5_000,
  bytes: 2048 * MiB,
  fileBytes: 256 * MiB,
  commitBytes: 1 * MiB,
  changedPaths: 100_000,
  treeBytes: 16 * MiB,
  depth: 256,
  pathBytes: 4096,
  time: 120_000,
};
