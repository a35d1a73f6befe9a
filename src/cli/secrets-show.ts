import { columns, safeText } from '../base/term.ts';
import { type SecretEntry, scopeNames } from '../secrets/index.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { localSecrets } from './secrets-local.ts';

export async function list(context: Context, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const { drivers } = await localSecrets(context);
  const entries = (await Promise.all(drivers.map((driver) => driver.list()))).flat();
  if (out.json) {
    out.document({ secrets: entries.map(secretJson) });
    return;
  }
  if (entries.length === 0) {
    out.progress('no secrets yet: cordon secrets set NAME');
    return;
  }
  const rows = entries.map((entry) => [
    entry.name,
    entry.source,
    entry.version ?? '-',
    entry.updated === null ? '-' : new Date(entry.updated).toISOString().slice(0, 16).replace('T', ' '),
    scopeText(entry),
  ]);
  out.line(...columns([['NAME', 'SOURCE', 'VERSION', 'SET (UTC)', 'ONLY FOR'].map(out.style.dim), ...rows]));
}

export function scopeText({ scopes }: SecretEntry): string {
  const parts = scopeNames.flatMap((kind) =>
    scopes[kind] === undefined ? [] : [`${kind} ${scopes[kind].join(', ')}`],
  );
  return parts.length === 0 ? 'anything the policy permits' : safeText(parts.join('; '));
}

export function secretJson({ name, source, version, scopes, created, updated }: SecretEntry) {
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return { name, source, version, scopes, created: time(created), updated: time(updated) };
}
