import { z } from 'zod';

/** Where secrets come from besides those that `cordon secrets set` keeps. Only what is named here exists for Cordon. */
const patterns = z.array(z.string().min(1)).min(1).optional();
const scopes = z
  .strictObject({
    repositories: patterns,
    agents: patterns,
    workflows: patterns,
    environments: patterns,
    hosts: patterns,
  })
  .optional();

/** By name, where each lies and what it is for. */
function named<Place extends z.ZodRawShape>(place: Place) {
  const name = z.string().regex(/^[A-Z_][A-Z0-9_]{0,99}$/, 'write a name such as NPM_TOKEN');
  return z.record(name, z.strictObject({ ...place, scopes }));
}

const absolute = z.string().regex(/^\//, 'write an absolute path');

export const secretsSettings = z.strictObject({
  sources: z
    .array(
      z.discriminatedUnion('driver', [
        z.strictObject({ driver: z.literal('env'), secrets: named({ variable: z.string().min(1) }) }),
        z.strictObject({ driver: z.literal('file'), folder: absolute, secrets: named({ file: z.string().min(1) }) }),
        z.strictObject({
          driver: z.literal('vault'),
          address: z.string(),
          namespace: z.string().min(1).optional(),
          mount: z.string().min(1).optional(),
          /** One of the two; never the token itself. */
          token_file: absolute.optional(),
          token_variable: z.string().min(1).optional(),
          ca_file: absolute.optional(),
          secrets: named({ path: z.string().min(1), field: z.string().min(1) }),
        }),
      ]),
    )
    .default([]),
  /** Instead of `keys/master.key`: a key that never leaves a Vault's transit engine. */
  master_key: z
    .strictObject({
      transit: z.strictObject({
        address: z.string(),
        namespace: z.string().min(1).optional(),
        mount: z.string().min(1).optional(),
        key: z.string().min(1),
        token_file: absolute.optional(),
        token_variable: z.string().min(1).optional(),
        ca_file: absolute.optional(),
      }),
    })
    .optional(),
});
