import { columns, safeText } from '../base/term.ts';
import { resolvePaths } from '../config/paths.ts';
import { type Configured, loadModelSettings } from '../gateways/llm/settings.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';

export async function list(context: Context, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const { providers, aliases } = await loadModelSettings({
    organisation: paths.organisationProviders,
    user: paths.providersFile,
  });
  if (out.json) {
    out.document({ providers: providers.map(providerJson), aliases: Object.fromEntries(aliases) });
    return;
  }
  if (providers.length === 0) {
    out.progress('no providers yet: cordon providers add NAME --driver DRIVER --model MODEL');
    return;
  }
  const rows = providers.flatMap(({ settings, by }) =>
    settings.models.map((model) => [
      `${settings.name}/${model.name}`,
      settings.driver,
      settings.base_url?.host ?? 'public',
      settings.key?.secret ?? 'none',
      model.price === undefined ? 'none' : `${model.price.input} / ${model.price.output}`,
      by,
    ]),
  );
  out.line(
    ...columns([['MODEL', 'DRIVER', 'AT', 'KEY', '$ A MILLION IN/OUT', 'SET UP BY'].map(out.style.dim), ...rows]),
  );
  for (const [alias, target] of aliases) out.line(`${safeText(alias)} is ${safeText(target)}`);
}

function providerJson({ settings, by }: Configured) {
  const { base_url: url, key, headers, ...rest } = settings;
  return {
    ...rest,
    baseUrl: url?.href ?? null,
    key: key?.secret ?? null,
    headers: Object.keys(headers ?? {}),
    setUpBy: by,
  };
}
