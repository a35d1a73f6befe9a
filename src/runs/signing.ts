/**
 * Signs a run's commits with a key that exists in this process's memory only, from the first signature to the run's end.
 * What the guest asks for is read strictly, decided upon, recorded, signed, recorded.
 */
import { createHash } from 'node:crypto';
import { certifyRun, loadOrCreateAuthority, type RunKey } from '../attest/authority.ts';
import { joinCommit, splitCommit } from '../attest/ssh/commit.ts';
import { fingerprint } from '../attest/ssh/keys.ts';
import { parseSshSignature, signMessage, verifyMessage } from '../attest/ssh/sshsig.ts';
import { SshFormatError } from '../attest/ssh/wire.ts';
import { type Clock, timestamp } from '../base/clock.ts';
import { digest } from '../base/digest.ts';
import { CordonError } from '../base/errors.ts';
import { git } from '../base/git.ts';
import { ObjectReader } from '../base/git-objects.ts';
import type { Quarantine } from '../gateways/git/quarantine.ts';
import type { SignVerdict } from '../gateways/git/sign.ts';
import { parseSignPayload, requireOfThisRun, type SignPayload, SignRefusal } from '../gateways/git/sign-payload.ts';
import type { Decision, EffectivePolicy } from '../policy/index.ts';
import { type RunLog, recorded } from './run-log.ts';

/** Requests of one run, refused ones included: each is two records for ever. No more commits are ever taken in a push. */
export const MAX_SIGNATURES = 5_000;
/** Commits of the history that are looked through for an author line. */
const HISTORY = 20_000;
const NAMESPACE = 'git';

export interface SignerOptions {
  readonly run: string;
  /** Who asked for the run. */
  readonly requester: string;
  /** Milliseconds since 1970 at which the run began. */
  readonly started: number;
  readonly clock: Clock;
  readonly policy: EffectivePolicy;
  readonly log: RunLog;
  readonly quarantine: Quarantine;
  /** Folder of the installation's keys. */
  readonly keys: string;
  /** Resolves when somebody says yes to what the policy asks; throws a `CordonError` otherwise. */
  ask(decision: Decision, what: string): Promise<unknown>;
}

export class RunSigner {
  readonly #options: SignerOptions;
  #key: Promise<RunKey> | null = null;
  /** Commits that were signed: a next one may stand on them before they are pushed. */
  readonly #signed = new Set<string>();
  #turn: Promise<unknown> = Promise.resolve();
  #asked = 0;
  #closed = false;

  constructor(options: SignerOptions) {
    this.#options = options;
  }

