/** The secrets of one run: which it gets, what stands for them inside, and that they end with it. */
import { PolicyDeniedError, UsageError } from '../base/errors.ts';
import { Redactor } from '../base/redact/index.ts';
import type { SecretHook } from '../gateways/egress/gateway.ts';
import { refText } from '../policy/index.ts';
import { openBroker, parseUse, RunSecrets, type SecretUse } from '../secrets/index.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';

export interface LentSecrets {
  /** Null when the run has none. */
  readonly hook: SecretHook | null;
  /** Placeholders, by the names of their secrets; and values, where the policy says `env` in words. */
  readonly env: Readonly<Record<string, string>>;
  /** Knows every value lent; null when there is none. */
  readonly redactor: Redactor | null;
  /** Aborts, for each host, when what was lent for it is taken back. */
  readonly lent: readonly { readonly host: string; readonly signal: AbortSignal }[];
}

const NONE: LentSecrets = { hook: null, env: {}, redactor: null, lent: [] };

interface Declared {
  readonly name: string;
  readonly use: SecretUse;
}

/**
 * Grants what the repository's policy lends to its runs, and what the requester asked for by `--secret`. Throws
 * `PolicyDeniedError` (policy or the secret's scopes do not allow it), `NotFoundError` (nobody has set it).
 */
export async function lendSecrets(scope: RunScope): Promise<LentSecrets> {
  const wanted = declaredSecrets(scope);
  if (wanted.length === 0) return NONE;
  const { system, run, repository, request, loaded } = scope;
  const { drivers, dir } = await system.secrets();
  const redactor = new Redactor();
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
  return { hook: secrets, env, redactor, lent };
}

/** Each with its use: those of the repository's own document, and any document's that the requester named. */
function declaredSecrets({ loaded, request }: RunScope): Declared[] {
  const { repository, organisation } = loaded.policy.documents;
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
