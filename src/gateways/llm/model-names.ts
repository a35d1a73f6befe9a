/** What a model's name stands for, of what is set up: the one reading that the gateway and `--model` share. */

interface Named {
  readonly name: string;
}
export interface WithModels<M extends Named> extends Named {
  readonly models: readonly M[];
}

/** Name an agent may use → `provider/model`, or a model's name. */
export type Aliases = ReadonlyMap<string, string>;

/** Where an alias, `provider/model` or a model's name can be had, in the order of the providers; empty when nowhere. */
export function placesOf<M extends Named, P extends WithModels<M>>(
  name: string,
  providers: readonly (P & WithModels<M>)[],
  aliases: Aliases,
): { provider: P; model: M }[] {
  const aimed = aliases.get(name) ?? name;
  const [first = '', ...rest] = aimed.split('/');
  const named = providers.find((provider) => rest.length > 0 && provider.name === first);
  const wanted = named === undefined ? aimed : rest.join('/');
  return (named === undefined ? providers : [named]).flatMap((provider) =>
    provider.models.filter((model) => model.name === wanted).map((model) => ({ provider, model })),
  );
}

/**
 * What `--model` asks for: `PROVIDER/MODEL`, `PROVIDER/ALIAS`, or an alias that has a slash itself. `name`: what the agent is to ask the
 * gateway for. `places`: empty when it is nowhere.
 */
export function choiceOf<M extends Named, P extends WithModels<M>>(
  asked: string,
  providers: readonly (P & WithModels<M>)[],
  aliases: Aliases,
): { readonly name: string; readonly places: { provider: P; model: M }[] } {
  if (aliases.has(asked)) return { name: asked, places: placesOf<M, P>(asked, providers, aliases) };
  const slash = asked.indexOf('/');
  const name = asked.slice(slash + 1);
  const provider = providers.find((one) => one.name === asked.slice(0, slash));
  if (provider === undefined) return { name, places: [] };
  const model = provider.models.find((one) => one.name === name);
  if (model !== undefined) return { name, places: [{ provider, model }] };
  return { name, places: aliases.has(name) ? placesOf<M, P>(name, providers, aliases) : [] };
}
