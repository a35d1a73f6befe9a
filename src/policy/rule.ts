import type { ActionName, PolicyAction } from './action.ts';
import type { Cedar } from './cedar.ts';
import type { ResolvedCommand } from './commands.ts';
import type { LayerName, RuleRef } from './decision.ts';
import type { ParsedDocument, PolicyDocument } from './schema.ts';
import type { Path } from './source.ts';

/**
 * What a rule does when it applies.
 * `forbid`: denied, whatever else applies. `ask`: what is permitted asks first. `ask-grant`: permitted, after asking.
 */
export type Role = 'permit' | 'forbid' | 'ask' | 'ask-grant';

/** Permits count on one side: `ceiling` for the organisation's, `grant` for the others. An action needs one on each. */
export type Side = 'ceiling' | 'grant';

/** One Cedar policy of the effective policy. A section's list is one policy with an entry for each of its lines. */
export interface CompiledRule {
  readonly id: string;
  readonly role: Role;
  readonly side: Side;
  readonly actions: readonly ActionName[];
  /** Cited when no entry is more exact. */
  readonly rule: RuleRef;
  readonly entries: readonly { readonly pattern: string; readonly rule: RuleRef }[];
  readonly cedar: Cedar.PolicyJson;
  /** For a person, after the value: `is a force push`. */
  readonly why?: (action: PolicyAction, witness: string | undefined) => string;
  /** What to write instead, in the document of the rule's layer. */
  readonly remedy?: string;
  /** Whose connections alone it speaks of: the `agent`'s, or those of the MCP server of that name. Unset: everybody's. */
  readonly of?: string;
  /** Who must answer, for the rules that come from `approvals`. */
  readonly approval?: { readonly approvers: readonly string[]; readonly count: number; readonly expiresMs: number };
}

/** A pattern of a short form. `test` gives the value that matched (or true); false when none did. */
export interface Pattern {
  readonly text: string;
  readonly test: (action: PolicyAction) => boolean | string;
}

/** Where a repository's document lies, and would lie. */
export const DEFAULT_FILE = '.cordon/policy.yaml';

/** One document, or the built-in default in place of one. */
export interface Layer {
  readonly name: LayerName;
  readonly file: string;
  readonly side: Side;
  readonly document: ParsedDocument | null;
}

export const BUILT_IN = 'built-in';

/** The document's own values; nothing for the built-in default. */
export function valuesOf(layer: Layer): Partial<PolicyDocument> {
  return layer.document?.value ?? {};
}

/** Cites the line at `path`; what a document leaves unset is the built-in default, and says where it was not set. */
export function cite(layer: Layer, path: Path, text: string, set: boolean): RuleRef {
  const document = layer.document;
  if (document === null) return { layer: 'built-in', file: BUILT_IN, line: 0, text };
  if (!set)
    return { layer: 'built-in', file: BUILT_IN, line: 0, text: `${text} (the default: ${layer.file} does not set it)` };
  return { layer: layer.name, file: layer.file, line: document.yaml.place(path, 'key').line, text };
}

/** `file:line`, as editors and terminals link it. */
export function refText(ref: RuleRef): string {
  return ref.line > 0 ? `${ref.file}:${ref.line}` : ref.file;
}

type Draft = Omit<CompiledRule, 'id' | 'side' | 'cedar' | 'entries' | 'actions'> & {
  readonly action: ActionName;
  readonly when?: Cedar.Expr;
  readonly entries?: CompiledRule['entries'];
};

/** Collects the rules of all layers, and the patterns they look for. */
export class RuleBook {
  readonly rules: CompiledRule[] = [];
  readonly patterns = new Map<ActionName, Map<string, Pattern>>();
  /** Set once the toolbox has resolved the commands of this run. */
  readonly resolved: ReadonlyMap<string, ResolvedCommand> | undefined;

  constructor(resolved?: ReadonlyMap<string, ResolvedCommand>) {
    this.resolved = resolved;
  }

  pattern(action: ActionName, pattern: Pattern): void {
    const known = this.patterns.get(action) ?? new Map<string, Pattern>();
    known.set(pattern.text, pattern);
    this.patterns.set(action, known);
  }

  /** A rule of a short form. With `entries` it applies when one of their patterns matched; without entries, if `when` holds. */
  add(layer: Layer, draft: Draft): void {
    const { action, when, entries = [], ...rest } = draft;
    const conditions = [
      ...(entries.length === 0 ? [] : [matchesAny(entries.map((entry) => entry.pattern))]),
      ...(when === undefined ? [] : [when]),
    ];
    this.push({ ...rest, side: layer.side, actions: [action], entries }, layer, {
      effect: draft.role === 'forbid' ? 'forbid' : 'permit',
      principal: { op: 'All' },
      action: { op: '==', entity: { type: 'Action', id: action } },
      resource: { op: 'All' },
      conditions: conditions.map((body) => ({ kind: 'when' as const, body })),
    });
  }

  /** The annotations name no file: the same documents elsewhere have the same digest. */
  push(rule: Omit<CompiledRule, 'id' | 'cedar'>, layer: Layer, cedar: Cedar.PolicyJson): void {
    const id = `${layer.name}-${this.rules.length}`;
    this.rules.push({
      ...rule,
      id,
      cedar: { ...cedar, annotations: { id, role: rule.role, side: rule.side } },
    });
  }
}

const context = (attribute: string): Cedar.Expr => ({ '.': { left: { Var: 'context' }, attr: attribute } });

/** `context.matches.containsAny([…])` */
export function matchesAny(patterns: readonly string[]): Cedar.Expr {
  return { containsAny: { left: context('matches'), right: { Set: patterns.map((pattern) => ({ Value: pattern })) } } };
}

export function is(attribute: string, value: string | boolean): Cedar.Expr {
  return { '==': { left: context(attribute), right: { Value: value } } };
}

export function moreThan(attribute: string, value: number): Cedar.Expr {
  return { '>': { left: context(attribute), right: { Value: value } } };
}
