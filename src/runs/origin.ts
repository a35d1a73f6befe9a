/** The git gateway of one run: `origin` inside, a quarantine repository outside. */

import { openQuarantine, type Quarantine } from '../gateways/git/quarantine.ts';
import { startGitServer } from '../gateways/git/server.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import type { ListeningPlace, ListeningSocket } from '../sandbox/sandbox.ts';
import type { Checkout } from './checkout.ts';
import { fetchDecider } from './origin-fetch.ts';
import { type LastPush, PushDesk } from './push-desk.ts';
import type { PushReview } from './push-review.ts';
import type { RunLog } from './run-log.ts';
import type { RunSigner, SignerOptions } from './signing.ts';
import type { Repository } from './workspace.ts';

/** The port of the git protocol, on the sandbox's own loopback. */
export const ORIGIN_PLACE: ListeningPlace = { port: 9418, how: 'tcp' };
export const ORIGIN = `http://127.0.0.1:${ORIGIN_PLACE.port}/origin`;

export interface Origin {
  readonly quarantine: Quarantine;
  /** Null when the run delivers nothing. */
  readonly review: PushReview | null;
  /** From now on the run's own push is taken, to be judged by who calls this. */
  deliver(): void;
  /** The last push that was taken; null when there was none. */
  last(): LastPush | null;
  /** True for a commit object that this run's own key signed. */
  isSigned(commit: Buffer): Promise<boolean>;
  close(): Promise<void>;
}

export interface OriginRequest {
  readonly quarantine: Quarantine;
  /** Listens at {@link ORIGIN_PLACE}; the server's from now on. */
  readonly socket: ListeningSocket;
  readonly repository: Repository;
  readonly review: PushReview | null;
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
    refs: checkout.refs,
    objectFormat: repository.objectFormat,
  });
}

export async function openOrigin(request: OriginRequest): Promise<Origin> {
  const { quarantine, repository, review, policy, log } = request;
  const started = request.signer.clock.now();
  let signer: Promise<RunSigner> | null = null;
  // Made with the first signature: neither the key nor what makes it costs a run that commits nothing.
  const own = () => {
    signer ??= import('./signing.ts').then(
      ({ RunSigner }) => new RunSigner({ ...request.signer, policy, log, quarantine, started }),
    );
    return signer;
  };
  const isSigned = async (commit: Buffer) => (await signer)?.isSigned(commit) ?? false;
  const desk = new PushDesk({ repository, policy, log, review, isSigned });
  const sign = review === null ? {} : { sign: async (payload: Buffer) => (await own()).sign(payload) };
  const { signer: asking } = request;
  const ask = asking.ask.bind(asking);
  const decideFetch = fetchDecider({ repository: repository.name, base: quarantine.baseRef, policy, log, ask });
  const server = await startGitServer({ quarantine, judge: desk, decideFetch, ...sign }, { fd: request.socket });
  return {
    quarantine,
    review,
    isSigned,
    deliver: () => desk.deliver(),
    last: () => desk.last,
    async close() {
      (await signer)?.close();
      await server.close();
    },
  };
}
