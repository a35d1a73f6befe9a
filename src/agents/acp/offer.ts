/** Which files and terminals the client offers: with a list of commands, those whose commands are on it. */
export interface Offer {
  readonly read: boolean;
  readonly write: boolean;
  readonly terminal: boolean;
}

/** Programs of a list that a service's commands need; all of them are there without one. `programs`: file names. */
export function offerOf(programs: readonly string[] | null): Offer {
  const has = (...names: string[]) => programs === null || names.every((name) => programs.includes(name));
  return { read: has('cat'), write: has('sh', 'cat', 'mkdir'), terminal: has('sh') };
}
