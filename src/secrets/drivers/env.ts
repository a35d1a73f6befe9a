import { NotFoundError } from '../../base/errors.ts';
import { type Declared, declaredSecrets } from '../declared.ts';
import type { SecretDriver } from '../driver.ts';

export interface EnvOptions {
  /**
   * The environment to read from. Whoever opens this hands over a copy and takes the variables out of `process.env`: every
   * program that Cordon starts would inherit them.
   */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly secrets: Declared<{ readonly variable: string }>;
}

/** Secrets in the environment of Cordon itself, as CI systems hand them over. */
export function envSecrets({ env, secrets }: EnvOptions): SecretDriver {
  return declaredSecrets('env', secrets, async ({ variable }, name) => {
    const value = env[variable];
    if (value !== undefined) return { bytes: Buffer.from(value) };
    throw new NotFoundError(`the secret ${name} is not there: the variable ${variable} is not set`, {
      remedy: `set ${variable} for the process that runs Cordon`,
    });
  });
}
