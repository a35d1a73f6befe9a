/** Bounds of one run's model gateway. Milliseconds where nothing else is said. */
export interface ModelLimits {
  /** Requests that are open at once. */
  readonly concurrent: number;
  /** Connections that are open at once. */
  readonly connections: number;
  /** For a request's head. */
  readonly requestHeadTime: number;
  /** That all requests under way may hold together. Bytes. */
  readonly bodies: number;
  /** So many are refused at once; each further one waits for `brake`. */
  readonly refusals: number;
  readonly brake: number;
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
  connections: 2048,
  requestHeadTime: 20_000,
  bodies: 256 * 1024 * 1024,
  refusals: 1000,
  brake: 1000,
  connectTime: 10_000,
  headTime: 600_000,
  idleTime: 300_000,
  totalTime: 1_800_000,
  maxAnswer: 256 * 1024 * 1024,
  patience: 180_000,
  pause: 500,
  maxPause: 15_000,
};
