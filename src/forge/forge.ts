import { OutsideError } from '../base/errors.ts';
import type { RemoteName } from '../policy/remotes.ts';

/**
 * A forge, as one repository on it is used from the trusted side. What a driver adds to smart HTTP is a credential that opens as little
 * as that forge can make it: for one repository, one purpose, minutes.
 *
 * Nothing is retried and nothing cached here. Every failure is a `ForgeError` whose text holds no credential and is printable. Calls may run
 * at once. Streams are bounded in bytes and time whatever the other side does.
 */
export interface Forge {
  readonly repository: RemoteName;
  /** What the repository has now: HEAD, branches and tags. */
  listRefs(prefixes: readonly string[]): Promise<RefListing>;
  /** One pack with what leads to `wants` and not to `haves`; deltas may rest on objects of the latter. */
  fetchPack(request: FetchRequest): AsyncIterable<Buffer>;
  /**
   * All updates or none. `from` is what a ref must be at; null, that it must not be there. After an error that is `unsure`, the refs may
   * have been changed: list them before trying again.
   */
  push(request: PushRequest): Promise<void>;
  /** Closes idle connections. */
  close(): void;
}

export type Purpose = 'fetch' | 'push';

/** Opens a forge's API to the runs of one repository. */
export interface ForgeOptions {
  readonly repository: RemoteName;
  /** Asked at each use, and forgotten after it; null where the repository is everybody's. */
  readonly credential: (purpose: Purpose) => Promise<Credential | null>;
  /** Further certificate authorities, PEM. */
  readonly ca?: readonly string[];
  /** Of the network; names are resolved there. */
  readonly proxy?: { readonly host: string; readonly port: number } | undefined;
  readonly limits?: Partial<ForgeLimits>;
  readonly signal?: AbortSignal;
}

export interface Credential {
  /** The value of an Authorization header. */
  readonly authorization: string;
  /** Takes what is secret about it out of a text. */
  redact(text: string): string;
}

export interface ForgeLimits {
  /** Bytes of a listing of refs. */
  readonly refBytes: number;
  readonly refs: number;
  /** Bytes of one pack. */
  readonly packBytes: number;
  /** Milliseconds without a byte. */
  readonly idle: number;
  /** Milliseconds for one request, answer included. */
  readonly time: number;
  /** Bytes a second that an answer must come to, after a minute. */
  readonly rate: number;
}

export const defaultForgeLimits: ForgeLimits = {
  refBytes: 64 * 1024 ** 2,
  refs: 200_000,
  packBytes: 10 * 1024 ** 3,
  idle: 60_000,
  time: 3_600_000,
  rate: 1024,
};

export interface RemoteRef {
  readonly name: string;
  readonly oid: string;
}

export interface RefListing {
  readonly objectFormat: 'sha1' | 'sha256';
  /** Full name of what HEAD stands for; null when it is no branch, or nothing. */
  readonly head: string | null;
  /** In canonical form, sorted by name; others are left out and counted. */
  readonly refs: readonly RemoteRef[];
  readonly odd: number;
}

export interface FetchRequest {
  readonly objectFormat: 'sha1' | 'sha256';
  readonly wants: readonly string[];
  readonly haves: readonly string[];
  /** Told what the forge says while it works; printable. */
  readonly onProgress?: (text: string) => void;
}

export interface RefUpdate {
  readonly ref: string;
  readonly from: string | null;
  readonly to: string;
}

export interface PushRequest {
  readonly objectFormat: 'sha1' | 'sha256';
  readonly updates: readonly RefUpdate[];
  /** Called once, when the forge is ready for it. */
  readonly pack: () => AsyncIterable<Buffer>;
}

export type ForgeFault =
  | 'unreachable'
  | 'certificate'
  | 'server'
  | 'auth'
  | 'not_found'
  | 'redirect'
  | 'protocol'
  | 'limit'
  | 'taken'
  | 'rejected'
  | 'cancelled';

/** Why a forge did not do what it was asked. */
export class ForgeError extends OutsideError {
  readonly fault: ForgeFault;
  /** True when trying again soon may help. */
  readonly transient: boolean;
  /** True when it may have been done nevertheless. */
  readonly unsure: boolean;

  constructor(
    fault: ForgeFault,
    message: string,
    options: { remedy?: string; cause?: unknown; transient?: boolean; unsure?: boolean } = {},
  ) {
    const { transient = false, unsure = false, ...rest } = options;
    super(message, rest);
    this.fault = fault;
    this.transient = transient;
    this.unsure = unsure;
  }
}
