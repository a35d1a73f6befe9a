import { NotFoundError } from '../base/errors.ts';
import { checkName, type SecretDriver, type SecretEntry } from './driver.ts';
import { checkScopes, type Scopes } from './scopes.ts';
import { Secret } from './secret.ts';

/** Of a secret that is kept elsewhere: where it lies there, in the words of its driver, and what it is for. */
export type Declared<Place> = Readonly<Record<string, Place & { readonly scopes?: Scopes }>>;

/**
 * What drivers share whose secrets are kept elsewhere: only what was declared exists, whatever else lies there. `readValue` gives the
 * value as it is now.
 */
export function declaredSecrets<Place>(
  source: string,
  declared: Declared<Place>,
  readValue: (
    place: Place,
    name: string,
    signal?: AbortSignal,
  ) => Promise<{ readonly bytes: Buffer; readonly version?: string; readonly updated?: number }>,
): SecretDriver {
  const entries = new Map(
    Object.entries(declared).map(([name, { scopes = {} }]) => {
      const entry = { source, version: null, scopes: checkScopes(scopes), created: null, updated: null };
      return [name, { name: checkName(name), ...entry } satisfies SecretEntry];
    }),
  );
  return {
    source,
    list: async () => [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    find: async (name) => entries.get(name) ?? null,
    async read(name, signal) {
      const entry = entries.get(checkName(name));
      const place = declared[name];
      if (entry === undefined || place === undefined) {
        throw new NotFoundError(`there is no secret ${name}`, { remedy: `declare it among the ${source} secrets` });
      }
      const { bytes, version = null, updated = null } = await readValue(place, name, signal);
      try {
        return { entry: { ...entry, version, updated }, value: new Secret(bytes, name) };
      } finally {
        bytes.fill(0);
      }
    },
  };
}
