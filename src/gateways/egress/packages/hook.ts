import type { Decision } from '../../../policy/index.ts';
import type { BodyWatch } from '../body.ts';
import type { Header, ResponseHead } from '../head.ts';
import type { Target } from '../target.ts';

/** How what is asked of registries, and what they answer, is looked at: between the verdict and the bytes. */
export interface PackageHook {
  /** Null where the host is no registry: such requests are out of its way. */
  look(request: SeenRequest): PackageExchange | null;
  close(): void;
}

export interface SeenRequest extends Target {
  readonly scheme: 'http' | 'https';
  readonly method: string;
  /** Canonical. */
  readonly path: string;
  readonly query: string | null;
  readonly headers: readonly Header[];
  readonly upgrade: boolean;
}

/** One request to a registry. */
export interface PackageExchange {
  /** The policy's decision, or a stricter one where it speaks of the package. Asked again, it answers the same. */
  narrow(decision: Decision): Promise<Decision>;
  /** The request's headers as they are sent: files are asked for whole, and as they are. */
  headers(kept: readonly Header[]): readonly Header[];
  /** Throws `Refusal` for an answer that may not pass. `token`: of the crossing, in the log. */
  answer(response: ResponseHead, token: unknown): BodyWatch | null;
}

/** What the log is told of packages. */
export type DependencyEvent =
  | ({ readonly kind: 'downloaded' } & DownloadedPackage)
  | {
      readonly kind: 'mismatch';
      readonly purl: string;
      readonly url: string;
      /** As the registry's index states it, and as it came: `sha512-…`. */
      readonly expected: string;
      readonly found: string;
    };

/** A package whose every byte came. */
export interface DownloadedPackage {
  readonly ecosystem: 'npm' | 'pypi';
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  /** Scheme, host and path below which the registry lies. */
  readonly registry: string;
  /** Without its query. */
  readonly url: string;
  /** Subresource integrity: `sha512-` and base64. */
  readonly integrity: string;
  /** 64 hex digits. */
  readonly sha256: string;
  readonly bytes: number;
  /** As the registry says; milliseconds since the epoch. */
  readonly published: number | null;
  /** The registry's index names a hash of it, and it is this one's. */
  readonly verified: boolean;
}
