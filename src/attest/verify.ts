import { CordonError } from '../base/errors.ts';
import type { Clone, CommitObject } from './clone.ts';
import { diffsBetween, type TreeDiff } from './diff.ts';
import { BrokenLink, demand, type HeldLink, type LinkName, links } from './links.ts';
import { subjectsOf } from './subjects.ts';
import { readDiff } from './tree-diff.ts';
import type { Trust } from './trust.ts';
import { type Expectation, type Proof, verifyBundle } from './verify-bundle.ts';
import { checkDiff, checkHistory, treesOf } from './verify-history.ts';

export interface Verdict {
  readonly commit: string;
  readonly ok: boolean;
  /** What holds, in order, up to the first link that does not. */
  readonly held: readonly HeldLink[];
  readonly broken: { readonly link: LinkName; readonly message: string; readonly meaning: string } | null;
  /** What the proof says; null when there is none that can be believed. */
  readonly proof: Proof | null;
}

export interface VerifyOptions extends Expectation {
  readonly trust: Trust;
  /** A bundle given as a file: it is the only one that is looked at. */
  readonly bundle?: Buffer;
  /** Bundles by the last commit they are about, besides those that the clone's refs name: what a push brings along. */
  readonly pushed?: ReadonlyMap<string, readonly string[]>;
  /** Hash all content of the commits, not only the commits themselves. */
  readonly content?: boolean;
  /** A commit that the run did not sign is refused. */
  readonly requireSignature?: boolean;
}

/** One bundle, and what became of checking it. */
interface Candidate {
  readonly held: HeldLink[];
  proof: Proof | null;
  broken: BrokenLink | null;
}

/** Judges each of these commits. The clone is read, nothing is written, and nothing but the trust is believed. */
export async function verifyCommits(
  clone: Clone,
  commits: readonly string[],
  options: VerifyOptions,
): Promise<readonly Verdict[]> {
  const [only, ...more] = commits;
  if (only !== undefined && more.length === 0 && options.bundle === undefined) {
    // The ordinary case, without a search: each process of git's that is not started counts.
    const bundle = await clone.bundleOf(only);
    const quick = bundle === null ? [] : await verifyAmong(clone, commits, { ...options, bundle });
    if (quick[0]?.ok) return quick;
  }
  return verifyAmong(clone, commits, options);
}

async function verifyAmong(
  clone: Clone,
  commits: readonly string[],
  options: VerifyOptions,
): Promise<readonly Verdict[]> {
  const found = await findBundles(clone, commits, options);
  const candidates = new Map<Buffer, Candidate>();
  for (const bytes of new Set([...found.values()].flat())) candidates.set(bytes, openCandidate(bytes, options));
  await compare(clone, [...candidates.values()], options);
  const verdicts: Verdict[] = [];
  for (const commit of commits) {
    const own = (found.get(commit) ?? []).map((bytes) => candidates.get(bytes) as Candidate);
    verdicts.push(await judge(clone, commit, own, options));
  }
  return verdicts;
}

function openCandidate(bytes: Buffer, { trust, ...expected }: VerifyOptions): Candidate {
  const held: HeldLink[] = [];
  try {
    return { held, proof: verifyBundle(bytes, trust, expected, held), broken: null };
  } catch (error) {
    if (error instanceof BrokenLink) return { held, proof: null, broken: error };
    throw error;
  }
}

/** Each proof's history and change, once, however many commits it is about. */
async function compare(clone: Clone, candidates: readonly Candidate[], options: VerifyOptions): Promise<void> {
  for (const candidate of candidates) await unlessBroken(candidate, (proof) => checkHistory(proof, clone));
  const standing = candidates.flatMap(({ proof, broken }) =>
    proof === null || broken !== null ? [] : [treesOf(proof)],
  );
  // Of one proof, it is read here, without another process.
  const diffs =
    standing.length === 1
      ? null
      : await diffsBetween(clone.place, standing).catch((error: unknown) => {
          if (error instanceof CordonError) return null; // one is missing: which one, is asked one by one
          throw error;
        });
  for (const candidate of candidates) await unlessBroken(candidate, (proof) => change(clone, proof, diffs, options));
}

async function unlessBroken(candidate: Candidate, check: (proof: Proof) => Promise<void>): Promise<void> {
  if (candidate.proof === null || candidate.broken !== null) return;
  try {
    await check(candidate.proof);
  } catch (error) {
    if (!(error instanceof BrokenLink)) throw error;
    candidate.broken = error;
  }
}

async function change(clone: Clone, proof: Proof, diffs: Map<string, TreeDiff> | null, options: VerifyOptions) {
  const { from, to } = treesOf(proof);
  const pair = `${from} ${to}`;
  const read = diffs === null ? await readDiff(clone, from, to) : diffs.get(pair);
  const diff = read ?? (await diffsBetween(clone.place, [{ from, to }]).catch(() => null))?.get(pair);
  if (diff === undefined) throw new BrokenLink('change', 'this clone does not have all trees of the change');
  checkDiff(proof, diff);
  if (!options.content) return;
  const { checkContent } = await import('./content.ts');
  for (const { tree } of proof.commits) await checkContent(clone, tree);
}

