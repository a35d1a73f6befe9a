/** Wires the system for one machine: the only file that reads every driver table. */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openContentStore } from './audit/content.ts';
import { type AuditLog, openAuditLog } from './audit/log.ts';
import { readEvents } from './audit/read.ts';
import { systemClock } from './base/clock.ts';
import { AuditInvalidError, EnforcementError } from './base/errors.ts';
import type { ForgeSettings } from './config/forges.ts';
import { prepareHome } from './config/home.ts';
import type { NetworkAccess } from './config/network.ts';
import { type Paths, resolvePaths } from './config/paths.ts';
import type { NetworkSettings } from './config/schema.ts';
import type { Source } from './policy/index.ts';
import { DecisionMemo } from './runs/decision-memo.ts';
import { closeLostRuns, type LeftBehind } from './runs/registry.ts';
import { sweepExpired } from './runs/retention.ts';
import { isRunState } from './runs/run.ts';
import type { System } from './runs/system.ts';
import { sandboxDrivers } from './sandbox/index.ts';
import { removeStale } from './sandbox/limits.ts';
import { guestOwner } from './sandbox/owner.ts';
import { fileDigests } from './sandbox/toolbox-digests.ts';
import type { OpenedSecrets, SecretsSettings } from './secrets/sources.ts';
import { openStore, type RunRecord, type Store } from './store/index.ts';

export interface ComposeOptions {
  /** Instead of `$CORDON_HOME`. */
  readonly home?: string;
  /** Further places of secrets, from the user's settings. */
  readonly secrets?: SecretsSettings | undefined;
  /** How this machine's network lets runs out, from the user's settings. */
  readonly network?: NetworkSettings | undefined;
  readonly forges?: readonly ForgeSettings[] | undefined;
  /** MCP server → the folder it is made of. */
  readonly mcpFolders?: Readonly<Record<string, string>> | undefined;
}

/**
 * Opens everything a run needs, in order of what must not fail: the data folder, the log, the store. Runs that a killed
 * process left are closed here. Throws `EnforcementError`, `AuditUnavailableError`, `StorageError` or `UsageError` with the remedy.
 */
export async function composeSystem(options: ComposeOptions = {}): Promise<System> {
  const paths = resolvePaths(process.env, options);
  const sandbox = sandboxDrivers.bubblewrap();
  sandbox.warm(paths.digests);
  fileDigests.load(paths.digests);
  await prepareHome(paths);
  const network = await networkAccess(options.network);
  const [log, store, organisation] = await Promise.all([
    openAuditLog({ dir: paths.audit, keys: paths.keys }).catch(refuseInvalidLog),
    openStore('sqlite', { path: paths.database }),
    organisationPolicy(paths.organisationPolicy),
  ]);
  await closeLost(paths, store, log);
  const content = openContentStore({ dir: join(paths.audit, 'content'), keys: paths.keys });
  // A few at a time: whoever starts a run does not wait for months of them. `cordon runs prune` takes the rest.
  await sweepExpired({ store, log, content, clock: systemClock }, { id: 'system:cordon', kind: 'system' }, 20);
  let secrets: Promise<OpenedSecrets> | null = null;
  return {
    home: paths.home,
    keys: paths.keys,
    runs: paths.runs,
    clock: systemClock,
    store,
    log,
    content,
    memo: new DecisionMemo(paths.home, paths.keys),
    async secrets() {
      // Once: what the environment holds of them is taken out of it.
      secrets ??= import('./secrets/sources.ts').then(({ openSources }) =>
        openSources(paths, options.secrets ?? { sources: [] }, process.env),
      );
      return { drivers: (await secrets).drivers, dir: paths.secrets };
    },
    network,
    forges: options.forges ?? [],
    mirrors: paths.mirrors,
    async models() {
      const { loadModelSettings } = await import('./gateways/llm/settings.ts');
      return loadModelSettings({ organisation: paths.organisationProviders, user: paths.providersFile });
    },
    mcpFolders: options.mcpFolders ?? {},
    agents: { tools: paths.tools, path: process.env.PATH ?? '', node: process.execPath },
    sandbox,
    guestOwner: guestOwner(),
    organisation,
    async close() {
      const digests = fileDigests.save(paths.digests).catch(() => {}); // it only saves the next process time
      const ends = await Promise.allSettled([log.close(), store.close(), digests]);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    },
  };
}

