import { canonicalJson, type Json } from '../base/canonical-json.ts';
import type { PolicyAction } from './action.ts';
import { decide } from './decide.ts';
import type { Decision, Effect } from './decision.ts';
import type { EffectivePolicy } from './effective.ts';
import type { PolicyDocument } from './schema.ts';
import { hostRuleText } from './short-forms.ts';
import { subject } from './subject.ts';

/** One action that two policies answer differently. */
export interface ChangedAnswer {
  readonly subject: string;
  readonly before: Decision;
  readonly after: Decision;
  /** How many of the actions given were this one. */
  readonly times: number;
}

/** A line that stands in one of two documents only. */
export interface ChangedLine {
  readonly layer: 'organisation' | 'repository';
  readonly key: string;
  readonly change: 'added' | 'removed' | 'changed';
  readonly before?: string;
  readonly after?: string;
}

export interface PolicyDiff {
  readonly same: boolean;
  /** By what the second policy newly says. */
  readonly answers: Readonly<Record<Effect, readonly ChangedAnswer[]>>;
  readonly compared: number;
  readonly lines: readonly ChangedLine[];
}

/** Compares on actions (tests of both documents, what earlier runs did), and line by line. */
export function diffPolicies(
  before: EffectivePolicy,
  after: EffectivePolicy,
  actions: Iterable<PolicyAction>,
): PolicyDiff {
  const answers: Record<Effect, ChangedAnswer[]> = { permit: [], deny: [], ask: [] };
  const counted = new Map<string, { action: PolicyAction; times: number }>();
  for (const action of actions) {
    const key = canonicalJson(action as unknown as Json);
    counted.set(key, { action, times: (counted.get(key)?.times ?? 0) + 1 });
  }
  for (const { action, times } of counted.values()) {
    const [old, now] = [decide(before, action), decide(after, action)];
    if (old.effect !== now.effect)
      answers[now.effect].push({ subject: subject(action), before: old, after: now, times });
  }
  return { same: before.digest === after.digest, answers, compared: counted.size, lines: diffDocuments(before, after) };
}

function diffDocuments(before: EffectivePolicy, after: EffectivePolicy): ChangedLine[] {
  return (['organisation', 'repository'] as const).flatMap((layer) => {
    const [old, now] = [linesOf(before.documents[layer]), linesOf(after.documents[layer])];
    const names = [...new Set([...old.keys(), ...now.keys()])].sort();
    return names.flatMap((key) => compare(layer, key, old.get(key), now.get(key)));
  });
}

function compare(
  layer: ChangedLine['layer'],
  key: string,
  before: string | undefined,
  after: string | undefined,
): ChangedLine[] {
  if (before === after) return [];
  if (before === undefined)
    return [{ layer, key, change: 'added', ...(after === undefined || after === '' ? {} : { after }) }];
  if (after === undefined) return [{ layer, key, change: 'removed', ...(before === '' ? {} : { before }) }];
  return [{ layer, key, change: 'changed', before, after }];
}

/** A document as `key` → value; an entry of a list is part of its key, so that order does not matter. */
function linesOf(document: PolicyDocument | undefined): Map<string, string> {
  const lines = new Map<string, string>();
  const walk = (value: unknown, key: string): void => {
    if (value === undefined || key === 'tests') return;
    if (Array.isArray(value)) {
      if (value.length === 0) lines.set(key, '[]');
      for (const item of value) lines.set(`${key}: ${entryText(item)}`, '');
    } else if (value !== null && typeof value === 'object' && 'text' in value && 'host' in value) {
      lines.set(key, String(value.text)); // a URL, as it was written
    } else if (value !== null && typeof value === 'object') {
      for (const [name, inner] of Object.entries(value)) walk(inner, key === '' ? name : `${key}.${name}`);
    } else lines.set(key, String(value).trim());
  };
  walk(document, '');
  return lines;
}

function entryText(item: unknown): string {
  if (typeof item !== 'object' || item === null) return String(item);
  if ('pattern' in item) return hostRuleText(item as Parameters<typeof hostRuleText>[0]);
  if ('path' in item) return String(item.path);
  if ('text' in item) return String(item.text);
  return JSON.stringify(item);
}
