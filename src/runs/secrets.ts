/** The secrets of one run: which it gets, what stands for them inside, and that they end with it. */
import { basename } from 'node:path';
import { ConflictError, PolicyDeniedError, UsageError } from '../base/errors.ts';
import type { Redactor } from '../base/redact/index.ts';
import { type Decision, type EffectivePolicy, refText } from '../policy/index.ts';
import {
  type Broker,
  type Grant,
  type GuestUse,
  openBroker,
  parseUse,
  placeOf,
  REVOKED,
  RunSecrets,
  type SecretUse,
  shownUse,
} from '../secrets/index.ts';
import { decideAsk } from './ask.ts';
import type { LentSecrets } from './lent.ts';
import type { RunRequest } from './request.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

interface Declared<Use extends SecretUse = GuestUse> {
  readonly name: string;
  readonly use: Use;
}

/**
 * Grants what the repository's policy lends to its runs, and what the requester asked for by `--secret`. Throws
 * `PolicyDeniedError` (policy or the secret's scopes do not allow it), `ApprovalDeniedError`, `NotFoundError` (nobody has set
 * it), `ConflictError` (two for one place), and what the place where it is kept throws.
 */
export async function grantSecrets(scope: RunScope): Promise<LentSecrets> {
  const wanted = declaredSecrets(scope.loaded.policy, scope.request);
  if (wanted.length === 0) return { hook: null, env: {}, files: {}, lent: [] };
  const lender = await openLender(scope);
  const env: Record<string, string> = {};
  const files: Record<string, Buffer> = {};
  const lent: { host: string; signal: AbortSignal }[] = [];
  const put = (variable: string, value: string, name: string) => {
    if (variable in env) throw new ConflictError(`the variable ${variable} would hold ${name} and another secret`);
    env[variable] = value;
  };
  for (const { name, use } of wanted) {
    const { grant, rules } = await lend(scope, lender, { name, use });
    if (use.kind === 'header') {
      put(name, grant.placeholder, name);
      lent.push({ host: use.host, signal: grant.signal });
      continue;
    }
    const value = await inside(lender.broker, grant);
    if (use.kind === 'env') put(use.variable, value.toString('utf8'), name);
    else files[basename(use.path)] = value;
    endWhenRevoked(scope, grant);
    scope.warn(`the value of ${name} is in the sandbox, as ${placeOf(use)}: ${rules}`);
  }
  return { hook: lender.secrets, env, files, lent };
}

export interface Lender {
  readonly broker: Broker;
  readonly secrets: RunSecrets;
  /** What the policy said to the grant that is being made. */
  decision: Decision | null;
}

const lenders = new WeakMap<RunScope, Promise<Lender>>();

/** The run's one lender: what its agent is lent and what its gateways use end together. */
export function openLender(scope: RunScope): Promise<Lender> {
  const open = lenders.get(scope) ?? newLender(scope);
  lenders.set(scope, open);
  return open;
}

async function newLender(scope: RunScope): Promise<Lender> {
  const { system, run, repository, request, redactor } = scope;
  const { drivers, dir } = await system.secrets();
  const broker = openBroker({
    drivers,
    dir,
    redactor,
    clock: system.clock,
    record: (event) => {
      const decision = event.type === 'secret.granted' ? lender.decision : null;
      return run.log.append({
        ...event,
        action: 'secret.use',
        ...(decision === null ? {} : { decision: recorded(decision) }),
      } as Parameters<typeof run.log.append>[0]);
    },
  });
  const facts = {
    id: run.id,
    repository: repository.name,
    agent: request.agent.kind,
    workflow: null,
    environment: null,
  };
  const lender: Lender = { broker, secrets: new RunSecrets(broker, facts), decision: null };
  scope.later(async () => {
    await lender.secrets.end();
    await broker.close();
  });
  return lender;
}

/** For an MCP server itself: in its requests, or in its own sandbox. Throws as {@link grantSecrets}. */
export async function lendToServer(
  scope: RunScope,
  name: string,
  { server, host }: { readonly server: string; readonly host: string },
): Promise<Grant> {
  const use = { kind: 'provider', provider: `mcp:${server}`, host } as const;
  return (await lend(scope, await openLender(scope), { name, use })).grant;
}

