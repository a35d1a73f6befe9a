import { type AuditLog, openAuditLog } from '../audit/log.ts';
import { loginName } from '../base/login.ts';
import { prepareHome } from '../config/home.ts';
import { loadSettings } from '../config/load.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import type { Principal } from '../runs/request.ts';
import { type OpenedSecrets, openSources } from '../secrets/sources.ts';
import type { Context } from './context.ts';
import { requester } from './run-request.ts';

/** This machine's secrets, for the verbs that look at them or change them. */
export async function localSecrets(context: Context): Promise<OpenedSecrets & { paths: Paths }> {
  const paths = resolvePaths(context.env);
  await prepareHome(paths);
  const { secrets } = await loadSettings(paths.configFile);
  return { paths, ...openSources(paths, secrets ?? { sources: [] }, { ...context.env }) };
}

/** The audit log for one change by the person at the command line. */
export async function withLog<T>(paths: Paths, work: (log: AuditLog, principal: Principal) => Promise<T>): Promise<T> {
  const principal = requester(await loadSettings(paths.configFile), loginName());
  const log = await openAuditLog({ dir: paths.audit, keys: paths.keys });
  try {
    return await work(log, principal);
  } finally {
    await log.close();
  }
}
