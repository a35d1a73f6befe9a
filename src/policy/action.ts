import type { Ecosystem } from './packages.ts';

/**
 * What a policy decides about. One shape per action of the policy document; every value in it is already canonical
 * (hosts.ts, paths.ts, commands.ts, git-refs.ts): the same value is decided upon, acted upon, logged and shown.
 */
export type PolicyAction =
  | { readonly action: 'run.start'; readonly agent: string; readonly repository: string; readonly readOnly: boolean }
  | {
      readonly action: 'command.execute';
      /** The file in the end, through all links. */
      readonly path: string;
      /** 64 hex digits; what was allowed is this content, not this name. */
      readonly sha256: string;
    }
  | { readonly action: 'file.read' | 'file.write' /** Relative to the repository's root. */; readonly path: string }
  | { readonly action: 'net.connect'; readonly host: string; readonly port: number }
  | {
      readonly action: 'net.request';
      readonly host: string;
      readonly port: number;
      readonly method: string;
      readonly path: string;
    }
  | {
      readonly action: 'git.fetch';
      readonly repository: string;
      readonly ref: string;
      /** The branch that the run starts from. */
      readonly base: boolean;
    }
  | GitPushAction
  | { readonly action: 'git.sign'; readonly author: string }
  | { readonly action: 'llm.request'; readonly provider: string; readonly model: string }
  | { readonly action: 'secret.use'; readonly name: string; readonly host: string }
  | { readonly action: 'tool.call'; readonly server: string; readonly tool: string }
  | { readonly action: 'forge.open_pull_request' | 'forge.comment'; readonly repository: string };

/** One push, as a whole: facts read from the objects themselves, never from what the pusher says of them. */
export interface GitPushAction {
  readonly action: 'git.push';
  readonly repository: string;
  /** Full name: `refs/heads/cordon/…`. */
  readonly ref: string;
  readonly kind: 'create' | 'update' | 'force' | 'delete';
  /** The commit that it is to point to: part of the subject, so that an approval is for this content and no other. */
  readonly head?: string;
  readonly tag: boolean;
  /** Every path that differs, both sides of renames, relative to the root, sorted. */
  readonly changedPaths: readonly string[];
  readonly changedLines: number;
  /** Bytes of the largest new blob. */
  readonly largestFile: number;
  readonly commits: number;
  /** E-mail addresses of authors and committers, lower case, sorted. */
  readonly authors: readonly string[];
  readonly signed: boolean;
  /** True when the new objects hold what looks like a credential. */
  readonly secrets: boolean;
  /** Paths of new or changed files that are no text, sorted; absent = none. */
  readonly binaries?: readonly string[];
  /** What the changed lock files and package settings say; absent = none changed. */
  readonly dependencies?: PushDependencies;
  /** True only when the trusted side itself saw the tests pass on exactly this tree; absent = not known = false. */
  readonly testsPassed?: boolean;
}

/** Places and sentences name the file and line first: `package-lock.json:12 left-pad@1.3.0 …`. */
export interface PushDependencies {
  /** Every host that an entry or a setting leads to, with one place that says so; `host:port` where the port is another than the policy opens. */
  readonly origins: readonly { readonly host: string; readonly at: string }[];
  /** What no list of registries makes right: no hash, from git or a file, a lock file that cannot be read. */
  readonly problems: readonly string[];
  /** New entries that did not come through the egress gateway in this run. */
  readonly unrecorded: readonly string[];
  /** Packages that a list of names or versions stands against. */
  readonly packages: readonly PushedPackage[];
}

/** Canonical. */
export interface PushedPackage {
  readonly ecosystem: Ecosystem;
  readonly name: string;
  readonly version: string;
  readonly at: string;
}

export type ActionName = PolicyAction['action'];
