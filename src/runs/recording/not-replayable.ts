import { ConflictError, type CordonErrorOptions } from '../../base/errors.ts';
import type { DivergenceClass } from './compare.ts';

/** A run that cannot even be started again: what it needs is not there. Nothing is fetched in its place. */
export class NotReplayableError extends ConflictError {
  readonly class: DivergenceClass;
  constructor(run: string, kind: DivergenceClass, why: string, options?: CordonErrorOptions) {
    super(`run ${run} cannot be replayed (${kind}): ${why}`, options);
    this.class = kind;
  }
}
