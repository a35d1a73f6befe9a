/** Time is injected: domains take a `Clock`, tests hand in their own. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds of a clock that never goes back; only differences mean anything. */
  monotonic(): number;
}

/** A clock that one can also wait on. */
export interface TimerClock extends Clock {
  /** Calls once, `ms` milliseconds from now; what it returns takes that back. */
  after(ms: number, call: () => void): () => void;
}

/** What timers of the system can wait at most; longer is as good as for ever. Milliseconds. */
const LONGEST = 2 ** 31 - 1;

export const systemClock: TimerClock = {
  now: () => Date.now(),
  monotonic() {
    const [seconds, nanoseconds] = process.hrtime(); // `performance` loads eleven modules of Node's when it is first named
    return seconds * 1e3 + nanoseconds / 1e6;
  },
  after(ms, call) {
    const timer = setTimeout(call, Math.min(ms, LONGEST));
    return () => clearTimeout(timer);
  },
};

/** RFC 3339 in UTC with milliseconds, the only form of time in records. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString();
}
