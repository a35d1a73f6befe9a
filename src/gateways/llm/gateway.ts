import type { Clock } from '../../base/clock.ts';
import type { Redactor } from '../../base/redact/index.ts';
import type { EffectivePolicy } from '../../policy/index.ts';
import type { Budgets } from './budget.ts';
import type { Catalog } from './catalog.ts';
import type { Decide, ModelLog, ModelRecorder } from './ledger.ts';
import type { ModelLimits } from './limits.ts';
import type { ModelReplay } from './replay.ts';
import type { Translate } from './translate/translation.ts';
import type { Transport } from './upstream.ts';

/** What the parts of one run's gateway share. */
export interface Gateway {
  readonly policy: EffectivePolicy;
  readonly catalog: Catalog;
  readonly budgets: Budgets;
  readonly decide: Decide;
  readonly log: ModelLog;
  readonly recorder: ModelRecorder | null;
  /** Null but in a replay. */
  readonly replay: ModelReplay | null;
  /** Knows what was lent to the run, and the shapes of credentials. */
  readonly redactor: Redactor;
  readonly transport: Transport;
  readonly translate: Translate;
  readonly limits: ModelLimits;
  readonly clock: Clock;
  newRequestId(): string;
  /** For a person who waits: what is being waited for. */
  onNotice(message: string): void;
}
