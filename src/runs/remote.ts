/** A remote repository, brought to this machine: its mirror in the shape of a local one. */
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CancelledError, CordonError, PolicyDeniedError, UsageError, WorkspaceError } from '../base/errors.ts';
import { git, isOid } from '../base/git.ts';
import type { Redactor } from '../base/redact/index.ts';
import { safeText } from '../base/term.ts';
import type { ForgeSettings } from '../config/forges.ts';
import { type Forge, ForgeError, type Mirror, openForge, openMirror } from '../forge/index.ts';
import { compilePolicy, type Decision, decide, refText } from '../policy/index.ts';
import type { RemoteName } from '../policy/remotes.ts';
import { type Found, withDocument } from './discover.ts';
import { forgeToken } from './forge-token.ts';
import { recordedUpdate } from './remote-record.ts';
import type { RunRequest } from './request.ts';
import { recorded } from './run-log.ts';
import type { RunIo, System } from './system.ts';
import type { Notice, Repository } from './workspace.ts';

type RemoteRequest = RunRequest & { readonly repo: RemoteName };

const MAX_MIRROR = 20 * 1024 ** 3;
/** Milliseconds before the second and the third try. */
const WAITS = [500, 2_000];

/** As {@link discover}, of a remote repository; the caller closes `repository.remote`. */
export async function discoverRemote(
  system: System,
  request: RunRequest,
  io: RunIo,
  redactor: Redactor,
): Promise<Found> {
  const { repo } = request;
  if (repo === null) throw new UsageError('no remote repository was named', { remedy: 'name one with --repo URL' });
  const repository = await openRemote(system, { ...request, repo }, io, redactor);
  try {
    return await withDocument(request, repository);
  } catch (error) {
    repository.remote?.close();
    throw error;
  }
}

/**
 * Brings the mirror up to date and finds the base in it. The organisation is asked before anything is sent; every fetch is recorded before
 * and after. The caller closes `remote`.
 *
 * Throws `PolicyDeniedError` (the organisation does not let runs start on it), `UsageError` (http:// that no setting permits),
 * `WorkspaceError` (empty, no such base), `ForgeError`.
 */
async function openRemote(system: System, request: RemoteRequest, io: RunIo, redactor: Redactor): Promise<Repository> {
  const { repo } = request;
  const settings = settingsFor(system.forges, repo);
  refusePlain(repo, settings);
  const decision = await mayBegin(system, request);
  const token = forgeToken(system, request, settings, redactor);
  const own = settings?.ca_file === undefined ? [] : [await readAuthorities(settings.ca_file)];
  const maxBytes = settings?.max_size ?? MAX_MIRROR;
  const forge = openForge(settings?.driver ?? 'git', {
    repository: repo,
    scheme: settings?.auth ?? 'basic',
    user: settings?.user ?? 'git',
    token,
    ca: [...own, ...(system.network.extraCa === undefined ? [] : [system.network.extraCa])],
    proxy: system.network.upstreamProxy,
    limits: { packBytes: maxBytes },
    signal: io.signal,
  });
  try {
    io.onProgress({ step: `fetching ${repo.name}` });
    const mirror = await openMirror({
      root: system.mirrors,
      forge,
      maxBytes,
      signal: io.signal,
      crossing: (update) => recordedUpdate(system, request, decision, () => again(update, io)),
    });
    return await asRepository(request, forge, mirror).catch((error) => {
      mirror.release();
      throw error;
    });
  } catch (error) {
    forge.close();
    if (io.signal.aborted && error instanceof CordonError) throw new CancelledError('cancelled by the requester');
    throw error;
  }
}

function settingsFor(all: readonly ForgeSettings[], repo: RemoteName): ForgeSettings | undefined {
  const usual = repo.scheme === 'https' ? 443 : 80;
  return all.find(({ host }) => host === `${repo.host}:${repo.port}` || (host === repo.host && repo.port === usual));
}

