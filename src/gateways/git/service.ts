import { type GitProcess, killGit, spawnGit } from '../../base/git.ts';
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
  /** Pushes are taken one after the other. */
  pushing: Promise<unknown> = Promise.resolve();
  constructor(options: GitServerOptions) {
    this.options = options;
    this.timeout = options.timeout ?? 300_000;
  }

  start(
    args: readonly string[],
    where: 'view' | 'quarantine',
    env: Record<string, string> = {},
    config: readonly string[] = [],
  ): GitProcess {
    const { quarantine } = this.options;
    const place = where === 'view' ? quarantine.view : quarantine.place;
    const child = spawnGit(place, [...args, place.gitDir], { env, config });
    child.stderr.resume();
    this.running.add(child);
    const timer = setTimeout(() => killGit(child), this.timeout);
    child.on('error', () => {});
    child.on('close', () => {
      clearTimeout(timer);
      this.running.delete(child);
    });
    return child;
  }
}
