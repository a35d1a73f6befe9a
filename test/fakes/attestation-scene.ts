import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Attestor } from '../../src/attest/attestor.ts';
import { BUNDLE_FORMAT, BUNDLE_REFS, type Bundle, encodeBundle } from '../../src/attest/bundle.ts';
import { Clone } from '../../src/attest/clone.ts';
import { diffBetween } from '../../src/attest/diff.ts';
import { envelopeDigest, keyId, signEnvelope } from '../../src/attest/envelope.ts';
import { CHANGE, type Change, encodeStatement, type Statement } from '../../src/attest/statement.ts';
import { open, TRUST_FORMAT, type TrustDocument } from '../../src/attest/trust.ts';
import { type Verdict, type VerifyOptions, verifyCommits } from '../../src/attest/verify.ts';
import { type Signer, signCheckpoint, signerFromSeed } from '../../src/audit/checkpoint.ts';
import { inclusionProof, leafHash, nodeHash } from '../../src/audit/merkle.ts';
import { GitFolder } from './push-scene.ts';

export const RUN = '01m7x776ffpyjb6x';
export const REPOSITORY = 'forge.example/acme/app';
export const REF = `refs/heads/cordon/${RUN}`;
export const DIGEST = `sha256:${'a'.repeat(64)}`;
export const LOGGED = '2026-03-01T12:00:00.000Z';
export const minutes = (count: number) => new Date(Date.parse(LOGGED) + count * 60_000).toISOString();

export function newAttestor(): Attestor & { publicKey: KeyObject; spki: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const spki = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  return { keyid: keyId(publicKey), privateKey, publicKey, spki };
}

/** A log in memory: as many records as it is given, with real proofs and checkpoints. */
export class MemoryLog {
  readonly signer: Signer;
  readonly records: Buffer[] = [];

  constructor(name = `cordon/${randomBytes(8).toString('hex')}`) {
    this.signer = signerFromSeed(name, randomBytes(32));
    for (let i = 0; i < 5; i++) this.records.push(Buffer.from(`{"seq":${i},"other":true}`));
  }

  append(record: (seq: number) => object): number {
    const seq = this.records.length;
    this.records.push(Buffer.from(JSON.stringify(record(seq))));
    return seq;
  }

  async prove(seq: number): Promise<Bundle['log']> {
    const hashes = this.records.map(leafHash);
    const subtree = (level: number, index: number): Uint8Array => {
      if (level === 0) return hashes[index] as Uint8Array;
      return nodeHash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1));
    };
    const size = this.records.length;
    const proof = (await inclusionProof(subtree, seq, size)).map((hash) => Buffer.from(hash).toString('base64'));
    const root = await rootOf(hashes);
    const record = (this.records[seq] as Buffer).toString();
    return {
      format: 'cordon-audit-proof/1',
      seq,
      record,
      proof,
      checkpoint: signCheckpoint({ size, root }, this.signer),
    };
  }
}

async function rootOf(hashes: readonly Uint8Array[]): Promise<Uint8Array> {
  if (hashes.length === 1) return hashes[0] as Uint8Array;
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return nodeHash(await rootOf(hashes.slice(0, k)), await rootOf(hashes.slice(k)));
}

export interface Bent {
  /** Changes the predicate before it is signed: what a liar with the keys could sign. */
  readonly predicate?: Partial<Change>;
  readonly statement?: (statement: Statement) => Statement;
  /** Other bytes in place of the payload. */
  readonly payload?: (payload: Buffer) => Buffer;
  readonly record?: (record: Record<string, unknown> & { resource: Record<string, unknown> }) => object;
  readonly attestor?: Attestor;
  readonly log?: MemoryLog;
}

/** A repository with a change of three commits, its attestor and its log: what an honest installation has. */
export class AttestationScene {
  readonly root = mkdtempSync(join(tmpdir(), 'cordon-attest-'));
  readonly user: GitFolder;
  readonly attestor = newAttestor();
  readonly log = new MemoryLog();
  readonly base: string;
  readonly commits: readonly { commit: string; tree: string }[];
  readonly head: string;

  constructor() {
    const dir = join(this.root, 'user');
    mkdirSync(dir);
    this.user = new GitFolder(dir);
    this.user.git('init', '-q', '-b', 'main');
    this.user.write('a.txt', 'one\n');
    this.user.commit('zeroth');
    this.user.write('a.txt', 'two\n');
    this.base = this.user.commit('first');
    this.user.git('checkout', '-q', '-b', `cordon/${RUN}`);
    const made = ['x', 'y', 'z'].map((name) => {
      this.user.write(`${name}.txt`, `${name}\n`);
      return this.user.commit(name);
    });
    this.commits = made.map((commit) => ({ commit, tree: this.tree(commit) }));
    this.head = made[2] as string;
  }

