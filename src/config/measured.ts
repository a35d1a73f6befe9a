import { z } from 'zod';

/** A text that `parse` understands, turned into base units. */
export function measured(parse: (text: string) => number | null, example: string) {
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const parsed = parse(String(value));
    if (parsed !== null && parsed > 0) return parsed;
    context.addIssue({ code: 'custom', message: `"${value}" is not understood; write for example ${example}` });
    return z.NEVER;
  });
}
