/** What one run may take of the gateway. Times in milliseconds, sizes in bytes. */
export interface EgressLimits {
  /** Connections of the guest that are open at once. */
  readonly connections: number;
  /** From the first byte of a head, or of a TLS handshake, to its end: dripping does not prolong it. */
  readonly headTime: number;
  readonly connectTime: number;
  /** Without a byte in either direction. */
  readonly idleTime: number;
  /** After one side has ended. */
  readonly halfClosedTime: number;
  /** One crossing, however busy. */
  readonly crossingTime: number;
  /** To and from one host and port in the whole run, where the policy says nothing. */
  readonly upload: number;
  readonly download: number;
  /** Names that get an address inside the run. */
  readonly names: number;
  /** Records of what never came to a decision: it costs the guest nothing, and nothing of it crossed. */
  readonly unjudged: number;
}

const GiB = 1024 ** 3;

export const defaultEgressLimits: EgressLimits = {
  connections: 256,
  headTime: 15_000,
  connectTime: 10_000,
  idleTime: 5 * 60_000,
  halfClosedTime: 30_000,
  crossingTime: 60 * 60_000,
  upload: 1 * GiB,
  download: 16 * GiB,
  names: 4096,
  unjudged: 1000,
};