  dispose(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  tree(commit: string): string {
    return this.user.git('rev-parse', `${commit}^{tree}`);
  }

  get trust(): TrustDocument {
    return {
      format: TRUST_FORMAT,
      logs: [{ key: this.log.signer.vkey, pinned: null }],
      attestors: [{ key: this.attestor.spki, from: minutes(-60), until: null, revokedFrom: null }],
      authorities: [],
      krl: null,
      revokedRuns: [],
      policies: null,
    };
  }

  async change(
    commits: readonly { commit: string; tree: string }[] = this.commits,
    from = this.base,
  ): Promise<Statement> {
    const fromTree = this.tree(from);
    const last = commits.at(-1) as { commit: string; tree: string };
    const diff = await diffBetween({ gitDir: join(this.user.dir, '.git') }, fromTree, last.tree);
    const predicate: Change = {
      repository: REPOSITORY,
      ref: REF,
      before: null,
      from,
      fromTree,
      to: last.commit,
      run: RUN,
      requester: 'user:ada',
      task: { digest: DIGEST, origin: { kind: 'prompt', uri: null } },
      agent: { kind: 'command', program: 'sh', commandDigest: DIGEST, model: null },
      sandbox: { driver: 'bubblewrap', isolation: 'namespace', toolboxDigest: null },
      policyDigest: DIGEST,
      decision: { seq: 3, effect: 'permit', rules: ['policy.yaml:7 branches'], subjectDigest: DIGEST, required: 0 },
      approvals: [],
      diff: { digest: diff.digest, files: diff.paths.length, paths: diff.paths },
      sbomDigest: null,
      signing: null,
      log: this.log.signer.name,
      issuedAt: LOGGED,
      expiresAt: minutes(60),
    };
    return { type: CHANGE, commits, predicate };
  }

  /** The honest bundle, or one that somebody with the keys has bent. */
  async bundle(bent: Bent = {}, of: Bundle | null = null, base?: Statement): Promise<Bundle> {
    const honest = base ?? (await this.change());
    const told = { ...honest, predicate: { ...honest.predicate, ...bent.predicate } } as Statement;
    const statement = bent.statement?.(told) ?? told;
    const payload = encodeStatement(statement);
    const attestor = bent.attestor ?? this.attestor;
    const envelope = signEnvelope(bent.payload?.(payload) ?? payload, attestor.keyid, attestor.privateKey);
    const log = bent.log ?? this.log;
    const { repository, ref, to } = statement.predicate;
    const seq = log.append((index) => {
      const record = {
        seq: index,
        time: LOGGED,
        type: 'attestation.issued',
        run: RUN,
        principal: { id: 'user:ada', kind: 'user' },
        action: 'git.push',
        resource: {
          envelope: envelopeDigest(envelope),
          key: attestor.keyid,
          predicateType: statement.type,
          repository,
          ref,
          to,
          commits: statement.commits.length,
        },
        cause: 3,
      };
      return bent.record?.(record) ?? record;
    });
    return { format: BUNDLE_FORMAT, envelope, log: await log.prove(seq), of };
  }

  /** Puts bytes where a clone has the proof of a commit. */
  place(bytes: Buffer, commit = this.head): void {
    const oid = this.user.bytes(['hash-object', '-w', '--stdin'], bytes).toString().trim();
    this.user.git('update-ref', `${BUNDLE_REFS}${commit}`, oid);
  }

  async verify(
    bundle: Bundle | Buffer | null,
    options: Partial<VerifyOptions> & { commits?: readonly string[]; document?: TrustDocument } = {},
  ): Promise<readonly Verdict[]> {
    const { commits = [this.head], document = this.trust, ...more } = options;
    const clone = new Clone({ gitDir: join(this.user.dir, '.git') }, 'sha1');
    const bytes = bundle === null ? {} : { bundle: Buffer.isBuffer(bundle) ? bundle : encodeBundle(bundle) };
    try {
      return await verifyCommits(clone, commits, { trust: open(document), ...bytes, ...more });
    } finally {
      clone.close();
    }
  }

  /** The link that broke; null when all held. */
  async broken(...args: Parameters<AttestationScene['verify']>): Promise<string | null> {
    const [verdict] = await this.verify(...args);
    return verdict?.broken?.link ?? null;
  }
}
