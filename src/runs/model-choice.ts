import { PolicyDeniedError, UsageError } from '../base/errors.ts';
import { closest } from '../policy/closest.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import type { System } from './system.ts';

/**
 * Said before anything starts: `--model PROVIDER/MODEL` names what is not set up here (`UsageError`), or a provider that
 * the policy does not name (`PolicyDeniedError`). Everything else about models is decided request by request.
 */
export async function checkModel(system: System, asked: string, { llm, grantFile }: EffectivePolicy): Promise<void> {
  if (llm.providers.length === 0) return; // agents that need a model say so themselves
  const providers = (await system.models()).providers.map(({ settings }) => settings);
  const name = asked.slice(0, asked.indexOf('/'));
  const provider = providers.find((one) => one.name === name);
  const all = providers.flatMap((one) => one.models.map((model) => `${one.name}/${model.name}`));
  if (provider === undefined || !all.includes(asked)) {
    const near = closest(asked, all);
    const there =
      all.length === 0 ? 'none is set up: cordon providers add' : `there are ${all.slice(0, 20).join(', ')}`;
    throw new UsageError(
      provider === undefined
        ? `there is no provider ${name}`
        : `the provider ${name} has no model ${asked.slice(name.length + 1)}`,
      { remedy: near === undefined ? there : `did you mean ${near}?` },
    );
  }
  if (llm.providers.includes(name)) return;
  throw new PolicyDeniedError(`the policy does not name the provider ${name}`, [], {
    remedy: `llm_policy: {allowed_providers: [${name}], models: ["${asked.slice(name.length + 1)}"]} in ${grantFile}`,
  });
}
