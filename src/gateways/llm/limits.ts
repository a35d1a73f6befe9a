/** Bounds of one run's model gateway. Milliseconds where nothing else is said. */
export interface ModelLimits {
  /** Requests that are open at once. */
  readonly concurrent: number;
  readonly connectTime: number;
  /** Until an answer begins: some models think for minutes. */
  readonly headTime: number;
  /** Between two pieces of an answer. */
  readonly idleTime: number;
  /** Of one exchange. */
  readonly totalTime: number;
  /** Of one answer. Bytes. */
  readonly maxAnswer: number;
  /** How long a provider that does not answer is waited for. */
  readonly patience: number;
  /** The first pause before another try; it doubles up to `maxPause`. */
  readonly pause: number;
  readonly maxPause: number;
}

export const defaultModelLimits: ModelLimits = {
  concurrent: 64,
  connectTime: 10_000,
  headTime: 600_000,
  idleTime: 300_000,
  totalTime: 1_800_000,
  maxAnswer: 256 * 1024 * 1024,
  patience: 180_000,
  pause: 500,
  maxPause: 15_000,
};
