import type { SecretUse } from './use.ts';

/** A run may have one secret used for it in one way, until the run ends or somebody revokes it. */
export interface Grant {
  /** Names it in records. */
  readonly id: string;
  readonly run: string;
  readonly name: string;
  readonly use: SecretUse;
  readonly source: string;
  /** What the guest is given in place of the value. */
  readonly placeholder: string;
  /** Milliseconds since the epoch. */
  readonly granted: number;
  /** Aborted when it is revoked or its run ends: whatever carries the value then is to be closed. */
  readonly signal: AbortSignal;
}
