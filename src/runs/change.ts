/** From what an agent left in its workspace to a commit in quarantine: everything here still happens in the sandbox. */
import type { ContentStore } from '../audit/content.ts';
import { type CordonError, OutsideError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import { guestEnvironment } from '../sandbox/guest-etc.ts';
import { type ExitStatus, type FileChange, GIT_SIGN, type Sandbox } from '../sandbox/sandbox.ts';
import type { RunLog } from './run-log.ts';

/** Files recorded one by one; the whole list is kept beside the log. */
const SINGLE_EVENTS = 500;

export interface Changes {
  readonly files: number;
  /** True when anything, be it only in `.git`, differs from the checkout. */
  readonly touched: boolean;
}

/** Records what changed in the workspace, read from outside. The sandbox must be quiet. */
export async function recordChanges(
  sandbox: Sandbox,
  run: string,
  log: RunLog,
  content: ContentStore,
): Promise<Changes> {
  const counts = { added: 0, modified: 0, deleted: 0 };
  const list: Buffer[] = [];
  let touched = false;
  let files = 0;
  for await (const change of sandbox.changes()) {
    touched = true;
    if (change.path === '.git') continue;
    counts[change.change]++;
    list.push(Buffer.from(`${JSON.stringify(log.redacted(change))}\n`));
    if (files++ < SINGLE_EVENTS) await log.enqueue(event(change)).room;
  }
  if (files === 0) return { files, touched };
  const maxBytes = list.reduce((sum, line) => sum + line.length, 0);
  const ref = await content.put(run, list, { mediaType: 'application/vnd.cordon.changes+jsonl', maxBytes });
  await log.append({ type: 'files.summary', action: null, resource: counts, content: ref }, 'agent');
  return { files, touched };
}

function event(change: FileChange) {
  return {
    type: 'file.changed',
    action: 'file.write',
    resource: { ...change, path: change.path.slice(0, 4096) },
  } as const;
}

export interface CommitRequest {
  readonly sandbox: Sandbox;
  readonly run: string;
  readonly message: string;
  readonly author: { readonly name: string; readonly email: string };
  /** Where the git gateway listens inside. */
  readonly origin: string;
  readonly branch: string;
}

/** Milliseconds for one git command over a large workspace. */
const TIMEOUT = 300_000;

/**
 * Commits what the agent left uncommitted and pushes the branch to the gateway, by plain git inside the sandbox.
 * The agent's repository may be anything by now; what git makes of it concerns nobody outside, who judge only what
 * arrives. Throws `OutsideError` with git's own words when it does not arrive.
 *
 * The commit is signed as the agent's own are. Where that is refused it is made without: whether such a commit may be
 * delivered is for the judgement. Resolves with why it was refused, in git's words; null when all is well.
 */
export async function commitAndPush(request: CommitRequest): Promise<string | null> {
  const { sandbox, message, branch, origin } = request;
  const git = (...args: string[]) => runGit(sandbox, request, args);
  await must(git('add', '--all'));
  const staged = await git('diff-index', '--cached', '--quiet', 'HEAD', '--');
  let unsigned: string | null = null;
  if (staged.exit.kind === 'exited' && staged.exit.code === 1) {
    const commit = ['commit', '--quiet', '--no-verify', '--message', message];
    const signed = await runGit(sandbox, request, [...signing, ...commit, '--gpg-sign']);
    if (signed.exit.kind !== 'exited' || signed.exit.code !== 0) {
      unsigned = safeText(signed.output.split('\n').slice(0, 2).join(' ').slice(0, 500));
      await must(git(...commit, '--no-gpg-sign'));
    }
  } else if (staged.exit.kind !== 'exited' || staged.exit.code !== 0) throw failure(staged);
  await must(git('push', '--quiet', '--force', '--no-verify', '--no-signed', origin, `HEAD:refs/heads/${branch}`));
  return unsigned;
}

/** Whatever the agent's repository says of signing. */
const signing = [
  ['gpg.format', 'ssh'],
  ['gpg.ssh.program', GIT_SIGN],
  ['user.signingKey', GIT_SIGN],
].flatMap(([key, value]) => ['-c', `${key}=${value}`]);

interface GitRun {
  readonly args: readonly string[];
  readonly exit: ExitStatus;
  readonly output: string;
}

async function runGit(sandbox: Sandbox, request: CommitRequest, args: readonly string[]): Promise<GitRun> {
  const { name, email } = request.author;
  const execution = await sandbox.exec({
    // The agent may have put hooks and programs into its configuration; they would only harm its own delivery.
    argv: ['/usr/bin/git', '-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false', '-c', 'gc.auto=0', ...args],
    env: {
      ...guestEnvironment(request.run),
      GIT_AUTHOR_NAME: name,
      GIT_AUTHOR_EMAIL: email,
      GIT_COMMITTER_NAME: name,
      GIT_COMMITTER_EMAIL: email,
      GIT_TERMINAL_PROMPT: '0',
    },
  });
  const timer = setTimeout(() => execution.kill(), TIMEOUT);
  try {
    const output = Promise.all([execution.stdout, execution.stderr].map((stream) => firstBytes(stream, 16_384)));
    const exit = await execution.exit;
    return { args, exit, output: (await output).join('').trim() };
  } finally {
    clearTimeout(timer);
  }
}

async function firstBytes(stream: AsyncIterable<Buffer>, limit: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      if (size < limit) parts.push(chunk.subarray(0, limit - size));
      size += chunk.length;
    }
  } catch {
    // The sandbox ended under it; what came is enough for a message.
  }
  return Buffer.concat(parts).toString('utf8');
}

async function must(run: Promise<GitRun>): Promise<void> {
  const result = await run;
  if (result.exit.kind !== 'exited' || result.exit.code !== 0) throw failure(result);
}

function failure({ args, exit, output }: GitRun): CordonError {
  const how =
    exit.kind === 'exited' ? `exit code ${exit.code}` : exit.kind === 'signalled' ? `signal ${exit.signal}` : exit.kind;
  const words = output.split('\n').slice(-6).join('\n  ');
  return new OutsideError(
    `the change could not be taken out of the sandbox: git ${args[0]} ended with ${how}\n  ${words}`,
    {
      remedy: 'the agent may have damaged its repository; look at what it did with `cordon runs commands`',
    },
  );
}
