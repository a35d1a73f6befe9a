import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inspectPush, type PushInspection, type PushLimits } from '../../src/gateways/git/checks.ts';
import type { PushJudge } from '../../src/gateways/git/push.ts';
import { openQuarantine, type Quarantine } from '../../src/gateways/git/quarantine.ts';
import { type GitServer, startGitServer } from '../../src/gateways/git/server.ts';
import { type Checkout, prepareCheckout } from '../../src/runs/checkout.ts';
import type { Depth } from '../../src/runs/checkout-build.ts';
import { inspectRepository, type Repository } from '../../src/runs/workspace.ts';

/** What stock git says and does in a folder, with nothing of this machine's configuration. */
export class GitFolder {
  readonly dir: string;
  constructor(dir: string) {
    this.dir = dir;
  }

  git(...args: string[]): string {
    return this.bytes(args).toString().replace(/\n$/, '');
  }

  bytes(args: readonly string[], input?: string | Uint8Array): Buffer {
    return execFileSync('git', args, {
      cwd: this.dir,
      env: gitEnv,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(input === undefined ? {} : { input }),
    });
  }

  /** How it ended and everything it said. Not blocking: the server it speaks to may be in this process. */
  tryGit(...args: string[]): Promise<{ ok: boolean; text: string }> {
    return new Promise((resolve) => {
      execFile('git', args, { cwd: this.dir, env: gitEnv, timeout: 55_000 }, (error, stdout, stderr) =>
        resolve({ ok: error === null, text: stdout + stderr }),
      );
    });
  }

  write(path: string, content: string | Uint8Array, mode?: number): void {
    const file = join(this.dir, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    if (mode !== undefined) chmodSync(file, mode);
  }

  commit(message: string): string {
    this.git('add', '-A');
    this.git('commit', '-q', '--allow-empty', '-m', message);
    return this.git('rev-parse', 'HEAD');
  }

  /** An object written as is, whatever fsck thinks of it. */
  object(type: string, content: string | Uint8Array): string {
    return this.bytes(['hash-object', '-w', '--stdin', '--literally', '-t', type], content).toString().trim();
  }

  /** A tree of these lines, unsorted and unchecked. */
  rawTree(entries: readonly (readonly [mode: string, name: string | Buffer, oid: string])[]): string {
    const lines = entries.map(([mode, name, oid]) =>
      Buffer.concat([Buffer.from(`${mode} `), Buffer.from(name as string), Buffer.from([0]), Buffer.from(oid, 'hex')]),
    );
    return this.object('tree', Buffer.concat(lines));
  }

  /** A commit of that tree on top of HEAD, and the branch moved to it. */
  commitTree(
    tree: string,
    parents: readonly string[] = [this.git('rev-parse', 'HEAD')],
    message = 'made by hand',
  ): string {
    const oid = this.git('commit-tree', tree, ...parents.flatMap((parent) => ['-p', parent]), '-m', message);
    this.git('update-ref', 'HEAD', oid);
    return oid;
  }
}

export const gitEnv: Record<string, string> = {
  PATH: process.env.PATH ?? '/usr/bin:/bin',
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'Agent',
  GIT_AUTHOR_EMAIL: 'Agent@Acme.example',
  GIT_COMMITTER_NAME: 'Agent',
  GIT_COMMITTER_EMAIL: 'agent@acme.example',
  GIT_TERMINAL_PROMPT: '0',
};

/** A user's repository with a little of everything, three commits deep. */
export function userRepository(dir: string, initArgs: readonly string[] = []): GitFolder {
  mkdirSync(dir, { recursive: true });
  const user = new GitFolder(dir);
  user.git('init', '-q', '-b', 'main', ...initArgs);
  user.write('README.md', 'one\n');
  user.commit('first');
  user.write('src/app.js', 'console.log(1);\n');
  user.write('src/lib/deep.js', 'deep\n');
  user.write('docs/guide.md', '# guide\n');
  user.commit('second');
  user.write('README.md', 'one\ntwo\n');
  user.write('bin/run', '#!/bin/sh\n', 0o755);
  user.commit('third');
  return user;
}

export interface Scene {
  readonly root: string;
  readonly home: string;
  readonly user: GitFolder;
  readonly repository: Repository;
  readonly checkout: Checkout;
  readonly quarantine: Quarantine;
  readonly server: GitServer;
  /** Where the sandbox would be: a copy of the checkout with `origin` set. */
  readonly guest: GitFolder;
  push(refspec?: string): Promise<{ ok: boolean; text: string }>;
  inspect(limits?: Partial<PushLimits>): Promise<PushInspection>;
  close(): Promise<void>;
}

export interface SceneOptions {
  readonly depth?: Depth;
  readonly paths?: readonly string[];
  readonly initArgs?: readonly string[];
  readonly judge?: PushJudge;
  readonly maxPack?: number;
  readonly timeout?: number;
  readonly prepareUser?: (user: GitFolder) => void;
}

export const branch = 'cordon/test';

/** Takes pushes of one branch, whatever they hold. */
export function onlyBranch(name: string): PushJudge {
  const ref = `refs/heads/${name}`;
  return {
    screen: async (commands) => {
      if (commands.some((command) => command.ref !== ref))
        return { permit: false, reason: `this run may push ${ref} only` };
      if (commands.some((command) => command.kind === 'delete'))
        return { permit: false, reason: 'this run may not delete a branch' };
      return { permit: true };
    },
    judge: async () => ({ permit: true }),
  };
}

/** Everything from the user's repository to a git server for the guest, without a sandbox. */
export async function pushScene(options: SceneOptions = {}): Promise<Scene> {
  const root = mkdtempSync(join(tmpdir(), 'cordon-push-'));
  const home = join(root, 'home');
  mkdirSync(join(home, 'run'), { recursive: true });
  const user = userRepository(join(root, 'user'), options.initArgs);
  options.prepareUser?.(user);
  const repository = await inspectRepository(user.dir);
  const checkout = await prepareCheckout({
    home,
    repository,
    paths: options.paths ?? [],
    depth: options.depth ?? 'full',
    owner: null,
  });
  const quarantine = await openQuarantine({
    runDir: join(home, 'run'),
    view: checkout.view,
    furtherObjects: checkout.partial ? [repository.objectsDir] : [],
    base: checkout.base,
    baseBranch: checkout.branch,
    shallow: checkout.shallow,
    objectFormat: repository.objectFormat,
    ...(options.maxPack === undefined ? {} : { maxPack: options.maxPack }),
  });
  const server = await startGitServer(
    {
      quarantine,
      judge: options.judge ?? onlyBranch(branch),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    },
    { port: 0 },
  );
  execFileSync('cp', ['-a', checkout.dir, join(root, 'guest')]);
  const guest = new GitFolder(join(root, 'guest'));
  guest.git('remote', 'add', 'origin', `http://127.0.0.1:${server.port}/origin`);
  const scene: Scene = {
    root,
    home,
    user,
    repository,
    checkout,
    quarantine,
    server,
    guest,
    push: (refspec = `+HEAD:refs/heads/${branch}`) => guest.tryGit('push', 'origin', refspec),
    inspect: async (limits) => {
      const head = await quarantine.head(`refs/heads/${branch}`);
      if (head === null) throw new Error('nothing was pushed');
      return inspectPush({
        quarantine,
        head,
        repository: 'acme/app',
        ref: `refs/heads/${branch}`,
        ...(limits === undefined ? {} : { limits }),
      });
    },
    close: async () => {
      await server.close();
      checkout.release();
      rmSync(root, { recursive: true, force: true });
    },
  };
  return scene;
}
