import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { MAX_BUNDLE } from '../attest/bundle.ts';
import { type Clone, openClone } from '../attest/clone.ts';
import { BrokenLink, type HeldLink, links } from '../attest/links.ts';
import { canonicalRepository } from '../attest/repository.ts';
import { open, parseTrust, type Trust } from '../attest/trust.ts';
import { type Verdict, verifyCommits } from '../attest/verify.ts';
import { verifyBundle } from '../attest/verify-bundle.ts';
import { systemClock } from '../base/clock.ts';
import { ExitCode, UsageError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import type { Context } from './context.ts';
import type { VerifyOptions } from './verify.ts';
import { documentOf, storyLines } from './verify-story.ts';

/** Which commits of which push are judged, and against what. */
interface Task {
  readonly commits: readonly string[];
  readonly ref?: string;
  readonly deliveringAt?: number;
  readonly pushed?: ReadonlyMap<string, readonly string[]>;
}

/** `opened`: the clone, where it is being opened already; it stays its owner's to close. */
export async function verify(
  context: Context,
  commit: string | undefined,
  options: VerifyOptions,
  opened?: Promise<Clone>,
): Promise<void> {
  refuseMixed(commit, options);
  const out = context.streams.with(options);
  const trust = await readTrust(context, options.key);
  const judged = await judge(context, commit, options, trust, opened);
  context.exitCode = judged.verdicts.every(({ ok }) => ok) ? ExitCode.ok : ExitCode.agentFailed;
  if (out.json) out.document(documentOf(judged));
  else out.line(...storyLines(judged, out, options));
}

export interface Judged {
  readonly verdicts: readonly Verdict[];
  /** Commits that nobody said an agent made. */
  readonly exempt: number;
}

async function judge(
  context: Context,
  commit: string | undefined,
  options: VerifyOptions,
  trust: Trust,
  opened: Promise<Clone> | undefined,
): Promise<Judged> {
  const common = { trust, ...expectation(options) };
  const bundle = options.bundle === undefined ? undefined : readBundle(resolve(context.cwd, options.bundle));
  if (bundle !== undefined && commit === undefined && options.range === undefined)
    return { verdicts: [ofBundleAlone(bundle, common)], exempt: 0 };
  const clone = await (opened ?? openClone(resolve(context.cwd, options.workspace ?? '.'), context.env));
  try {
    const verdicts: Verdict[] = [];
    let exempt = 0;
    for (const { commits, ...more } of await tasksOf(clone, commit, options)) {
      const needed = await inNeed(clone, commits, options.agents);
      exempt += commits.length - needed.length;
      const given = bundle === undefined ? {} : { bundle };
      verdicts.push(...(await verifyCommits(clone, needed, { ...common, ...more, ...given })));
    }
    return { verdicts, exempt };
  } catch (error) {
    if (!(error instanceof BrokenLink)) throw error;
    const broken = { link: error.link, message: error.message, meaning: links[error.link] };
    return {
      verdicts: [{ commit: commit ?? options.range ?? 'the push', ok: false, held: [], broken, proof: null }],
      exempt: 0,
    };
  } finally {
    clone.close();
  }
}

function expectation({ ref, repo, policyDigest, requireSignature, content }: VerifyOptions) {
  const repository = repo === undefined ? undefined : canonicalRepository(repo);
  if (repository === null) {
    throw new UsageError(`--repo ${safeText(repo ?? '')} is not the address of a repository`, {
      remedy: 'such as github.com/acme/app, https://github.com/acme/app.git or /srv/git/app.git',
    });
  }
  return {
    ...(repository === undefined ? {} : { repository }),
    ...(ref === undefined ? {} : { ref: ref.startsWith('refs/') ? ref : `refs/heads/${ref}` }),
    ...(policyDigest === undefined ? {} : { policies: policyDigest }),
    ...(requireSignature === undefined ? {} : { requireSignature }),
    ...(content === undefined ? {} : { content }),
  };
}

async function tasksOf(clone: Clone, commit: string | undefined, options: VerifyOptions): Promise<Task[]> {
  if (options.preReceive) return pushTasks(clone, readFileSync(0, 'utf8'));
  if (options.range === undefined) return [{ commits: [await clone.resolve(commit ?? 'HEAD')] }];
  const [, from = '', to = ''] = /^(.+?)\.\.(?!\.)(.*)$/.exec(options.range) ?? [];
  if (from === '')
    throw new UsageError(`--range ${safeText(options.range)} is not a range`, { remedy: 'write it as main..topic' });
  const [first, last] = await Promise.all([clone.resolve(from), clone.resolve(to || 'HEAD')]);
  const { commitsBetween } = await import('../attest/range.ts');
  return [{ commits: await commitsBetween(clone, first, last) }];
}

const COMMAND = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) (refs\/\S+)$/;
const PROOF = /^refs\/attestations\/cordon\/([0-9a-f]{40,64})(?:-\w+)?$/;

