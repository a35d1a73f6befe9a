/** For a person: `1 run`, `2 runs`. Nouns that take an s only. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
