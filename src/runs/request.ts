import type { ProfileName } from '../agents/profiles/index.ts';
import type { RemoteName } from '../policy/remotes.ts';
import type { ContextPart } from './context-parts.ts';

/**
 * What a run is asked to do: made by the command line (later also by the API, a webhook, a schedule), validated once,
 * and never changed after that.
 */
export interface RunRequest {
  readonly requester: Principal;
  /** The local repository's folder, absolute, as the user named it; of no meaning with `repo`. */
  readonly workspace: string;
  /** A remote repository instead. */
  readonly repo: RemoteName | null;
  /** A ref or commit to start from; by default `HEAD`, of a remote repository its default branch. */
  readonly base: string;
  /** Branch to deliver to; `cordon/<run id>` when null. */
  readonly branch: string | null;
  /** Globs of what is checked out and may change; empty = all. */
  readonly paths: readonly string[];
  readonly agent: AgentRequest;
  readonly task: string | null;
  /** Text of others that comes with the task, with where it came from: data to every agent (context-parts.ts). */
  readonly context?: readonly ContextPart[];
  /** `provider/model`; null leaves it to the agent, or to the policy's default. */
  readonly model: string | null;
  /** A policy document instead of the repository's own. */
  readonly policyFile: string | null;
  readonly grants: {
    readonly net: readonly string[];
    readonly commands: readonly string[];
    readonly secrets: readonly string[];
  };
  readonly approvals: 'prompt' | 'queue' | 'deny';
  readonly deliver: 'branch' | 'patch' | 'none';
  readonly readOnly: boolean;
  /** Overrides in base units; never above what the policy says. */
  readonly limits: Partial<import('../policy/limits.ts').Limits>;
  readonly record: boolean;
  /** The run whose recording answers in place of the world: a replay. */
  readonly replayOf?: string;
  /** The lost run whose work goes on in this one. */
  readonly resumes?: string;
}

export interface Principal {
  /** `user:alice`, `service:ci`. */
  readonly id: string;
  readonly kind: 'user' | 'service' | 'agent' | 'system';
  readonly onBehalfOf?: string;
}

export interface AgentRequest {
  /** `command`, `builtin`, `acp`, or the name of a profile: as `--agent` and the scopes of secrets name it. */
  readonly kind: 'command' | 'builtin' | 'acp' | ProfileName;
  /** The command line; of a profile, arguments besides its own. */
  readonly argv: readonly string[];
  /** Answers of the model's; of `builtin` alone. */
  readonly maxSteps?: number;
}

/** What people read as the agent's command line. */
export function agentWords({ kind, argv }: AgentRequest): readonly string[] {
  return kind === 'command' ? argv : [kind, ...argv];
}

/** `status` of a run in the end, one to one with the exit codes. */
export type RunStatus =
  | 'succeeded'
  | 'failed'
  | 'denied'
  | 'approval_denied'
  | 'limit'
  | 'enforcement'
  | 'outside'
  | 'cancelled'
  | 'lost';

/** A secret that was lent to a run. */
export interface LentCredential {
  readonly name: string;
  /** In `env` and `file` the value itself was in the sandbox; `provider` is an MCP server. */
  readonly use: 'header' | 'env' | 'file' | 'provider';
  /** `authorization of packages.acme.example`, `$NPM_TOKEN`, `/run/secrets/key`. */
  readonly where: string;
}

/** What a run used of language models. */
export interface ModelUsage {
  readonly requests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** US dollars; what models without a price cost is not in it. */
  readonly usd: number;
}

export const NO_USAGE: ModelUsage = { requests: 0, inputTokens: 0, outputTokens: 0, usd: 0 };

/** What the built-in agent said of its work. */
export interface AgentResult {
  /** Answers of the model's. */
  readonly steps: number;
  readonly summary: string;
  readonly success: boolean;
}

/** Where the proof of a delivered change is; docs/attestation.md. */
export interface AttestationResult {
  /** The ref that travels with the branch; null when a patch was delivered. */
  readonly ref: string | null;
  /** Of the signed envelope, as the log has it. */
  readonly digest: string;
  readonly logIndex: number;
  /** The same bundle as a file. */
  readonly file: string;
}

/** The one object that `cordon run --json` ends with. */
export interface RunResult {
  readonly runId: string;
  readonly status: RunStatus;
  /** One sentence for a person. */
  readonly stopReason: string;
  /** The rules of the policy that stood in the way, as `file:line text`; empty when none did. */
  readonly rules: readonly string[];
  /** What to do about it; null when there is nothing to do. */
  readonly remedy: string | null;
  readonly base: string;
  /** The delivered commit; null when nothing was. */
  readonly head: string | null;
  readonly branch: string | null;
  readonly changedFiles: number;
  readonly commands: number;
  readonly decisions: { readonly permit: number; readonly deny: number; readonly ask: number };
  readonly credentials: readonly LentCredential[];
  readonly usage: { readonly wallMs: number; readonly outputBytes: number; readonly models: ModelUsage };
  /** Null for an agent that is a program of its own. */
  readonly agent: AgentResult | null;
  readonly policyDigest: string;
  /** The signed checkpoint that covers this run's last event. */
  readonly auditCheckpoint: string;
  /** The proof of what was delivered; null when nothing was. */
  readonly attestation: AttestationResult | null;
  readonly pullRequest: null;
}
