import { PolicyDeniedError, UsageError } from '../base/errors.ts';
import { choiceOf, type WithModels } from '../gateways/llm/model-names.ts';
import { closest } from '../policy/closest.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import type { RunIo, System } from './system.ts';

interface Model {
  readonly name: string;
  readonly price?: unknown;
}

/**
 * Said before anything starts: `--model PROVIDER/MODEL` names what is not set up here (`UsageError`), or a provider that
 * the policy does not name, or what has no price where the policy counts money (`PolicyDeniedError`). An alias may stand in the model's place. Everything else about models is decided request by request.
 */
export async function checkModel(system: System, asked: string, { llm, grantFile }: EffectivePolicy): Promise<void> {
  if (llm.providers.length === 0) return; // agents that need a model say so themselves
  const { providers: configured, aliases } = await system.models();
  const providers: readonly WithModels<Model>[] = configured.map(({ settings }) => settings);
  const { name, places } = choiceOf(asked, providers, aliases);
  if (places.length === 0) throw nowhere(asked, providers, aliases);
  const usable = places.filter(({ provider }) => llm.providers.includes(provider.name));
  const [first] = usable;
  if (first !== undefined) {
    const money = [llm.budget, ...llm.budgets].some(({ usd }) => usd !== null);
    if (money && usable.every(({ model }) => model.price === undefined)) throw unpriced(first);
    return;
  }
  const names = [...new Set(places.map(({ provider }) => provider.name))].join(', ');
  const models = [...new Set([name, ...places.map(({ model }) => model.name)])].filter((one) => !aliases.has(one));
  throw new PolicyDeniedError(`the policy does not name the provider ${names}`, [], {
    remedy: `llm_policy: {allowed_providers: [${names}], models: ${JSON.stringify(models)}} in ${grantFile}`,
  });
}

function unpriced({ provider, model }: { readonly provider: { readonly name: string }; readonly model: Model }) {
  const what = `${provider.name}/${model.name} has no price, and the policy counts money (llm_policy.budget)`;
  return new PolicyDeniedError(what, [], {
    remedy: `state what it costs: cordon providers add … --price, or \`price\` of ${model.name} in providers.yaml`,
  });
}

/** For a command, which may know the name otherwise, and asks for what it likes: the gateway decides request by request. */
export async function noteModel(checked: Promise<void>, io: RunIo): Promise<void> {
  await checked.catch((error: unknown) => {
    if (!(error instanceof UsageError || error instanceof PolicyDeniedError)) throw error;
    if (io.notes) io.onProgress({ step: `note: --model: ${error.message} (${error.remedy})` });
  });
}

function nowhere(
  asked: string,
  providers: readonly WithModels<Model>[],
  aliases: ReadonlyMap<string, string>,
): UsageError {
  const [name = '', ...rest] = asked.split('/');
  const all = providers.flatMap((one) => one.models.map((model) => `${one.name}/${model.name}`));
  const near = closest(asked, all);
  const there = all.length === 0 ? 'none is set up: cordon providers add' : `there are ${all.slice(0, 20).join(', ')}`;
  const remedy = near === undefined ? there : `did you mean ${near}?`;
  const aimed = aliases.get(asked) ?? aliases.get(rest.join('/'));
  if (aliases.has(asked) || (aimed !== undefined && providers.some((one) => one.name === name)))
    return new UsageError(`${asked} is an alias of ${aimed}, which no provider has`, { remedy: there });
  return new UsageError(
    providers.some((one) => one.name === name)
      ? `the provider ${name} has no model ${rest.join('/')}`
      : `there is no provider ${name}`,
    { remedy },
  );
}
