import type { AgentPlaces } from '../agents/found.ts';
import type { ContentStore } from '../audit/content.ts';
import type { AuditLog } from '../audit/log.ts';
import type { TimerClock } from '../base/clock.ts';
import type { ForgeSettings } from '../config/forges.ts';
import type { NetworkAccess } from '../config/network.ts';
import type { ModelSettings } from '../gateways/llm/settings.ts';
import type { Source } from '../policy/index.ts';
import type { Owner } from '../sandbox/outer.ts';
import type { SandboxDriver } from '../sandbox/sandbox.ts';
import type { SecretDriver } from '../secrets/index.ts';
import type { Store } from '../store/index.ts';
import type { DecisionMemo } from './decision-memo.ts';

/** Everything a run needs of the machine, wired by compose.ts. */
export interface System {
  readonly home: string;
  /** Folder of the installation's keys. */
  readonly keys: string;
  /** Folder of the runs' folders. */
  readonly runs: string;
  readonly clock: TimerClock;
  readonly store: Store;
  readonly log: AuditLog;
  readonly content: ContentStore;
  readonly memo: DecisionMemo;
  /** Where secrets are kept, opened when a run needs one; `dir` holds grants and revocations. */
  secrets(): Promise<{ readonly drivers: readonly SecretDriver[]; readonly dir: string }>;
  /** How this machine's network lets runs out. */
  readonly network: NetworkAccess;
  /** How the forges of remote repositories are spoken to. */
  readonly forges: readonly ForgeSettings[];
  /** Folder of the mirrors. */
  readonly mirrors: string;
  /** Language model providers, read when a run may use one. Throws `DocumentError`. */
  models(): Promise<ModelSettings>;
  /** MCP server → the folder of this machine that it is made of, where that is not below /usr. */
  readonly mcpFolders: Readonly<Record<string, string>>;
  /** Where agents of this machine are. */
  readonly agents: AgentPlaces;
  readonly sandbox: SandboxDriver;
  /** Whom a checkout must belong to for the guest to change it; null = the user who runs Cordon. */
  readonly guestOwner: Owner | null;
  /** The organisation's ceiling; null when there is none on this machine. */
  readonly organisation: Source | null;
  close(): Promise<void>;
}

export interface Progress {
  /** What is being done, for a person. */
  readonly step: string;
  /** True for what a person must not overlook. */
  readonly alarming?: boolean;
  /** How long it took, once it is done. */
  readonly ms?: number;
}

/** What a run shows on its way, and how it is stopped. */
export interface RunIo {
  readonly signal: AbortSignal;
  onProgress(progress: Progress): void;
  /** False when nobody reads notes about the repository: some take a look at all its files. */
  readonly notes: boolean;
  onOutput(stream: 'stdout' | 'stderr', chunk: Buffer): void;
  /** Puts a question of the policy's to the person at the terminal; absent when nobody is there. `expired`: nobody answered in time. */
  ask?(question: {
    readonly action: string;
    readonly reason: string;
    readonly rules: readonly string[];
    /** Aborted when an answer would come too late. */
    readonly signal?: AbortSignal;
  }): Promise<boolean | 'expired'>;
}
