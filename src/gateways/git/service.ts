import { type GitPlace, type GitProcess, killGit, spawnGit } from '../../base/git.ts';
import { Refs } from './refs.ts';
import type { GitServerOptions } from './server.ts';

export const serviceNames = ['git-upload-pack', 'git-receive-pack'] as const;
export type ServiceName = (typeof serviceNames)[number];

export function isServiceName(name: string): name is ServiceName {
  return (serviceNames as readonly string[]).includes(name);
}

/** What the requests of one server share. */
export class Service {
  readonly options: GitServerOptions;
  readonly timeout: number;
  readonly running = new Set<GitProcess>();
  active = 0;
  /** What pushes are told is there. */
  readonly refs: Refs;
  /** Aborted when the server closes. */
  readonly closing = new AbortController();
  /** Pushes are taken one after the other. */
  pushing: Promise<unknown> = Promise.resolve();
  constructor(options: GitServerOptions) {
    this.options = options;
    this.timeout = options.timeout ?? 300_000;
    this.refs = new Refs(options.quarantine);
  }

  /** A git process that ends with the server, or after `timeout` milliseconds. */
  start(
    args: readonly string[],
    place: GitPlace,
    timeout: number,
    env: Record<string, string> = {},
    config: readonly string[] = [],
  ): GitProcess {
    const child = spawnGit(place, args, { env, config });
    this.running.add(child);
    const timer = setTimeout(() => killGit(child), timeout);
    child.on('error', () => {});
    child.on('close', () => {
      clearTimeout(timer);
      this.running.delete(child);
    });
    return child;
  }
}
