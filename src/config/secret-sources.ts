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

/** A transit engine of a Vault or OpenBao, or a PKCS#11 token. */
const masterKey = z
  .strictObject({
    transit: z
      .strictObject({
        address: z.string(),
        namespace: z.string().min(1).optional(),
        mount: z.string().min(1).optional(),
        key: z.string().min(1),
        token_file: absolute.optional(),
        token_variable: z.string().min(1).optional(),
        ca_file: absolute.optional(),
      })
      .optional(),
    pkcs11: z
      .strictObject({
        module: absolute,
        token: z.string().min(1).max(32),
        /** The key's label; or its id, in hex. One of the two. */
        key: z.string().min(1).optional(),
        key_id: z
          .string()
          .regex(/^([0-9a-f]{2}){1,64}$/i, 'write the id in hex, such as 01')
          .optional(),
        /** One of the two; never the PIN itself. */
        pin_file: absolute.optional(),
        pin_variable: z.string().min(1).optional(),
      })
      .refine(
        ({ key, key_id }) => (key === undefined) !== (key_id === undefined),
        'name the key by key or key_id, one of the two',
      )
      .refine(
        ({ pin_file, pin_variable }) => (pin_file === undefined) !== (pin_variable === undefined),
        'write pin_file or pin_variable, one of the two',
      )
      .optional(),
  })
  .refine(
    ({ transit, pkcs11 }) => (transit === undefined) !== (pkcs11 === undefined),
    'write transit or pkcs11, one of the two',
  );

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
  /** Instead of `keys/master.key`: a key that is never on this machine. */
  master_key: masterKey.optional(),
  /** Where the key is that secrets are sealed with by now, for `cordon secrets rotate-key`. */
  previous_master_key: masterKey.optional(),
});
