import type { AgentProfile } from '../agents/agent.ts';
import { findAgent } from '../agents/found.ts';
import { type Installed, installAgent, whileNobodyInstalls } from '../agents/install.ts';
import { isKnownAgent, isProfile, knownAgentNames, knownAgents } from '../agents/profiles/index.ts';
import { crossing } from '../audit/crossing.ts';
import { UsageError } from '../base/errors.ts';
import { prepareHome } from '../config/home.ts';
import { type Paths, resolvePaths } from '../config/paths.ts';
import type { InstallAgentOptions } from './agents.ts';
import { type Context, outputOf } from './context.ts';
import { withLog } from './secrets-local.ts';

export async function install(context: Context, wanted: string, options: InstallAgentOptions): Promise<void> {
  const out = outputOf(context, options);
  const [name = '', version] = wanted.split('@', 2);
  if (!isKnownAgent(name)) {
    throw new UsageError(`Cordon knows no agent "${name}"`, { remedy: `it knows ${knownAgentNames.join(', ')}` });
  }
  const profile = await knownAgents[name]();
  const paths = resolvePaths(context.env);
  await prepareHome(paths);
  const there = async () => options.force !== true && (await isThere(profile, paths, version));
  const fetched = async () => {
    if (await there()) return null; // whoever was waited for has brought it
    out.progress(`fetching ${profile.package.name}@${version ?? profile.package.version} with npm`);
    return recorded(context, paths, profile, version);
  };
  const waiting = () => out.progress(`waiting for another install of ${profile.title}`);
  const installed = (await there())
    ? null
    : await whileNobodyInstalls(profile, paths.tools, context.signal, waiting, fetched);
  if (installed === null) {
    if (out.json) out.document({ agent: name, version: version ?? profile.package.version, installed: false });
    else out.line(`${profile.title} ${version ?? profile.package.version} is there already, as it was installed`);
    return;
  }
  const { folder, ...done } = installed;
  if (out.json) out.document({ agent: name, ...done, folder, installed: true });
  else {
    out.line(
      `installed ${out.style.bold(profile.title)} ${done.version}: ${done.fileCount} files, ${done.tree}`,
      isProfile(name)
        ? `  cordon run --agent ${name} "what is to be done"`
        : `  cordon run --agent acp "what is to be done" -- ${name}`,
    );
  }
}

async function isThere(profile: AgentProfile, { tools }: Paths, version: string | undefined): Promise<boolean> {
  const found = await findAgent(profile, { tools, path: '', node: process.execPath });
  return found !== null && found.version === (version ?? profile.package.version);
}

function recorded(
  context: Context,
  paths: Paths,
  profile: AgentProfile,
  version: string | undefined,
): Promise<Installed> {
  const { name, package: from } = profile;
  return withLog(paths, (log, principal) => {
    const common = { run: null, principal, action: null };
    const resource = { agent: name, package: from.name, version: version ?? from.version };
    const { env, signal } = context;
    const act = () =>
      installAgent(profile, { tools: paths.tools, env, signal, ...(version === undefined ? {} : { version }) });
    return crossing(log, { ...common, type: 'agent.install', resource }, act, (result) => ({
      ...common,
      type: 'agent.installed',
      resource,
      outcome: result.ok
        ? {
            result: 'done',
            reason: null,
            integrity: result.value.integrity,
            lock: result.value.lock,
            tree: result.value.tree,
          }
        : {
            result: 'failed',
            reason: result.error instanceof Error ? result.error.message : 'unknown',
            integrity: null,
            lock: null,
            tree: null,
          },
    }));
  });
}