  /** One after the other; never throws for what the guest sent. */
  sign(payload: Buffer): Promise<SignVerdict> {
    if (this.#closed) return Promise.resolve({ refusal: 'the run has ended' });
    if (++this.#asked > MAX_SIGNATURES)
      return Promise.resolve({ refusal: `this run has asked for more than ${MAX_SIGNATURES} signatures` });
    const verdict = this.#turn.catch(() => {}).then(() => this.#sign(payload));
    this.#turn = verdict;
    return verdict;
  }

  /** Nothing is signed any more, and the key is forgotten. */
  close(): void {
    this.#closed = true;
    this.#key = null;
  }

  /** True for a commit object with a good signature by this run's own certified key. */
  async isSigned(commit: Buffer): Promise<boolean> {
    const run = await this.#key;
    if (run === null) return false;
    try {
      const { payload, signature } = splitCommit(commit, this.#options.quarantine.objectFormat);
      if (signature === null) return false;
      const parsed = parseSshSignature(signature);
      const own = parsed.certificate?.blob.equals(run.certificate.blob) ?? false;
      return own && verifyMessage(parsed, payload, NAMESPACE);
    } catch (error) {
      if (error instanceof SshFormatError) return false;
      throw error;
    }
  }

  async #sign(bytes: Buffer): Promise<SignVerdict> {
    const { log, quarantine } = this.#options;
    const resource = { payload: digest(bytes), tree: null, parents: [], author: null, committer: null };
    let cause: number | null = null;
    const intent = async (payload: SignPayload | null, decision?: Decision) => {
      const found = payload === null ? {} : factsOf(payload);
      cause = await log.append(
        {
          type: 'git.sign.decided',
          action: 'git.sign',
          resource: { ...resource, ...found },
          ...(decision === undefined ? {} : { decision: recorded(decision) }),
        },
        'agent',
      );
    };
    const outcome = (commit: string | null, reason: string | null) =>
      log.append(
        {
          type: 'git.signed',
          action: 'git.sign',
          resource: { payload: resource.payload, commit },
          outcome: { result: commit === null ? 'refused' : 'signed', reason },
          cause,
        },
        'agent',
      );
    try {
      const payload = await this.#read(bytes, intent);
      await this.#decide(payload, intent);
      const { key, certificate } = await this.#ownKey();
      const signature = signMessage(bytes, NAMESPACE, key, certificate);
      const commit = oidOf(joinCommit(bytes, signature, quarantine.objectFormat), quarantine.objectFormat);
      await outcome(commit, null);
      this.#signed.add(commit);
      return { signature };
    } catch (error) {
      const refused = error instanceof SignRefusal;
      const reason = refused || error instanceof CordonError ? error.message : 'the signature could not be made';
      if (cause !== null) await outcome(null, reason);
      if (refused || error instanceof CordonError) return { refusal: reason };
      throw error;
    }
  }

  /** What it is and whether it fits this run. A refusal is recorded without a decision: the policy is not asked about it. */
  async #read(bytes: Buffer, intent: (payload: SignPayload | null) => Promise<void>): Promise<SignPayload> {
    const { quarantine, clock, started } = this.#options;
    let payload: SignPayload | null = null;
    try {
      payload = parseSignPayload(bytes, quarantine.objectFormat);
      await requireOfThisRun(payload, {
        started,
        now: clock.now(),
        known: (oid) => this.#known(oid),
        authored: (line) => this.#authored(line),
      });
      return payload;
    } catch (error) {
      await intent(payload);
      throw error;
    }
  }

  /** For author and committer both: the first who is not simply permitted is the one that counts. */
  async #decide(
    payload: SignPayload,
    intent: (payload: SignPayload, decision: Decision) => Promise<void>,
  ): Promise<void> {
    const { log, policy, ask } = this.#options;
    const mails = [...new Set([payload.author.mail, payload.committer.mail])];
    const decisions = mails.map((author) => log.decide(policy, { action: 'git.sign', author }));
    const of = (effect: Decision['effect']) => decisions.find((decision) => decision.effect === effect);
    const decision = of('deny') ?? of('ask') ?? (decisions[0] as Decision);
    await intent(payload, decision);
    const { reason, remedy } = decision;
    if (decision.effect === 'deny') throw new SignRefusal(remedy === undefined ? reason : `${reason} → ${remedy}`);
    if (decision.effect === 'ask') await ask(decision, `a commit signed for ${mails.join(' and ')}`);
  }

  async #known(oid: string): Promise<boolean> {
    const { base, view } = this.#options.quarantine;
    if (oid === base || this.#signed.has(oid)) return true;
    const reader = new ObjectReader(view);
    try {
      return (await reader.info(oid))?.type === 'commit';
    } finally {
      reader.close();
    }
  }

  async #authored(line: string): Promise<boolean> {
    const { view, base } = this.#options.quarantine;
    const format = ['--format=%an <%ae> %ad', '--date=raw', '--no-show-signature', '--no-mailmap', '--no-color'];
    const args = ['log', '--all', `--max-count=${HISTORY}`, ...format, base, '--'];
    const { exitCode, stdout } = await git(view, args, { timeout: 60_000, maxOutput: 32 * 1024 * 1024 });
    return exitCode === 0 && stdout.toString('utf8').split('\n').includes(line);
  }

  #ownKey(): Promise<RunKey> {
    if (this.#closed) throw new SignRefusal('the run has ended');
    this.#key ??= this.#certify().catch((error: unknown) => {
      this.#key = null;
      throw error;
    });
    return this.#key;
  }

  async #certify(): Promise<RunKey> {
    const { keys, clock, run, requester, started, policy, log } = this.#options;
    const authority = await loadOrCreateAuthority(keys, timestamp(clock.now()));
    const principals = [`agent:${run}`, requester].filter((name) => /^[^\s,"*?!\p{Cc}]{1,256}$/u.test(name));
    const made = certifyRun({ id: run, principals, started, limit: policy.limits.wallClock }, authority);
    const { serial, keyId, validAfter, validBefore } = made.certificate;
    await log.append({
      type: 'git.certified',
      action: 'git.sign',
      resource: {
        serial: String(serial),
        keyId,
        key: fingerprint(made.key.blob),
        authority: fingerprint(authority.blob),
        principals,
        validAfter: timestamp(Number(validAfter) * 1000),
        validBefore: timestamp(Number(validBefore) * 1000),
      },
    });
    return made;
  }
}

function factsOf({ tree, parents, author, committer }: SignPayload) {
  return { tree, parents: [...parents], author: author.mail, committer: committer.mail };
}

function oidOf(commit: Buffer, format: 'sha1' | 'sha256'): string {
  return createHash(format).update(`commit ${commit.length}\0`).update(commit).digest('hex');
}
