import type { Command } from 'commander';
import type { Context } from './context.ts';

/** What the module of a verb exports. It is loaded only when that verb (or its help) is asked for. */
export interface VerbModule {
  /** The verb with its options and what it does; `name` and `description` are set by the frame. */
  command(context: Context): Command;
}

export interface Verb {
  readonly name: string;
  readonly summary: string;
  /** True when what stands behind `--` is a program's command line, and not arguments of the verb. */
  readonly takesCommand?: true;
  load(): Promise<VerbModule>;
  /** Does at once what plain words say; false, and nothing done, when it takes more than that to read them. */
  readonly direct?: () => Promise<{ direct(words: readonly string[], context: Context): Promise<boolean> }>;
}

/** In the order of `cordon --help`. One line a verb, one file a verb. */
export const verbs: readonly Verb[] = [
  { name: 'demo', summary: 'see it all at work on an example repository', load: () => import('./demo.ts') },
  {
    name: 'run',
    takesCommand: true,
    summary: 'run an agent on a repository in a sandbox and deliver the change',
    load: () => import('./run.ts'),
  },
  {
    name: 'runs',
    summary: 'look at runs: list, show, logs, commands, diff, artifacts, replay, resume, prune, cancel',
    load: () => import('./runs.ts'),
  },
  { name: 'policy', summary: 'check, explain, test and compare policies', load: () => import('./policy.ts') },
  {
    name: 'secrets',
    summary: 'what runs may use without holding it: set, list, remove, revoke',
    load: () => import('./secrets.ts'),
  },
  {
    name: 'providers',
    summary: 'language models that runs may use through the gateway: list, add, test',
    load: () => import('./providers.ts'),
  },
  {
    name: 'verify',
    summary: 'is this commit authorised? offline, from a clone and a public key file',
    load: () => import('./verify.ts'),
    direct: () => import('./verify-direct.ts'),
  },
  {
    name: 'attest',
    summary: 'what others verify with: key, rotate, revoke; and merge, to prove a merged commit',
    load: () => import('./attest.ts'),
  },
  {
    name: 'agents',
    summary: 'coding agents that Cordon knows how to run: list, install',
    load: () => import('./agents.ts'),
  },
  { name: 'audit', summary: 'the audit log: tail, show, export, verify, prove', load: () => import('./audit.ts') },
  {
    name: 'init',
    summary: 'write a commented .cordon/policy.yaml for this repository',
    load: () => import('./init.ts'),
  },
  {
    name: 'doctor',
    summary: 'what this machine can enforce, and the remedy for what is missing',
    load: () => import('./doctor.ts'),
  },
];
