/** From a decided request to a sandbox with the repository in it, its gateway open, and everything about it recorded. */
import { mkdir } from 'node:fs/promises';
import type { Quarantine } from '../gateways/git/quarantine.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { prepareCheckout } from './checkout.ts';
import { CommandRecord } from './command-record.ts';
import { lendSecrets } from './lent.ts';
import { openNetwork, type RunNetwork } from './network.ts';
import { ORIGIN, ORIGIN_PLACE, type Origin, openOrigin, runQuarantine } from './origin.ts';
import type { RunScope } from './scope.ts';
import { uncommittedWork } from './workspace.ts';

export interface Prepared {
  readonly sandbox: Sandbox;
  readonly origin: Origin;
  readonly network: RunNetwork;
  /** What the agent's commands find in their environment besides the usual. */
  readonly env: Readonly<Record<string, string>>;
}

export async function prepare(scope: RunScope): Promise<Prepared> {
  const { system, repository, request, loaded, run, dir } = scope;
  const { policy, toolbox } = loaded;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const checkout = await prepareCheckout({
    home: system.home,
    repository,
    paths: request.paths,
    depth: policy.git.fetch.depth,
    owner: system.guestOwner,
    clock: system.clock,
  });
  scope.later(() => checkout.release());
  for (const notice of [...repository.notices, ...checkout.notices]) scope.note(notice);

  const secrets = await lendSecrets(scope);
  const network = await openNetwork(scope, secrets);
  const quarantine = runQuarantine(dir, repository, checkout); // beside the sandbox
  const made = quarantine.catch(() => {});
  scope.later(() => made);
  const sandbox = await system.sandbox.create({
    runId: run.id,
    runDir: dir,
    workspace: { kind: 'checkout', dir: checkout.dir },
    toolbox,
    limits: policy.limits,
    etc: { gitconfig: GIT_CONFIGURATION, 'resolv.conf': 'nameserver 127.0.0.1\n' },
    hostFiles: network.hostFiles,
    files: { task: `${request.task ?? ''}\n` },
    secretFiles: secrets.files,
  });
  scope.later(() => sandbox.destroy());
  scope.record = new CommandRecord(sandbox, run.log, loaded, (why) => scope.stop.abort(why));

  scope.later(() => network.close());
  const origin = await openGateways(scope, sandbox, network, await quarantine);
  await run.started(sandbox, checkout.base, toolbox);
  if (scope.io.notes) {
    const uncommitted = uncommittedWork(repository, checkout.view).catch(() => null); // beside the agent's own work
    scope.later(async () => scope.note(await uncommitted));
  }
  return { sandbox, origin, network, env: { ...network.env, ...secrets.env } };
}

/** One request for all sockets, since each is a way to the sandbox's helper and back. */
async function openGateways(
  scope: RunScope,
  sandbox: Sandbox,
  network: RunNetwork,
  quarantine: Quarantine,
): Promise<Origin> {
  const { repository, branch, loaded, run } = scope;
  const [socket = -1, ...exits] = await sandbox.listen([ORIGIN_PLACE, ...network.places]);
  const serving = network.start(exits);
  serving.catch(() => {});
  const origin = await openOrigin({ quarantine, socket, repository, branch, policy: loaded.policy, log: run.log });
  scope.later(() => origin.close());
  await serving;
  return origin;
}

/** `/etc/gitconfig` inside: `origin` is the gateway, and there is nothing of the user's own configuration. */
const GIT_CONFIGURATION = `[remote "origin"]
	url = ${ORIGIN}
	fetch = +refs/heads/*:refs/remotes/origin/*
[user]
	name = Cordon agent
	email = agent@cordon.invalid
[advice]
	detachedHead = false
[init]
	defaultBranch = main
`;
