import type { z } from 'zod';
import { UsageError } from '../../../base/errors.ts';

/** A key that is a JSON document. Throws `UsageError`, which names the fields that are wrong and shows nothing of their values. */
export function jsonKey<T>(provider: string, key: string, schema: z.ZodType<T>, write: string): T {
  let value: unknown;
  try {
    value = JSON.parse(key);
  } catch {
    value = null;
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = [...new Set(parsed.error.issues.map(({ path }) => path.map(String).join('.')))].filter(
    (one) => one !== '',
  );
  const what = fields.length === 0 ? 'is no JSON document' : `lacks or has wrong: ${fields.join(', ')}`;
  throw new UsageError(`the key of the provider ${provider} ${what}`, {
    remedy: `store ${write} with cordon secrets set`,
  });
}