async function judge(
  clone: Clone,
  commit: string,
  own: readonly Candidate[],
  options: VerifyOptions,
): Promise<Verdict> {
  const none = new BrokenLink('found', `there is no proof for ${commit} in this clone`);
  let first: Verdict | null = null;
  for (const candidate of own) {
    const verdict = await judgeWith(clone, commit, candidate, options);
    if (verdict.ok) return verdict;
    first ??= verdict;
  }
  return first ?? verdictOf(commit, { held: [], proof: null, broken: none });
}

async function judgeWith(clone: Clone, commit: string, shared: Candidate, options: VerifyOptions): Promise<Verdict> {
  const candidate = { ...shared, held: [...shared.held] };
  await unlessBroken(candidate, async (proof) => {
    const object = await clone.commit(commit);
    if (object === null || !proof.commits.some((stated) => stated.commit === commit))
      throw new BrokenLink('commit', `the proof is for ${proof.commits.at(-1)?.commit}, not for ${commit}`);
    const { length } = proof.commits;
    const all = length === 1 ? 'the only new commit' : `one of ${length} new commits, none left out`;
    candidate.held.push({ link: 'commit', text: `${commit} with the tree ${object.tree}: ${all}` });
    candidate.held.push({
      link: 'change',
      text: `${proof.change.diff.files} changed files, as judged (${proof.change.diff.digest})`,
    });
    candidate.held.push({ link: 'signature', text: await signatureOf(object, proof, clone, options) });
  });
  return verdictOf(commit, candidate);
}

/** What SSH needs is loaded only where something is signed with it. */
async function signatureOf(
  commit: CommitObject,
  proof: Proof,
  { objectFormat }: Clone,
  { trust, requireSignature }: VerifyOptions,
): Promise<string> {
  const { signing } = proof.change;
  if (proof.merge !== null || signing === null) {
    demand(requireSignature !== true, 'signature', 'it is not signed by the key of a run');
    return 'the commit itself bears no signature of the run';
  }
  const { checkSignature } = await import('./signature.ts');
  return checkSignature(commit, proof, signing, objectFormat, trust);
}

function verdictOf(commit: string, { held, proof, broken }: Candidate): Verdict {
  const why = broken === null ? null : { link: broken.link, message: broken.message, meaning: links[broken.link] };
  return { commit, ok: broken === null, held, broken: why, proof };
}

/** The bundles that may be about each commit: by their refs, and where those name another commit of the same push, by content. */
async function findBundles(
  clone: Clone,
  commits: readonly string[],
  options: VerifyOptions,
): Promise<Map<string, Buffer[]>> {
  if (options.bundle !== undefined) return new Map(commits.map((commit) => [commit, [options.bundle as Buffer]]));
  const refs = await clone.bundles(commits.length === 1 ? `${commits[0]}*` : '');
  for (const [commit, oids] of options.pushed ?? []) refs.set(commit, [...(refs.get(commit) ?? []), ...oids]);
  const read = new Map<string, Buffer>();
  const found = new Map<string, Buffer[]>();
  const take = async (oids: readonly string[]): Promise<Buffer[]> => {
    const taken: Buffer[] = [];
    for (const oid of oids) {
      const bytes = read.get(oid) ?? (await clone.blob(oid));
      if (bytes !== null) taken.push(bytes);
      if (bytes !== null) read.set(oid, bytes);
    }
    return taken;
  };
  await Promise.all(commits.map(async (commit) => found.set(commit, await take(refs.get(commit) ?? []))));
  await searchRest(clone, commits, found, take, refs, options);
  return found;
}

async function searchRest(
  clone: Clone,
  commits: readonly string[],
  found: Map<string, Buffer[]>,
  take: (oids: readonly string[]) => Promise<Buffer[]>,
  refs: ReadonlyMap<string, readonly string[]>,
  { pushed }: VerifyOptions,
): Promise<void> {
  const missing = () => new Set(commits.filter((commit) => (found.get(commit) ?? []).length === 0));
  const add = (wanted: ReadonlySet<string>, bundles: readonly Buffer[]) => {
    for (const bytes of bundles)
      for (const commit of subjectsOf(bytes)) if (wanted.has(commit)) found.get(commit)?.push(bytes);
  };
  let rest = missing();
  if (rest.size > 0) add(rest, [...new Set([...found.values()].flat())]);
  rest = missing();
  if (rest.size === 0) return;
  const all = commits.length === 1 ? await clone.bundles() : refs;
  add(rest, await take([...all.values(), ...(pushed?.values() ?? [])].flat()));
}