/** One secret, decided upon, asked for where the policy asks, and granted. */
async function lend(
  scope: RunScope,
  lender: Lender,
  { name, use }: Declared<SecretUse>,
): Promise<{ grant: Grant; rules: string }> {
  const { run, loaded, request, io } = scope;
  const host = use.kind === 'header' || use.kind === 'provider' ? use.host : 'sandbox';
  const decision = run.log.decide(loaded.policy, { action: 'secret.use', name, host });
  const refuse = async (reason: string) => {
    const resource = { secret: name, use: shownUse(use), reason };
    await run.log.append({ type: 'secret.refused', action: 'secret.use', resource, decision: recorded(decision) });
  };
  if (decision.effect === 'deny') {
    await refuse(decision.reason);
    throw new PolicyDeniedError(`the secret ${name} is not lent: ${decision.reason}`, recorded(decision).rules, {
      ...(decision.remedy === undefined ? {} : { remedy: decision.remedy }),
    });
  }
  if (decision.effect === 'ask') {
    await decideAsk(
      decision,
      'secret.use',
      `lending ${name} as ${placeOf(use)}`,
      request,
      run.log,
      io,
      scope.system.clock,
    );
  }
  lender.decision = decision;
  try {
    const grant = await lender.secrets.grant(name, use);
    run.facts.credentials = [...run.facts.credentials, { name, use: use.kind, where: placeOf(use) }];
    return { grant, rules: decision.rules.map(refText).join(', ') };
  } catch (error) {
    if (error instanceof PolicyDeniedError) await refuse(error.message);
    throw error;
  }
}

/** As `placeholderIn` (lent.ts). */
export async function findPlaceholder(scope: RunScope, text: string, where: string): Promise<string | null> {
  const { broker } = await openLender(scope);
  const [sighting] = broker.findPlaceholders(text);
  if (sighting === undefined) return null;
  await broker.alarm(scope.run.id, sighting, where, null);
  return sighting.name;
}

/** Throws `UsageError` for a value that can be neither a variable nor a file of a sandbox. */
async function inside(broker: Broker, { id, run, name, use }: Grant): Promise<Buffer> {
  const bytes = (await broker.reveal(id, run)).reveal();
  const text = bytes.toString('utf8');
  const fits = !bytes.includes(0) && (use.kind === 'file' || Buffer.from(text).equals(bytes));
  if (fits) return bytes;
  throw new UsageError(`the value of ${name} cannot be lent as ${placeOf(use)}: it has bytes that cannot stand there`, {
    remedy:
      use.kind === 'file'
        ? 'keep it in base64, and let the program decode it'
        : 'lend it as a file, or keep it in base64',
  });
}

/** A value that is inside cannot be taken back from there: what has it ends. */
function endWhenRevoked({ stop }: RunScope, { name, use, signal }: Grant): void {
  const end = () => {
    if (signal.reason !== REVOKED) return;
    const what = `the secret ${name}, whose value was in the sandbox as ${placeOf(use)}, was revoked`;
    stop.abort(new PolicyDeniedError(what, [], { remedy: 'whoever revoked it knows why: cordon audit show' }));
  };
  signal.addEventListener('abort', end, { once: true });
}

/** The values of all that may be lent, for the redactor alone. */
export async function learn(
  system: System,
  request: RunRequest,
  policy: EffectivePolicy,
  redactor: Redactor,
): Promise<void> {
  const servers = policy.mcp.servers.flatMap(({ how }) =>
    how.kind === 'url' ? [how.secret ?? []].flat() : how.secrets,
  );
  const names = new Set([...declaredSecrets(policy, request).map((secret) => secret.name), ...servers]);
  if (names.size === 0) return;
  const { drivers } = await system.secrets().catch(() => ({ drivers: [] })); // the grant fails, and says why
  for (const name of names) {
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
  const unique = new Map(
    all.map(({ name, use }) => [JSON.stringify([name, use]), { name, use: parseUse(use) }] as const),
  );
  return [...unique.values()];
}
