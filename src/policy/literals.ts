import type { ActionName } from './action.ts';
import type { Cedar } from './cedar.ts';
import { canonicalRef } from './git-refs.ts';
import { canonicalHost } from './hosts.ts';
import { shown } from './parsed.ts';

export interface Finding {
  readonly message: string;
  readonly remedy?: string;
}

/**
 * Literals of a rule that no canonical value ever equals (a `forbid` on `Host::"EVIL.example:443"`, or where
 * `context.ref == "main"`, would never apply and look as if it did), and numbers that lose digits in JSON, on which the
 * engine would judge by another number than the one written.
 */
export function nonCanonical(policy: Cedar.PolicyJson, actions: readonly ActionName[]): Finding[] {
  const findings: Finding[] = [];
  const visit = (node: unknown): void => {
    if (typeof node === 'number' && !Number.isSafeInteger(node)) {
      findings.push({
        message: `rules: the number ${node} is too large to be exact`,
        remedy: 'write at most 2^53 - 1',
      });
    }
    if (node === null || typeof node !== 'object') return;
    const { type, id } = node as { type?: unknown; id?: unknown };
    if (typeof type === 'string' && typeof id === 'string') findings.push(...oddEntity(type, id));
    for (const { attribute, text } of comparisons(node as Readonly<Record<string, unknown>>))
      findings.push(...oddComparison(attribute, text, actions));
    for (const value of Object.values(node)) visit(value);
  };
  visit(policy);
  return findings;
}

function oddEntity(type: string, id: string): Finding[] {
  if (type === 'Host') {
    const match = /^(.*):([1-9]\d{0,4})$/.exec(id);
    const host = canonicalHost(match?.[1] ?? id);
    if (match !== null && host.ok && host.value === match[1]) return [];
    return [
      {
        message: `rules: Host::${shown(id)} is not in canonical form, so it never applies`,
        remedy: `write Host::"${host.ok ? host.value : 'name.example'}:${match?.[2] ?? 443}"`,
      },
    ];
  }
  if (type === 'Ref' && !canonicalRef(id).ok) {
    return [
      {
        message: `rules: Ref::${shown(id)} is no full ref name, so it never applies`,
        remedy: 'write Ref::"refs/heads/NAME"',
      },
    ];
  }
  return [];
}

/** A text that an attribute of the context is compared with; of a pattern (`like`) the part before its first `*`. */
interface Comparison {
  readonly attribute: string;
  readonly text: { readonly whole: string } | { readonly beginning: string; readonly literals: string };
}

/** `context.a == "…"`, `context.a like "…"` and `["…"].contains(context.a)`, as Cedar's JSON has them. */
function comparisons(node: Readonly<Record<string, unknown>>): Comparison[] {
  const { '==': equal, '!=': unequal, contains, like } = node as Readonly<Record<string, Sides | undefined>>;
  const sides = equal ?? unequal ?? contains;
  if (sides !== undefined) {
    const attribute = attributeOf(sides.left) ?? attributeOf(sides.right);
    const other = attributeOf(sides.left) === undefined ? sides.left : sides.right;
    return attribute === undefined ? [] : textsOf(other).map((whole) => ({ attribute, text: { whole } }));
  }
  const attribute = attributeOf(like?.left);
  if (attribute === undefined || !Array.isArray(like?.pattern)) return [];
  const parts = like.pattern.map((part) => (typeof part === 'string' ? null : (part as { Literal: string }).Literal));
  const first = parts.indexOf(null);
  const beginning = parts.slice(0, first < 0 ? parts.length : first).join('');
  return [{ attribute, text: { beginning, literals: parts.join('') } }];
}

interface Sides {
  readonly left?: unknown;
  readonly right?: unknown;
  readonly pattern?: unknown;
}

function attributeOf(side: unknown): string | undefined {
  const access = (side as { '.'?: { left?: { Var?: unknown }; attr?: unknown } } | undefined)?.['.'];
  return access?.left?.Var === 'context' && typeof access.attr === 'string' ? access.attr : undefined;
}

function textsOf(side: unknown): string[] {
  const { Value: value, Set: set } = (side ?? {}) as { Value?: unknown; Set?: unknown };
  if (typeof value === 'string') return [value];
  return Array.isArray(set) ? set.flatMap(textsOf) : [];
}

function oddComparison(attribute: string, text: Comparison['text'], actions: readonly ActionName[]): Finding[] {
  const odd = (why: string, remedy: string): Finding[] => {
    const written = 'whole' in text ? shown(text.whole) : `a pattern that begins with ${shown(text.beginning)}`;
    return [{ message: `rules: context.${attribute} is never ${written}: ${why}`, remedy }];
  };
  const beginning = 'whole' in text ? text.whole : text.beginning;
  const rest = 'whole' in text ? '' : '…';
  const letters = 'whole' in text ? text.whole : text.literals;
  const only = (...names: ActionName[]) => actions.length > 0 && actions.every((action) => names.includes(action));
  if (attribute === 'host' && /[A-Z]/.test(letters))
    return odd('hosts are compared in lower case', `write ${shown(letters.toLowerCase())}`);
  if (attribute === 'host' && 'whole' in text && /:\d+$/.test(text.whole))
    return odd('the port is not part of it', `write context.host and context.port == ${/\d+$/.exec(text.whole)?.[0]}`);
  if (attribute === 'ref' && !begins(beginning, 'refs/', 'whole' in text))
    return odd('a ref has its full name', `write ${shown(`refs/heads/${beginning}${rest}`)}, or refs/tags/… for a tag`);
  if (attribute === 'path' && only('command.execute', 'net.request') && !begins(beginning, '/', 'whole' in text))
    return odd('such a path begins with /', `write the whole path, or: context.path like "*/${beginning}${rest}"`);
  if (attribute === 'path' && only('file.read', 'file.write') && beginning.startsWith('/'))
    return odd('files are named from the top of the repository', `write ${shown(beginning.slice(1))}`);
  if (attribute === 'method' && /[a-z]/.test(letters))
    return odd('methods are in capitals', `write ${shown(letters.toUpperCase())}`);
  return [];
}

/** A pattern's beginning may be shorter than what every value begins with. */
function begins(text: string, start: string, whole: boolean): boolean {
  return text.startsWith(start) || (!whole && start.startsWith(text));
}
