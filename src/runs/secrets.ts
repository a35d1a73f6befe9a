/** The secrets of one run: which it gets, what stands for them inside, and that they end with it. */
import { PolicyDeniedError, UsageError } from '../base/errors.ts';
import type { Redactor } from '../base/redact/index.ts';
import { type EffectivePolicy, refText } from '../policy/index.ts';
import { openBroker, parseUse, RunSecrets, type SecretUse } from '../secrets/index.ts';
import type { LentSecrets } from './lent.ts';
import type { RunRequest } from './request.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

interface Declared {
  readonly name: string;
  readonly use: SecretUse;
}

/**
 * Grants what the repository's policy lends to its runs, and what the requester asked for by `--secret`. Throws
 * `PolicyDeniedError` (policy or the secret's scopes do not allow it), `NotFoundError` (nobody has set it).
 */
export async function grantSecrets(scope: RunScope): Promise<LentSecrets> {
  const { system, run, repository, request, loaded, redactor } = scope;
  const wanted = declaredSecrets(loaded.policy, request);
  if (wanted.length === 0) return { hook: null, env: {}, lent: [] };
  const { drivers, dir } = await system.secrets();
  const broker = openBroker({
    drivers,
    dir,
    redactor,
    clock: system.clock,
    record: (event) => run.log.append({ ...event, action: 'secret.use' }),
  });
  const secrets = new RunSecrets(broker, {
    id: run.id,
    repository: repository.name,
    agent: request.agent.kind,
    workflow: null,
    environment: null,
  });
  scope.later(async () => {
    await secrets.end();
    await broker.close();
  });
  const env: Record<string, string> = {};
  const lent: { host: string; signal: AbortSignal }[] = [];
  for (const { name, use } of wanted) {
    const host = use.kind === 'header' ? use.host : 'sandbox';
    const decision = run.log.decide(loaded.policy, { action: 'secret.use', name, host });
    if (decision.effect !== 'permit') {
      throw new PolicyDeniedError(`the secret ${name} is not lent: ${decision.reason}`, recorded(decision).rules);
    }
    const grant = await secrets.grant(name, use);
    if (use.kind === 'header') {
      env[name] = grant.placeholder;
      lent.push({ host, signal: grant.signal });
    } else if (use.kind === 'env') {
      env[use.variable] = (await broker.reveal(grant.id, run.id)).reveal().toString('utf8');
      scope.warn(
        `the value of ${name} is in the sandbox, as $${use.variable}: ${decision.rules.map(refText).join(', ')}`,
      );
    } else {
      throw new UsageError(`${name}: a secret cannot be lent as a file yet`, {
        remedy: 'use: {env: VARIABLE} or a header',
      });
    }
  }
  return { hook: secrets, env, lent };
}

/** The values of all that may be lent, for the redactor alone. */
export async function learn(
  system: System,
  request: RunRequest,
  policy: EffectivePolicy,
  redactor: Redactor,
): Promise<void> {
  const wanted = declaredSecrets(policy, request);
  if (wanted.length === 0) return;
  const { drivers } = await system.secrets().catch(() => ({ drivers: [] })); // the grant fails, and says why
  for (const name of new Set(wanted.map((secret) => secret.name))) {
    for (const driver of drivers) {
      const found = await driver.read(name).catch(() => null);
      if (found !== null) redactor.add(name, found.value.reveal());
    }
  }
}

/** Each with its use: those of the repository's own document, and any document's that the requester named. */
function declaredSecrets({ documents }: EffectivePolicy, request: RunRequest): Declared[] {
  const { repository, organisation } = documents;
  const asked = (organisation?.secrets ?? []).filter(({ name }) => request.grants.secrets.includes(name));
  const all = [...(repository?.secrets ?? []), ...asked];
  const unique = new Map(all.map((secret) => [`${secret.name} ${secret.use.host ?? secret.use.env ?? ''}`, secret]));
  return [...unique.values()].map(({ name, use }) => {
    const { host, header, env } = use;
    return {
      name,
      use: parseUse({
        ...(host === undefined ? {} : { host }),
        ...(header === undefined ? {} : { header }),
        ...(env === undefined ? {} : { env }),
      }),
    };
  });
}
