/** From a decided request to a sandbox with the repository in it, its gateway open, and everything about it recorded. */
import { mkdir } from 'node:fs/promises';
import type { Quarantine } from '../gateways/git/quarantine.ts';
import type { Decision } from '../policy/index.ts';
import { GIT_SIGN, type Sandbox } from '../sandbox/sandbox.ts';
import type { AgentLaunch } from './agent.ts';
import { decideAsk } from './ask.ts';
import { branchInside, prepareCheckout } from './checkout.ts';
import { CommandRecord } from './command-record.ts';
import { lendSecrets } from './lent.ts';
import { lockRules } from './lock-rules.ts';
import type { RunMcp } from './mcp.ts';
import { openRunModels, type RunModels } from './models.ts';
import { openNetwork, type RunNetwork } from './network.ts';
import { ORIGIN, ORIGIN_PLACE, type Origin, openOrigin, runQuarantine } from './origin.ts';
import { taskFile } from './prompt.ts';
import { PushReview } from './push-review.ts';
import { offeredEnv, openRecorder } from './recording/run.ts';
import type { RunScope } from './scope.ts';
import { shownRefs } from './shown-refs.ts';
import { uncommittedWork } from './workspace.ts';

export interface Prepared {
  readonly sandbox: Sandbox;
  readonly origin: Origin;
  readonly network: RunNetwork;
  readonly mcp: RunMcp;
  /** How the agent is started. */
  readonly launch: AgentLaunch;
}

export async function prepare(scope: RunScope): Promise<Prepared> {
  const { system, repository, request, loaded, run, dir } = scope;
  const { policy, toolbox } = loaded;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const refs = await shownRefs(repository, branchInside(repository), policy);
  const checkout = await prepareCheckout({
    home: system.home,
    repository,
    paths: request.paths,
    depth: policy.git.fetch.depth,
    refs,
    owner: system.guestOwner,
    clock: system.clock,
  });
  scope.later(() => checkout.release());
  for (const notice of [...repository.notices, ...checkout.notices]) scope.note(notice);

  const secrets = await lendSecrets(scope);
  await openRecorder(scope);
  const network = await openNetwork(scope, secrets);
  const quarantine = runQuarantine(dir, repository, checkout); // beside the sandbox
  const made = quarantine.catch(() => {});
  scope.later(() => made);
  // What is never delivered needs no signature, and gets none.
  const signs = scope.branch !== null;
  const models = await openRunModels(scope);
  const mcp = await openMcp(scope, models.gateway?.token ?? null, checkout.dir);
  const plan = scope.agent.plan(scope, models.gateway);
  const sandbox = await system.sandbox.create({
    runId: run.id,
    runDir: dir,
    workspace: { kind: 'checkout', dir: checkout.dir },
    toolbox,
    limits: policy.limits,
    etc: {
      'resolv.conf': 'nameserver 127.0.0.1\n',
      ...network.etc,
      ...plan.etc,
      gitconfig: GIT_CONFIGURATION + (signs ? SIGNED_WORKSPACE : '') + (network.etc.gitconfig ?? ''),
    },
    hostFiles: network.hostFiles,
    tools: scope.agent.tools,
    homeFiles: plan.home,
    gitSign: signs,
    files: {
      task: taskFile(request, scope),
      'origin.gitconfig': originConfiguration(scope.branch),
      ...(signs ? { gitconfig: SIGNING } : {}),
    },
    secretFiles: secrets.files,
  });
  scope.later(() => sandbox.destroy());
  scope.record = new CommandRecord(sandbox, run.log, loaded, (why) => scope.stop.abort(why));

  scope.later(() => network.close());
  scope.later(() => models.close());
  scope.later(() => mcp.close());
  const origin = await openGateways(scope, sandbox, { network, models, mcp, quarantine: await quarantine });
  await run.started(sandbox, checkout.base, toolbox);
  if (scope.io.notes && repository.remote === null) {
    const uncommitted = uncommittedWork(repository, checkout.view).catch(() => null); // beside the agent's own work
    scope.later(async () => scope.note(await uncommitted));
  }
  const env = { ...offeredEnv(scope.offered), ...network.env, ...models.env, ...mcp.env, ...secrets.env, ...plan.env };
  return { sandbox, origin, network, mcp, launch: { argv: plan.argv, env } };
}