/** Read before anything starts: a file that is wrong is a user's mistake, not a run's failure. */
async function networkAccess(settings: NetworkSettings | undefined): Promise<NetworkAccess> {
  if (settings === undefined) return {};
  const { loadNetworkAccess } = await import('./config/network.ts');
  return loadNetworkAccess(settings);
}

/** A log that does not go on from what was signed records nothing: no run starts. */
function refuseInvalidLog(cause: unknown): never {
  if (!(cause instanceof AuditInvalidError)) throw cause;
  const remedy = cause.remedy === undefined ? {} : { remedy: cause.remedy };
  throw new EnforcementError('audit-log', cause.message, { cause, ...remedy });
}

/** The ceiling; null where there is none. One that is there and cannot be read stops everything. */
async function organisationPolicy(file: string): Promise<Source | null> {
  try {
    const { uid, mode } = await stat(file);
    if (uid !== 0 || (mode & 0o022) !== 0) {
      throw new EnforcementError('ceiling', `the organisation's policy ${file} can be changed by others than root`, {
        remedy: `chown root:root ${file} && chmod go-w ${file}`,
      });
    }
    return { file, text: await readFile(file, 'utf8') };
  } catch (cause) {
    if (cause instanceof EnforcementError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new EnforcementError(
      'ceiling',
      `the organisation's policy ${file} cannot be read: ${(cause as Error).message}`,
      {
        cause,
        remedy: `let this user read it, or remove it as root`,
      },
    );
  }
}

/** What a killed process left: its groups, its folders, and runs without an end. */
async function closeLost(paths: Paths, store: Store, log: AuditLog): Promise<void> {
  const lost = await closeLostRuns(store, systemClock, async (run) => {
    await removeStale((id) => id !== run.id);
    await clearFolder(join(paths.runs, run.id));
    return recordLoss(paths, log, run);
  });
  if (lost.length > 0) await log.flush();
}

/** Of a run's folder only what is meant to be kept stays: not what was pushed, nor a recording that nobody has encrypted. */
async function clearFolder(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) if (name !== 'artifacts') await rm(join(folder, name), { recursive: true, force: true });
}

/** Records the loss, unless the run's end is in the log already: then only its row was left behind. */
async function recordLoss(paths: Paths, log: AuditLog, run: RunRecord): Promise<LeftBehind> {
  const { started, stopped } = boundaries(paths, run);
  if (stopped !== undefined) return stopped;
  const common = {
    run: run.id,
    principal: { id: 'system:cordon', kind: 'system' as const },
    action: 'run.start',
    resource: {},
  };
  const reason = `the process that drove it (${run.owner.pid}) is gone`;
  const { seq } =
    started === undefined
      ? await log.append({ ...common, type: 'run.state', resource: { from: run.state, to: 'lost' } })
      : await log.append({ ...common, type: 'run.lost', outcome: { reason }, cause: started });
  return { lastAuditSeq: seq };
}

function boundaries(paths: Paths, run: RunRecord): { readonly started?: number; readonly stopped?: LeftBehind } {
  const found: { started?: number; stopped?: LeftBehind } = {};
  if (run.firstAuditSeq === null) return found;
  for (const { seq, event } of readEvents(paths.audit, { run: run.id, from: run.firstAuditSeq })) {
    if (event.type === 'run.started') found.started = seq;
    if (event.type === 'run.stopped' && isRunState(event.outcome.status)) {
      found.stopped = { lastAuditSeq: seq, state: event.outcome.status };
    }
  }
  return found;
}
