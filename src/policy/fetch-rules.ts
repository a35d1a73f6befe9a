import type { PolicyAction } from './action.ts';
import { parseShownGlob } from './git-refs.ts';
import { matchGlob } from './globs.ts';
import { cite, is, type Layer, type RuleBook, valuesOf } from './rule.ts';

/** `git.fetch`: which refs a run sees. The branch that it starts from is always one: its commit is the checkout. */
export function compileShownRefs(layer: Layer, book: RuleBook): void {
  const rule = cite(layer, [], 'git.fetch: the branch that the run starts from', false);
  book.add(layer, { action: 'git.fetch', role: 'permit', rule, when: is('base', true) });
  const refs = valuesOf(layer).git?.fetch?.refs ?? [];
  const entries = refs.flatMap((text, i) => {
    const glob = parseShownGlob(text);
    if (!glob.ok) return [];
    const pattern = `ref ${text}`;
    const test = (a: PolicyAction) => a.action === 'git.fetch' && matchGlob(glob.value, a.ref);
    book.pattern('git.fetch', { text: pattern, test });
    return [{ pattern, rule: cite(layer, ['git', 'fetch', 'refs', i], `git.fetch.refs: ${text}`, true) }];
  });
  const first = entries[0];
  if (first !== undefined) book.add(layer, { action: 'git.fetch', role: 'permit', rule: first.rule, entries });
}
