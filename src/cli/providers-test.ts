import { randomBytes } from 'node:crypto';
import { systemClock } from '../base/clock.ts';
import { NotFoundError, OutsideError } from '../base/errors.ts';
import { Redactor } from '../base/redact/index.ts';
import { safeText } from '../base/term.ts';
import { resolvePaths } from '../config/paths.ts';
import { askOnce } from '../gateways/llm/ask-once.ts';
import { loadModelSettings, openProvider } from '../gateways/llm/settings.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { localSecrets } from './secrets-local.ts';

/** Asks each of its models one short question. Exit code 7 when one does not answer. */
export async function test(context: Context, name: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const { providers } = await loadModelSettings({
    organisation: paths.organisationProviders,
    user: paths.providersFile,
  });
  const found = providers.find(({ settings }) => settings.name === name);
  if (found === undefined) {
    const names = providers.map(({ settings }) => settings.name).join(', ');
    throw new NotFoundError(`there is no provider ${safeText(name)}`, {
      remedy: names === '' ? 'cordon providers add tells how to set one up' : `there are ${names}`,
    });
  }
  const redactor = new Redactor();
  const provider = openProvider(found.settings, {
    keyOf: (_, secret) => async () => {
      const { drivers } = await localSecrets(context);
      for (const driver of drivers) {
        if ((await driver.find(secret)) === null) continue;
        const value = (await driver.read(secret)).value.reveal().toString('utf8').trim();
        redactor.add(secret, value);
        return value;
      }
      throw new NotFoundError(`there is no secret ${secret}`, { remedy: `cordon secrets set ${secret}` });
    },
    now: () => systemClock.now(),
  });
  const results = [];
  for (const model of provider.models) {
    const requestId = `req_${randomBytes(9).toString('base64url')}`;
    const result = await askOnce({ provider, model, requestId, clock: systemClock, signal: context.signal });
    const reason = result.failure === null ? null : redactor.redact(result.failure);
    results.push({ model: model.name, ms: Math.round(result.ms), tokens: result.usage, failure: reason });
    if (out.json) continue;
    if (reason === null)
      out.line(`${out.style.green('ok')} ${name}/${model.name} answered in ${Math.round(result.ms)} ms`);
    else out.line(`${out.style.red('failed')} ${name}/${model.name}: ${safeText(reason)}`);
  }
  if (out.json) out.document({ provider: name, results });
  const failed = results.filter(({ failure }) => failure !== null);
  if (failed.length > 0)
    throw new OutsideError(`${failed.length} of ${results.length} models of ${name} did not answer`, {
      remedy: 'see what it says above: the address, the key, or the model’s name at the provider',
    });
}
