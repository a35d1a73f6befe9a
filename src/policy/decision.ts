/** What the policy says of one action, and why. */
export type Effect = 'permit' | 'deny' | 'ask';

export type LayerName = 'built-in' | 'organisation' | 'repository' | 'request';

/** A rule that determined a decision: where a person finds it, and what it says. */
export interface RuleRef {
  readonly layer: LayerName;
  /** As the user named it: `.cordon/policy.yaml`, `/etc/cordon/policy.yaml`, `--allow-net`. */
  readonly file: string;
  /** From 1; 0 where there is no line (built-in, command line). */
  readonly line: number;
  /** The rule in one line, as written: `git.push.force: deny`. */
  readonly text: string;
}

export interface Decision {
  readonly effect: Effect;
  /** The rules that determined it. Empty exactly when nothing permitted it ("no rule = deny"). */
  readonly rules: readonly RuleRef[];
  /** One sentence for a person: which value, and why. */
  readonly reason: string;
  /** What to write, where, to permit it; absent when it is permitted or nothing may permit it. */
  readonly remedy?: string;
  /** `sha256:…` of the effective policy. */
  readonly policyDigest: string;
  /** `sha256:…` of the canonical JSON of exactly what was decided upon; an approval is bound to it. */
  readonly subjectDigest: string;
  /** For `ask`: who may answer, how many, within what time. */
  readonly ask?: AskTerms;
}

/** The shortest summary of who must answer; `requirements` has each `approvals` entry that must be satisfied on its own. */
export interface AskTerms extends AskRequirement {
  readonly requirements: readonly AskRequirement[];
}

export interface AskRequirement {
  /** `role:…`, `user:…`, `group:…`; empty = anybody who may decide on approvals. */
  readonly approvers: readonly string[];
  readonly count: number;
  readonly expiresMs: number;
}