const NO_MCP: RunMcp = { env: {}, places: [], start: async () => {}, close: async () => {} };

/** Nothing of it is loaded for a policy that names no server. */
async function openMcp(scope: RunScope, token: string | null, checkout: string): Promise<RunMcp> {
  if (scope.loaded.policy.mcp.servers.length === 0) return NO_MCP;
  return (await import('./mcp.ts')).openRunMcp(scope, token, checkout);
}

/** One request for all sockets, since each is a way to the sandbox's helper and back. */
async function openGateways(
  scope: RunScope,
  sandbox: Sandbox,
  { network, models, mcp, quarantine }: { network: RunNetwork; models: RunModels; mcp: RunMcp; quarantine: Quarantine },
): Promise<Origin> {
  const { repository, branch, loaded, run, request, system } = scope;
  const [socket = -1, ...exits] = await sandbox.listen([
    ORIGIN_PLACE,
    ...network.places,
    ...models.places,
    ...mcp.places,
  ]);
  const ways = exits.splice(0, network.places.length);
  const questions = exits.splice(0, models.places.length);
  const serving = Promise.all([network.start(ways), models.start(questions), mcp.start(exits)]);
  serving.catch(() => {});
  const signer = {
    run: run.id,
    requester: request.requester.id,
    clock: system.clock,
    keys: system.keys,
    ask: (decision: Decision, what: string) =>
      decideAsk(decision, 'git.sign', what, request, run.log, scope.io, system.clock),
  };
  const { policy } = loaded;
  const review = branch === null ? null : reviewOf(scope, branch);
  const origin = await openOrigin({ quarantine, socket, repository, review, policy, log: run.log, signer });
  scope.later(() => origin.close());
  await serving;
  return origin;
}

function reviewOf(scope: RunScope, branch: string): PushReview {
  const { system, repository, loaded, request, run, io, redactor } = scope;
  const locks = lockRules(scope);
  const secretIn = (bytes: Buffer | string) => redactor.nameIn(bytes);
  return new PushReview({
    repository,
    branch,
    policy: loaded.policy,
    request,
    log: run.log,
    io,
    clock: system.clock,
    secretIn,
    ...(locks && { locks }),
  });
}

/**
 * `/etc/gitconfig` inside: there is nothing of the user's own configuration. `origin` is the gateway, in the run's repository
 * and its linked trees alone: a clone of another one has an `origin` of its own.
 */
const GIT_CONFIGURATION = `[user]
	name = Cordon agent
	email = agent@cordon.invalid
[advice]
	detachedHead = false
[init]
	defaultBranch = main
[includeIf "gitdir:/workspace/.git"]
	path = /run/cordon/origin.gitconfig
[includeIf "gitdir:/workspace/.git/worktrees/"]
	path = /run/cordon/origin.gitconfig
`;

/**
 * With `push`, `git push` without the name of a branch delivers: the one branch that this run may make. Git maps no name that is given to it
 * (`git push origin HEAD`) by a refspec whose source is HEAD, and HEAD by none: what the gateway answers then says what to type.
 * The value is quoted, as a `#` may be in a branch's name; a `"` may not (`branchRef`).
 */
function originConfiguration(branch: string | null): string {
  const push = branch === null ? '' : `\tpush = "HEAD:refs/heads/${branch}"\n`;
  return `[remote "origin"]
	url = ${ORIGIN}
	fetch = +refs/heads/*:refs/remotes/origin/*
${push}`;
}

/** In the workspace alone: repositories that a test suite makes for itself elsewhere are not this run's commits. */
const SIGNED_WORKSPACE = ['/workspace/.git', '/workspace/.git/']
  .map((dir) => `[includeIf "gitdir:${dir}"]\n\tpath = /run/cordon/gitconfig\n`)
  .join('');

/** Each commit is signed by the run's key, which is outside: git calls our program in place of ssh-keygen. */
const SIGNING = `[gpg]
	format = ssh
[gpg "ssh"]
	program = ${GIT_SIGN}
[user]
	signingKey = ${GIT_SIGN}
[commit]
	gpgSign = true
`;
