import type { ModelFacts, ProviderOptions, UpstreamCall } from './provider.ts';

/** Of what callers ask for with `anthropic-beta`, what clouds that serve Anthropic's models take. Another one would be an error there. */
const KNOWN = [
  'computer-use-2024-10-22',
  'computer-use-2025-01-24',
  'context-1m-2025-08-07',
  'context-management-2025-06-27',
  'dev-full-thinking-2025-05-14',
  'effort-2025-11-24',
  'fine-grained-tool-streaming-2025-05-14',
  'interleaved-thinking-2025-05-14',
  'output-128k-2025-02-19',
  'token-efficient-tools-2025-02-19',
  'tool-examples-2025-10-29',
  'tool-search-tool-2025-10-19',
];

/** `settings.betas` stands in place of the list. */
export function betasOf({ settings }: ProviderOptions, { headers }: UpstreamCall): string[] {
  const known = settings.betas?.split(/\s*,\s*/) ?? KNOWN;
  return (headers['anthropic-beta'] ?? '').split(/\s*,\s*/).filter((beta) => known.includes(beta));
}

/** Without what asks for a longer context than the settings state: requests are reserved for by that, and more of it has another price. */
export function withinContext(headers: UpstreamCall['headers'], { context }: ModelFacts): UpstreamCall['headers'] {
  const { 'anthropic-beta': betas, ...rest } = headers;
  if (betas === undefined || context === null) return headers;
  const kept = betas.split(',').filter((beta) => {
    const [, number, unit] = /^context-(\d+)([km])-/.exec(beta) ?? [];
    return number === undefined || Number(number) * (unit === 'm' ? 1_000_000 : 1_000) <= context;
  });
  return kept.length === 0 ? rest : { ...rest, 'anthropic-beta': kept.join(',') };
}
