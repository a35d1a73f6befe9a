import { UsageError } from '../../../../base/errors.ts';
import type { ProviderOptions, UpstreamCall, UpstreamRequest } from '../provider.ts';

/** The base with a path behind it; whatever query the base has stays. */
export function endpoint(base: URL, path: string): URL {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/+$/, '')}${path}`;
  return url;
}

/** `body`: what is sent in place of the call's. */
export function jsonRequest(
  url: URL,
  call: UpstreamCall,
  headers: Readonly<Record<string, string>>,
  body: Buffer = call.bytes,
): UpstreamRequest {
  return {
    url,
    headers: {
      'content-type': 'application/json',
      accept: call.stream ? 'text/event-stream' : 'application/json',
      'user-agent': 'cordon',
      ...headers,
    },
    body,
  };
}

/** Throws `UsageError` where the settings leave out what this driver cannot do without. */
export function needs<Key extends 'baseUrl' | 'region' | 'key'>(
  options: ProviderOptions,
  key: Key,
  write: string,
): NonNullable<ProviderOptions[Key]> {
  const value = options[key];
  if (value !== null) return value;
  throw new UsageError(`the provider ${options.name} has no ${key === 'baseUrl' ? 'base_url' : key}`, {
    remedy: `write ${write}`,
  });
}

/** Settings that the driver does not know are mistakes. */
export function onlySettings({ name, settings }: ProviderOptions, known: readonly string[]): void {
  const stray = Object.keys(settings).find((key) => !known.includes(key));
  if (stray === undefined) return;
  const remedy = known.length === 0 ? 'this driver has no settings of its own' : `there are ${known.join(', ')}`;
  throw new UsageError(`the provider ${name} has no setting ${stray}`, { remedy });
}

/** What a Gemini model is asked to do, in its URL. */
export function geminiVerb({ operation, stream }: Pick<UpstreamCall, 'operation' | 'stream'>): string {
  if (operation === 'count') return 'countTokens';
  return stream ? 'streamGenerateContent' : 'generateContent';
}
