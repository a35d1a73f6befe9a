/** The forge's token: read where secrets are kept, at each use, and never handed to anything that runs inside. */
import { EnforcementError, NotFoundError, PolicyDeniedError } from '../base/errors.ts';
import type { Redactor } from '../base/redact/index.ts';
import type { ForgeSettings } from '../config/forges.ts';
import type { RemoteName } from '../policy/remotes.ts';
import { findSecret, outOfScope } from '../secrets/index.ts';
import type { RunRequest } from './request.ts';
import type { System } from './system.ts';

/**
 * A reader of the token that the settings name for this forge; each reading is recorded first, and the secret's own scopes stand: a
 * token for one repository is not shown for another, and of two places that have it none is guessed (`ConflictError`). The run's redactor learns the value.
 */
export function forgeToken(
  system: System,
  request: RunRequest & { readonly repo: RemoteName },
  settings: ForgeSettings | undefined,
  redactor: Redactor,
): () => Promise<Buffer | null> {
  const name = settings?.token;
  const { repo, agent, requester } = request;
  if (name === undefined) return async () => null;
  return async () => {
    const { drivers } = await system.secrets();
    const { driver, entry } = await findSecret(drivers, name).catch((cause: unknown) => {
      if (!(cause instanceof NotFoundError)) throw cause;
      throw new NotFoundError(`the token ${name}, which config.yaml names for ${repo.host}, is nowhere`, {
        cause,
        remedy: `cordon secrets set ${name}`,
      });
    });
    const facts = { id: '', repository: repo.name, agent: agent.kind, workflow: null, environment: null };
    const outside = outOfScope(entry.scopes, facts, repo.host);
    if (outside !== null) {
      throw new PolicyDeniedError(`the token ${name} is not for ${outside}`, [], {
        remedy: 'name another token under forges: in config.yaml, or widen its scopes',
      });
    }
    const resource = { secret: name, grant: 'forge', host: repo.host, header: 'authorization' };
    await system.log.append({ type: 'secret.used', run: null, principal: requester, action: 'secret.use', resource });
    const bytes = (await driver.read(name)).value.reveal();
    if (!/^[\x21-\x7e]+$/.test(bytes.toString('latin1'))) {
      throw new EnforcementError('secrets', `the token ${name} holds a space, a line break or another odd character`, {
        remedy: `set it anew: cordon secrets set ${name}`,
      });
    }
    redactor.add(name, bytes);
    return bytes;
  };
}