function refusePlain({ scheme, host, port }: RemoteName, settings: ForgeSettings | undefined): void {
  if (scheme === 'https' || settings?.plain_http === true) return;
  const place = port === 80 ? host : `${host}:${port}`;
  throw new UsageError('what comes through http:// can be read and changed by everybody on the way', {
    remedy: `write https://, or forges: [{host: "${place}", plain_http: true}] in config.yaml`,
  });
}

/** What the organisation alone says to a run here: the repository's own policy can only be read after it. */
async function mayBegin(system: System, { repo, agent, readOnly, requester }: RemoteRequest): Promise<Decision> {
  const { organisation } = system;
  const ceiling = await compilePolicy(organisation === null ? {} : { organisation });
  const decision = decide(ceiling, { action: 'run.start', agent: agent.kind, repository: repo.name, readOnly });
  if (decision.effect !== 'deny') return decision;
  await system.log.append({
    type: 'mirror.fetch',
    run: null,
    principal: requester,
    action: 'git.fetch',
    resource: { repository: repo.name },
    decision: recorded(decision),
  });
  throw new PolicyDeniedError(`this run may not start: ${decision.reason}`, decision.rules.map(refText), {
    ...(decision.remedy === undefined ? {} : { remedy: decision.remedy }),
  });
}

async function readAuthorities(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: Error) => {
    throw new UsageError(`the certificates ${file} cannot be read: ${cause.message}`, {
      cause,
      remedy: 'see ca_file: under forges: in config.yaml',
    });
  });
}

/** What may pass is tried again. Nothing of a try that failed stays. */
async function again<T>(act: () => Promise<T>, io: RunIo): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await act();
    } catch (error) {
      const wait = WAITS[attempt];
      if (!(error instanceof ForgeError) || !error.transient || wait === undefined || io.signal.aborted) throw error;
      io.onProgress({ step: `${error.message}; trying again in ${wait / 1000} s` });
      await sleep(wait, undefined, { signal: io.signal }).catch(() => {});
    }
  }
}

async function asRepository(request: RemoteRequest, forge: Forge, mirror: Mirror): Promise<Repository> {
  const { base, repo } = request;
  const { listing, place, objectsDir } = mirror;
  const main = listing.refs.find(({ name }) => name === listing.head);
  if (main === undefined) {
    throw new WorkspaceError(`${repo.name} has no default branch with a commit`, {
      remedy: 'push a first commit, or set its default branch on the forge',
    });
  }
  const [commit, ref] = await Promise.all([
    ask(mirror, ['--verify', '--quiet', '--end-of-options', `${base}^{commit}`]),
    ask(mirror, ['--symbolic-full-name', '--end-of-options', base]),
  ]);
  if (commit === null || !isOid(commit)) {
    throw new WorkspaceError(`${repo.name} has no commit ${safeText(base)}`, {
      remedy: 'name a branch or tag of it, or a commit that one of these leads to',
    });
  }
  const { uid, gid } = await stat(place.gitDir);
  return {
    name: repo.name,
    dir: place.gitDir,
    gitDir: place.gitDir,
    commonDir: place.gitDir,
    objectsDir,
    objectFormat: listing.objectFormat,
    base: commit,
    policyCommit: main.oid,
    baseBranch: /^refs\/heads\/(.+)$/.exec(ref?.split('\n').at(-1) ?? '')?.[1] ?? null,
    shallow: [],
    owner: { uid, gid },
    notices: noticesOf(listing.odd),
    remote: {
      forge,
      refs: listing.refs,
      close() {
        mirror.release();
        forge.close();
      },
    },
  };
}

async function ask({ place }: Mirror, args: readonly string[]): Promise<string | null> {
  const result = await git(place, ['rev-parse', ...args], { timeout: 20_000, maxOutput: 1024 * 1024 });
  return result.exitCode === 0 ? result.stdout.toString().replace(/\n$/, '') : null;
}

function noticesOf(odd: number): readonly Notice[] {
  if (odd === 0) return [];
  const message = `${odd} branches or tags have names that no policy could decide upon, and are left out`;
  return [{ code: 'odd_names', message }];
}
