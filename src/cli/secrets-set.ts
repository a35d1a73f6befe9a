import { crossing } from '../audit/crossing.ts';
import { ConflictError } from '../base/errors.ts';
import type { Paths } from '../config/paths.ts';
import { checkName, checkScopes, type Scopes, type SecretDriver, type SecretEntry } from '../secrets/index.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { readSecret } from './secret-input.ts';
import type { SetOptions } from './secrets.ts';
import { localSecrets, withLog } from './secrets-local.ts';
import { cutRuns, cutText } from './secrets-revoke.ts';
import { scopeText, secretJson } from './secrets-show.ts';

export async function set(context: Context, name: string, options: SetOptions): Promise<void> {
  const out = outputOf(context, options);
  checkName(name);
  const asked = askedScopes(options);
  const { paths, store, drivers } = await localSecrets(context);
  await refuseSecond(name, drivers.slice(1));
  const before = await store.find(name); // before asking: what cannot be opened must not cost a typed value
  const value = await readSecret(context, name);
  const scopes = checkScopes(options.anywhere ? asked : { ...before?.scopes, ...asked });
  const entry = await recorded(paths, name, 'set', scopes, () => store.set(name, value, scopes));
  if (out.json) out.document(secretJson(entry));
  else {
    out.line(
      `${before === null ? 'keeps' : 'has a new value of'} ${out.style.bold(name)} (version ${entry.version}), for ${scopeText(entry)}`,
    );
    for (const line of unmetText(scopes)) out.line(line);
  }
}

/** Who asks for a run does not say which workflow or environment it belongs to: that would be a claim, and no limit. */
function unmetText({ workflows, environments }: Scopes): string[] {
  const kinds = [
    ...(workflows === undefined ? [] : ['workflow']),
    ...(environments === undefined ? [] : ['environment']),
  ];
  if (kinds.length === 0) return [];
  return [
    `no run has it: one of \`cordon run\` belongs to no ${kinds.join(' and no ')} (take the limits away with --anywhere)`,
  ];
}

/** Which of two was meant could not be told when a run asks for it. */
async function refuseSecond(name: string, others: readonly SecretDriver[]): Promise<void> {
  for (const driver of others) {
    if ((await driver.find(name)) === null) continue;
    throw new ConflictError(`${name} comes from elsewhere: the settings name it as a secret of ${driver.source}`, {
      remedy: 'change it there, or take it out of the settings first',
    });
  }
}

function askedScopes(options: SetOptions): Scopes {
  const { repository, agent, workflow, environment, host } = options;
  const all = { repositories: repository, agents: agent, workflows: workflow, environments: environment, hosts: host };
  return checkScopes(Object.fromEntries(Object.entries(all).filter(([, patterns]) => patterns !== undefined)));
}

/** First gone, so that nobody is granted it any more, then out of the runs that have it. */
export async function remove(context: Context, name: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const { paths, store } = await localSecrets(context);
  const entry = await recorded(paths, checkName(name), 'remove', {}, () => store.remove(name));
  const cut = await cutRuns(paths, name);
  if (out.json) out.document({ removed: name, version: entry.version, ...cut });
  else out.line(`removed ${out.style.bold(name)}`, ...cutText(cut, out.style));
}

/** The change between its intent and its outcome in the audit log. */
async function recorded(
  paths: Paths,
  secret: string,
  change: 'set' | 'remove',
  scopes: Scopes,
  act: () => Promise<SecretEntry>,
): Promise<SecretEntry> {
  return withLog(paths, (log, principal) => {
    const common = { run: null, principal, action: 'secret.manage' };
    return crossing(log, { ...common, type: 'secret.change', resource: { secret, change, scopes } }, act, (result) => ({
      ...common,
      type: 'secret.changed',
      resource: { secret, version: result.ok ? result.value.version : null },
      outcome: result.ok
        ? { result: 'done', reason: null }
        : { result: 'failed', reason: result.error instanceof Error ? result.error.message : 'unknown' },
    }));
  });
}
