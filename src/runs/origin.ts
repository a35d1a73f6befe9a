/** The git gateway of one run: `origin` inside, a quarantine repository outside. */

import { openQuarantine, type Quarantine } from '../gateways/git/quarantine.ts';
import type { RefCommand } from '../gateways/git/receive.ts';
import { type GitServer, type RefVerdict, startGitServer } from '../gateways/git/server.ts';
import type { Decision, EffectivePolicy } from '../policy/index.ts';
import type { ListeningPlace, ListeningSocket } from '../sandbox/sandbox.ts';
import type { Checkout } from './checkout.ts';
import { fetchDecider } from './origin-fetch.ts';
import { type RunLog, recorded } from './run-log.ts';
import type { RunSigner, SignerOptions } from './signing.ts';
import type { Repository } from './workspace.ts';

/** The port of the git protocol, on the sandbox's own loopback. */
export const ORIGIN_PLACE: ListeningPlace = { port: 9418, how: 'tcp' };
export const ORIGIN = `http://127.0.0.1:${ORIGIN_PLACE.port}/origin`;

export interface Origin {
  readonly quarantine: Quarantine;
  /** Seq of the event that recorded the last accepted push; null when there was none. */
  received(): number | null;
  /** True for a commit object that this run's own key signed. */
  isSigned(commit: Buffer): Promise<boolean>;
  close(): Promise<void>;
}

export interface OriginRequest {
  readonly quarantine: Quarantine;
  /** Listens at {@link ORIGIN_PLACE}; the server's from now on. */
  readonly socket: ListeningSocket;
  readonly repository: Repository;
  /** Short name of the one branch that is delivered; null when nothing is. */
  readonly branch: string | null;
  readonly policy: EffectivePolicy;
  readonly log: RunLog;
  readonly signer: Pick<SignerOptions, 'run' | 'requester' | 'clock' | 'keys' | 'ask'>;
}

/** Where the run's pushes will arrive; needs no sandbox, and can be made beside it. */
export function runQuarantine(runDir: string, repository: Repository, checkout: Checkout): Promise<Quarantine> {
  return openQuarantine({
    runDir,
    view: checkout.view,
    // What a partial checkout leaves out is not in the view, but commits made on top of it refer to it.
    furtherObjects: checkout.partial ? [repository.objectsDir] : [],
    base: checkout.base,
    baseBranch: checkout.branch,
    shallow: checkout.shallow,
    objectFormat: repository.objectFormat,
  });
}

export async function openOrigin(request: OriginRequest): Promise<Origin> {
  const { quarantine } = request;
  let permitted: number | null = null;
  let received: number | null = null;
  const decideRef = async (command: RefCommand): Promise<RefVerdict> => {
    const seq = await recordPush(request, command);
    const refusal = await refuse(request, command, seq);
    if (refusal !== null) return { permit: false, reason: refusal };
    permitted = seq;
    return { permit: true };
  };
  const onPush = () => {
    received = permitted; // before that git itself may still find the objects unsound
  };
  const started = request.signer.clock.now();
  let signer: Promise<RunSigner> | null = null;
  // Made with the first signature: neither the key nor what makes it costs a run that commits nothing.
  const own = () => {
    signer ??= import('./signing.ts').then(({ RunSigner }) => {
      const { policy, log } = request;
      return new RunSigner({ ...request.signer, policy, log, quarantine, started });
    });
    return signer;
  };
  const sign = request.branch === null ? {} : { sign: async (payload: Buffer) => (await own()).sign(payload) };
  const { repository, policy, log, signer: asking } = request;
  const ask = asking.ask.bind(asking);
  const decideFetch = fetchDecider({ repository: repository.name, ref: quarantine.baseRef, policy, log, ask });
  const options = { quarantine, decideRef, decideFetch, onPush, ...sign };
  const server: GitServer = await startGitServer(options, { fd: request.socket });
  return {
    quarantine,
    received: () => received,
    isSigned: async (commit) => (await signer)?.isSigned(commit) ?? false,
    async close() {
      (await signer)?.close();
      await server.close();
    },
  };
}

function recordPush({ log, repository }: OriginRequest, command: RefCommand): Promise<number> {
  const known = (oid: string) => (/^0+$/.test(oid) ? null : oid);
  return log.append(
    {
      type: 'git.received',
      action: 'git.push',
      resource: {
        repository: repository.name,
        commands: [{ ref: command.ref, from: known(command.old), to: known(command.new) }],
        packBytes: 0,
      },
    },
    'agent',
  );
}

/** The reason why a ref may not be pushed; null for the run's own branch, whose objects are judged when it is delivered. */
async function refuse(request: OriginRequest, command: RefCommand, cause: number): Promise<string | null> {
  const { repository, branch, log, policy } = request;
  const own = branch !== null && command.ref === `refs/heads/${branch}` && command.kind !== 'delete';
  if (own) return null;
  const decision = log.decide(policy, {
    action: 'git.push',
    repository: repository.name,
    ref: command.ref,
    kind: command.kind,
    tag: command.ref.startsWith('refs/tags/'),
    changedPaths: [],
    changedLines: 0,
    largestFile: 0,
    commits: 0,
    authors: [],
    signed: false,
    secrets: false,
  });
  const reason = reasonFor(decision, branch);
  await log.append({
    type: 'git.decided',
    action: 'git.push',
    resource: {
      repository: repository.name,
      ref: command.ref,
      kind: command.kind,
      commits: 0,
      changedPaths: 0,
      changedLines: 0,
    },
    outcome: { result: 'refused', reason },
    cause,
    decision: recorded(decision),
  });
  return reason;
}

function reasonFor(decision: Decision, branch: string | null): string {
  if (decision.effect === 'deny') return decision.reason;
  return branch === null ? 'this run delivers nothing' : `this run delivers refs/heads/${branch} and no other ref`;
}
