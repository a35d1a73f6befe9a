/** Interleaved rounds of several contestants, and their medians as a table. */
export type Contestant = () => Promise<number>;

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

export async function timed(action: () => unknown): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

/** Medians in milliseconds by name: each round runs everybody once, so that the machine's mood is the same for all. */
export async function interleaved(
  contestants: Readonly<Record<string, Contestant>>,
  rounds: number,
  warmUp = 2,
): Promise<Map<string, number>> {
  const times = new Map<string, number[]>(Object.keys(contestants).map((name) => [name, []]));
  for (let round = -warmUp; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) {
      const ms = await run();
      if (round >= 0) times.get(name)?.push(ms);
    }
  }
  return new Map([...times].map(([name, values]) => [name, median(values)]));
}

export function row(what: string, figure: string, note = ''): void {
  console.log(`  ${what.padEnd(58)} ${figure.padStart(12)}  ${note}`.trimEnd());
}

/** Says whether a bar holds, and makes the program end with 1 when one does not. */
export function bar(holds: boolean, text: string): string {
  if (!holds) process.exitCode = 1;
  return `${holds ? 'holds' : 'MISSED'}: ${text}`;
}
