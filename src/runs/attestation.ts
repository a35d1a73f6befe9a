/** The proof that a run's change was permitted: made when it is, carried to wherever the change goes. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadOrCreateAttestor } from '../attest/attestor.ts';
import { BUNDLE_REFS } from '../attest/bundle.ts';
import { diffBetween } from '../attest/diff.ts';
import { issue } from '../attest/issue.ts';
import { canonicalRepository } from '../attest/repository.ts';
import { splitCommit } from '../attest/ssh/commit.ts';
import { fingerprint } from '../attest/ssh/keys.ts';
import { parseSshSignature } from '../attest/ssh/sshsig.ts';
import { CHANGE, type Change, MAX_PATHS, type Statement } from '../attest/statement.ts';
import { proveRecord } from '../audit/proof.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { timestamp } from '../base/clock.ts';
import { digest } from '../base/digest.ts';
import { git, gitBytes, gitDiscovering, gitText } from '../base/git.ts';
import { refText } from '../policy/index.ts';
import type { ExtraRef } from './deliver.ts';
import type { Arrival, Judgement } from './judge.ts';
import { taskOrigin } from './prompt.ts';
import type { AttestationResult } from './request.ts';
import { agentWords } from './request.ts';
import type { RunScope } from './scope.ts';
import type { Repository } from './workspace.ts';

/** Milliseconds within which a permitted push must be made. */
const VALIDITY = 24 * 60 * 60 * 1000;

export interface Attested {
  readonly refs: readonly ExtraRef[];
  readonly result: AttestationResult;
}

/**
 * States what was permitted, signs it, has the log record it, and puts it into the quarantine as an object to be delivered
 * with the branch; a copy is kept with the run. Throws, and nothing is delivered, when any of that fails.
 */
export async function attest(scope: RunScope, arrival: Arrival, judgement: Judgement): Promise<Attested> {
  const { system, run, repository } = scope;
  const attestor = await loadOrCreateAttestor(system.keys, timestamp(system.clock.now()));
  const statement = await stateOf(scope, arrival, judgement);
  const issued = await issue(statement, attestor, {
    append: (resource) =>
      run.log.append({ type: 'attestation.issued', action: 'git.push', resource, cause: judgement.decided }),
    prove: (seq) => proveRecord(system.log.dir, system.log.vkey, seq),
  });
  const [oid, ref] = await Promise.all([
    gitText(arrival.quarantine.place, ['hash-object', '-w', '--stdin'], { stdin: issued.bytes }),
    freeRef(repository, arrival.head, run.id),
  ]);
  const folder = join(scope.dir, 'artifacts');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'proof.json');
  await writeFile(file, issued.bytes, { mode: 0o600 });
  const { digest: envelope, seq } = issued;
  return { refs: [{ ref, oid }], result: { ref, digest: envelope, logIndex: seq, file } };
}

/** Two runs may make the very same commit within a second: each has its own proof. */
async function freeRef(repository: Repository, head: string, run: string): Promise<string> {
  const ref = `${BUNDLE_REFS}${head}`;
  const found = await git({ gitDir: repository.commonDir }, ['rev-parse', '--verify', '--quiet', ref]);
  return found.exitCode === 0 ? `${ref}-${run}` : ref;
}

async function stateOf(scope: RunScope, arrival: Arrival, judgement: Judgement): Promise<Statement> {
  const { system, request, repository, loaded, run } = scope;
  const { quarantine, head, branch } = arrival;
  const commits = judgement.commits.map(({ oid, tree }) => ({ commit: oid, tree }));
  const to = commits.at(-1)?.tree as string;
  const [name, from] = await Promise.all([
    repositoryName(repository),
    gitText(quarantine.place, ['rev-parse', '--verify', '--end-of-options', `${quarantine.base}^{tree}`]),
  ]);
  const diff = await diffBetween(quarantine.place, from, to);
  const now = system.clock.now();
  const predicate: Change = {
    repository: name,
    ref: `refs/heads/${branch}`,
    before: null,
    from: quarantine.base,
    fromTree: from,
    to: head,
    run: run.id,
    requester: request.requester.id,
    ...work(scope),
    sandbox: {
      driver: system.sandbox.name,
      isolation: loaded.policy.sandbox.isolation,
      toolboxDigest: loaded.toolbox.kind === 'list' ? loaded.toolbox.digest : null,
    },
    policyDigest: loaded.policy.digest,
    decision: decisionOf(judgement),
    approvals: judgement.approvals.map(({ seq, by, subjectDigest, at }) => ({ seq, by, subjectDigest, at })),
    diff: { digest: diff.digest, files: diff.paths.length, paths: diff.paths.slice(0, MAX_PATHS) },
    sbomDigest: run.facts.sbomDigest === null ? null : `sha256:${run.facts.sbomDigest}`,
    signing: await signingOf(arrival, judgement),
    log: system.log.vkey.slice(0, system.log.vkey.indexOf('+')),
    issuedAt: timestamp(now),
    expiresAt: timestamp(now + VALIDITY),
  };
  return { type: CHANGE, commits, predicate };
}

/** Whose signature the commits bear; null unless it is good on all of them. Each was looked at when the push was judged. */
async function signingOf(
  { quarantine, head }: Arrival,
  { commits, inspectedAt }: Judgement,
): Promise<Change['signing']> {
  if (!commits.every((commit) => commit.signed)) return null;
  const commit = await gitBytes(quarantine.place, ['cat-file', 'commit', head]);
  const { signature } = splitCommit(commit, quarantine.objectFormat);
  const certificate = signature === null ? null : parseSshSignature(signature).certificate;
  if (certificate === null) return null;
  const [key, authority] = [fingerprint(certificate.key.blob), fingerprint(certificate.authority.blob)];
  return { key, authority, verifiedAt: inspectedAt };
}

function work({ request }: RunScope): Pick<Change, 'task' | 'agent'> {
  const { agent, model } = request;
  const [program = agent.kind] = agentWords(agent);
  return {
    task: taskOrigin(request),
    agent: { kind: agent.kind, program, commandDigest: digest(canonicalJson(agent.argv)), model },
  };
}

function decisionOf({ decision, decided }: Judgement): Change['decision'] {
  const { effect, rules, subjectDigest, ask } = decision;
  return {
    seq: decided,
    effect: effect === 'ask' ? 'ask' : 'permit',
    rules: rules.slice(0, 256).map((rule) => `${refText(rule)} ${rule.text}`.slice(0, 4096)),
    subjectDigest,
    required: effect === 'ask' ? (ask?.count ?? 1) : 0,
  };
}

/** By the address its clones share, where it has one; else by where it lies. */
async function repositoryName(repository: Repository): Promise<string> {
  if (repository.name !== repository.dir) return canonicalRepository(repository.name) ?? repository.name;
  const result = await gitDiscovering(repository.dir, ['config', '--local', '--get', 'remote.origin.url'], {});
  const address = result.stdout.toString().trim();
  return (address === '' ? null : canonicalRepository(address)) ?? `file://${repository.dir}`;
}
