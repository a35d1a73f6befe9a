import { z } from 'zod';
import { parseDuration } from '../base/duration.ts';
import { parseSize } from '../base/size.ts';
import { secretsSettings } from './secret-sources.ts';

/** A text that `parse` understands, turned into base units. */
function measured(parse: (text: string) => number | null, example: string) {
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const parsed = parse(String(value));
    if (parsed !== null && parsed > 0) return parsed;
    context.addIssue({ code: 'custom', message: `"${value}" is not understood; write for example ${example}` });
    return z.NEVER;
  });
}

export const size = measured(parseSize, '2g');
export const duration = measured(parseDuration, '30m');

/**
 * `$XDG_CONFIG_HOME/cordon/config.yaml`: what a user wants by default. Nothing here widens what a run may do.
 */
export const settingsSchema = z.strictObject({
  version: z.literal(1),
  /** Who runs are recorded as; by default the login name. */
  requester: z
    .string()
    .regex(/^user:[a-z0-9._@-]{1,64}$/, 'write user:NAME, the name in lower case')
    .optional(),
  run: z
    .strictObject({
      approvals: z.enum(['prompt', 'queue', 'deny']).optional(),
      deliver: z.enum(['branch', 'patch', 'none']).optional(),
      timeout: duration.optional(),
      memory: size.optional(),
      cpus: z.number().positive().optional(),
      pids: z.number().int().positive().optional(),
      disk: size.optional(),
      record: z.boolean().optional(),
    })
    .default({}),
  secrets: secretsSettings.optional(),
});

export type Settings = z.infer<typeof settingsSchema>;
