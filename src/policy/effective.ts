import type { Problem } from '../base/errors.ts';
import type { ActionName } from './action.ts';
import type { PolicySet } from './cedar.ts';
import type { LayerName, RuleRef } from './decision.ts';
import type { DependencyRules } from './dependencies.ts';
import type { Limits } from './limits.ts';
import type { McpServer, ServerSlices } from './mcp.ts';
import type { Amounts, ModelFeature, SharedBudget } from './models.ts';
import type { NetworkHost } from './network.ts';
import type { GlobLists } from './paths.ts';
import type { CompiledRule, Pattern } from './rule.ts';
import type { PolicyDocument } from './schema.ts';

/** Version of this compiler: part of the digest, because it says what the same text means. */
export const COMPILER = 'cordon-policy/1';

/** A program that may run, as the policy names it; the toolbox resolves it to a file and its SHA-256. */
export interface CommandRule {
  readonly path: string;
  /** 64 hex digits where the document pins the content, else null. */
  readonly sha256: string | null;
  readonly rule: RuleRef;
}

/** Everything that holds for one run. Immutable; two with the same digest decide alike. */
export interface EffectivePolicy {
  /** `sha256:…` over the documents' digests, the compiled Cedar, its schema, the settings and the compiler's version. */
  readonly digest: string;
  readonly compiler: string;
  readonly layers: readonly { readonly layer: LayerName; readonly file: string; readonly digest: string }[];
  readonly limits: Limits;
  /** Null: no list anywhere, the machine's ordinary `/usr`. Empty: nothing may run. */
  readonly commands: readonly CommandRule[] | null;
  readonly filesystem: { readonly checkout: GlobLists; readonly write: GlobLists; readonly protect: readonly string[] };
  readonly git: {
    readonly fetch: {
      /** Commits of history the guest sees. */
      readonly depth: number | 'full';
      /** True when a document shows more refs than the branch a run starts from; which, is `decide`'s to say. */
      readonly more: boolean;
    };
    readonly push: {
      readonly maxChangedLines: number | null;
      readonly signed: 'required' | 'optional';
    };
  };
  /** Every host that a layer lists, for what is no yes or no (network.ts); whether it may be reached is `decide`'s to say. */
  readonly network: readonly NetworkHost[];
  readonly dependencies: DependencyRules;
  readonly llm: {
    readonly defaultProvider: string | null;
    /** In order of preference: the repository's own, then what other layers add. Whether one may be used is `decide`'s to say. */
    readonly providers: readonly string[];
    readonly features: readonly ModelFeature[];
    /** What becomes of a prompt with a secret in it. */
    readonly secrets: 'replace' | 'refuse';
    /** Bytes. */
    readonly maxRequest: number;
    /** Of one run. */
    readonly budget: Amounts;
    readonly budgets: readonly SharedBudget[];
    /** How prompts and answers are kept. */
    readonly content: 'full' | 'redacted' | 'none';
    readonly retentionDays: number;
  };
  readonly mcp: {
    readonly servers: readonly McpServer[];
    /** By the server's name. */
    readonly slices: Readonly<Record<string, ServerSlices>>;
  };
  readonly sandbox: {
    readonly driver: 'bubblewrap' | 'docker' | 'kubernetes';
    /** At least this. */
    readonly isolation: 'namespace' | 'gvisor' | 'vm';
    readonly recorder: { readonly onLoss: 'fail' | 'continue' };
  };
  /** What has no effect (above the ceiling) or not the effect one may think. */
  readonly warnings: readonly Problem[];
  readonly documents: { readonly organisation?: PolicyDocument; readonly repository?: PolicyDocument };
  readonly rules: readonly CompiledRule[];
  readonly slices: Readonly<Record<ActionName, Slice>>;
  /** The organisation's document, where there is one: nothing goes above it. */
  readonly ceiling: { readonly file: string; cite(action: ActionName): RuleRef } | null;
  /** Where a remedy is written: the repository's document, or where it would be. */
  readonly grantFile: string;
}

/** The rules of one action: what a decision looks at. */
export interface Slice {
  readonly set: PolicySet;
  readonly rules: ReadonlyMap<string, CompiledRule>;
  readonly patterns: readonly Pattern[];
  /** False when no rule reads `context.changedPaths`: then the set is not handed over, which for large pushes is most of the cost. */
  readonly readsChangedPaths: boolean;
}
