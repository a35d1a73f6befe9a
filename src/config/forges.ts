import { z } from 'zod';
import { parseSize } from '../base/size.ts';
import { canonicalHost, parsePort } from '../policy/hosts.ts';
import { measured } from './measured.ts';

/** `git.acme.example` or `git.acme.example:8443`, in canonical form. */
const place = z.string().transform((text, context) => {
  const [, name = '', digits] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
  const host = canonicalHost(name);
  const port = digits === undefined ? null : parsePort(digits);
  if (host.ok && port?.ok !== false) return port === null ? host.value : `${host.value}:${port.value}`;
  context.addIssue({
    code: 'custom',
    message: `"${text}" is no host; write git.acme.example or git.acme.example:8443`,
  });
  return z.NEVER;
});

/** How the forges are spoken to that `--repo` names; a forge that is not here is asked without a credential. */
export const forgesSettings = z
  .array(
    z.strictObject({
      host: place,
      driver: z.enum(['git']).default('git'),
      /** Name of the secret that is its token; without it, only what everybody may read is there. */
      token: z
        .string()
        .regex(/^[A-Z_][A-Z0-9_]{0,99}$/, 'write the name of a secret such as FORGE_TOKEN, not its value')
        .optional(),
      /** `basic`: user and token, as most forges want it; `bearer`: the token alone. */
      auth: z.enum(['basic', 'bearer']).default('basic'),
      user: z
        .string()
        .regex(/^[\x21-\x39\x3b-\x7e]{1,200}$/, 'write a user without spaces and colons')
        .default('git'),
      /** Further certificate authorities, PEM. */
      ca_file: z.string().regex(/^\//, 'write an absolute path').optional(),
      /** The address may be http://: whoever is on the way reads and changes everything, the token too. */
      plain_http: z.boolean().default(false),
      /** Of one mirror. */
      max_size: measured(parseSize, '10g').optional(),
    }),
  )
  .max(100);

export type ForgeSettings = z.infer<typeof forgesSettings>[number];
