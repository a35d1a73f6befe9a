/** The name among `names` that a person most likely meant by `typed`, or undefined when none is near. */
export function closest(typed: string, names: readonly string[]): string | undefined {
  if (typed.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.ceil(typed.length / 3)) + 1;
  for (const name of names) {
    const distance = editDistance(typed.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best ?? containing(typed, names);
}

/** `push` for `git.push`, `providers` for `allowed_providers`: where just one name has all of it. */
function containing(typed: string, names: readonly string[]): string | undefined {
  const part = typed.toLowerCase();
  const holding = part.length < 4 ? [] : names.filter((name) => name.toLowerCase().includes(part));
  return holding.length === 1 ? holding[0] : undefined;
}

/** Levenshtein's distance: insertions, deletions and substitutions. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