/**
 * githooks(5), pre-receive: `<old> <new> <ref>` a line. What is new to this repository must be proven for the ref it goes to.
 * Throws `BrokenLink` for a ref that no proof could be about.
 */
async function pushTasks(clone: Clone, input: string): Promise<Task[]> {
  const pushed = new Map<string, string[]>();
  const refs: { readonly to: string; readonly ref: string }[] = [];
  for (const line of input.split('\n').filter((text) => text !== '')) {
    const [, , to = '', ref = ''] = COMMAND.exec(line) ?? [];
    if (ref === '') throw new UsageError('standard input is not what git tells a pre-receive hook');
    if (/^0+$/.test(to)) continue;
    const about = PROOF.exec(ref)?.[1];
    if (about === undefined) refs.push({ to, ref });
    else pushed.set(about, [...(pushed.get(about) ?? []), to]);
  }
  const { checkProofs, checkNamesCommit } = await import('../attest/pushed.ts');
  await checkProofs(clone, pushed);
  const deliveringAt = systemClock.now();
  const tasks = refs.map(async ({ to, ref }) => {
    await checkNamesCommit(clone, ref, to);
    return { commits: await clone.newTo(to), ref, deliveringAt, pushed };
  });
  return Promise.all(tasks);
}

async function inNeed(clone: Clone, commits: readonly string[], agents: readonly string[] | undefined) {
  if (agents === undefined) return commits;
  const { claimsAgent } = await import('../attest/claims.ts');
  const objects = await Promise.all(commits.map((oid) => clone.commit(oid)));
  return commits.filter((_, i) => {
    const object = objects[i];
    return object === null || object === undefined || claimsAgent(object, agents);
  });
}

function ofBundleAlone(
  bytes: Buffer,
  options: Parameters<typeof verifyBundle>[2] & { readonly trust: Trust },
): Verdict {
  const held: HeldLink[] = [];
  try {
    const proof = verifyBundle(bytes, options.trust, options, held);
    return { commit: proof.commits.at(-1)?.commit ?? '', ok: true, held, broken: null, proof };
  } catch (error) {
    if (!(error instanceof BrokenLink)) throw error;
    return {
      commit: 'the bundle',
      ok: false,
      held,
      broken: { link: error.link, message: error.message, meaning: links[error.link] },
      proof: null,
    };
  }
}

function readBundle(file: string): Buffer {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= MAX_BUNDLE) return bytes;
    throw new Error(`it has ${bytes.length} bytes`);
  } catch (cause) {
    throw new UsageError(`the bundle ${safeText(file)} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The file that was named; without one, the keys of the installation on this machine, if there is one. */
async function readTrust(context: Context, named: string | undefined): Promise<Trust> {
  const file = named ?? context.env.CORDON_TRUST;
  if (file === undefined) {
    const { installationTrust } = await import('../attest/installation.ts');
    const { resolvePaths } = await import('../config/paths.ts');
    return open(installationTrust(resolvePaths(context.env).keys, systemClock.now()));
  }
  const path = resolve(context.cwd, file);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new UsageError(`the public key file ${safeText(path)} cannot be read`, {
      cause,
      remedy: 'it is what `cordon attest key` writes on the machine that makes the runs',
    });
  }
  return parseTrust(text, safeText(path));
}

function refuseMixed(commit: string | undefined, options: VerifyOptions): void {
  const ways = [
    commit !== undefined ? 'COMMIT' : null,
    options.range !== undefined ? '--range' : null,
    options.preReceive ? '--pre-receive' : null,
  ].filter((way) => way !== null);
  if (ways.length > 1) throw new UsageError(`${ways.join(' and ')} name different commits: give one of them`);
  const wanted = options.requireSignature ? '--require-signature' : options.content ? '--content' : null;
  if (options.bundle !== undefined && ways.length === 0 && wanted !== null)
    throw new UsageError(`${wanted} is about commits, and the bundle alone has none`, {
      remedy: 'name the commit, in a clone that has it: cordon verify COMMIT --bundle FILE',
    });
  if (options.preReceive && (options.ref !== undefined || options.bundle !== undefined))
    throw new UsageError('--pre-receive takes refs and proofs from the push: leave out --ref and --bundle');
}
