import { resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { isProfile } from '../agents/profiles/index.ts';
import { parseDuration } from '../base/duration.ts';
import { UsageError } from '../base/errors.ts';
import { loginName } from '../base/login.ts';
import { parseSize } from '../base/size.ts';
import type { Settings } from '../config/schema.ts';
import type { Limits } from '../policy/limits.ts';
import { parseRemote, type RemoteName } from '../policy/remotes.ts';
import type { ContextPart } from '../runs/context-parts.ts';
import type { AgentRequest, Principal, RunRequest } from '../runs/request.ts';

/** The options of `cordon run` as commander hands them over. */
export interface RunOptions {
  readonly workspace?: string;
  readonly repo?: string;
  readonly base: string;
  readonly branch?: string;
  readonly path: readonly string[];
  readonly context?: readonly string[];
  readonly agent?: string;
  readonly policy?: string;
  readonly allowNet: readonly string[];
  readonly allowCommand: readonly string[];
  readonly secret: readonly string[];
  readonly model?: string;
  readonly maxSteps?: number;
  readonly approvals?: string;
  readonly deliver?: string;
  readonly readOnly?: boolean;
  readonly timeout?: number;
  readonly memory?: number;
  readonly cpus?: number;
  readonly pids?: number;
  readonly disk?: number;
  readonly record?: boolean;
  readonly observe?: boolean;
}

export interface RequestSurroundings {
  readonly cwd: string;
  readonly interactive: boolean;
  readonly settings: Settings;
  /** What `--context` named. */
  readonly context?: readonly ContextPart[];
  readonly login?: string;
}

/**
 * The run that a command line asks for. `command` is what stood behind `--`. Throws `UsageError` for what cannot be, and
 * for what this version cannot do yet: an option that is passed over would be a promise that is not kept.
 */
export function toRunRequest(
  task: string | undefined,
  command: readonly string[],
  options: RunOptions,
  surroundings: RequestSurroundings,
): RunRequest {
  refuseLater(options);
  const { cwd, interactive, settings } = surroundings;
  const readOnly = options.readOnly ?? false;
  if (readOnly && options.deliver !== undefined && options.deliver !== 'none') {
    throw new UsageError(`--read-only delivers nothing, and --deliver ${options.deliver} was asked for`, {
      remedy: 'leave one of the two out',
    });
  }
  return {
    requester: requester(settings, surroundings.login ?? loginName()),
    workspace: resolve(cwd, options.workspace ?? '.'),
    repo: remote(options),
    base: options.base,
    branch: options.branch ?? null,
    paths: options.path,
    agent: agentOf(options, command, task),
    task: task ?? null,
    ...contextOf(surroundings.context ?? [], task),
    model: modelOption(options.model),
    policyFile: options.policy === undefined ? null : resolve(cwd, options.policy),
    grants: { net: options.allowNet, commands: options.allowCommand, secrets: options.secret },
    approvals:
      (options.approvals as RunRequest['approvals']) ?? settings.run.approvals ?? (interactive ? 'prompt' : 'deny'),
    deliver: readOnly ? 'none' : ((options.deliver as RunRequest['deliver']) ?? settings.run.deliver ?? 'branch'),
    readOnly,
    limits: limits(options, settings),
    record: options.record ?? settings.run.record ?? true,
  };
}

function contextOf(context: readonly ContextPart[], task: string | undefined): Pick<RunRequest, 'context'> {
  if (context.length === 0) return {};
  if (task === undefined || task.trim() === '') {
    throw new UsageError(
      '--context comes with a task, and there is none: what it says is data, not what is to be done',
      {
        remedy: 'say what is to be done: cordon run --context issue.txt "fix what issue.txt describes" -- CMD…',
      },
    );
  }
  return { context };
}

function agentOf(options: RunOptions, command: readonly string[], task: string | undefined): AgentRequest {
  const byItself = command.length === 0 && task !== undefined && options.model !== undefined;
  const name = options.agent ?? (byItself ? 'builtin' : 'command');
  if (options.maxSteps !== undefined && name !== 'builtin') {
    throw new UsageError(`--max-steps is for the built-in agent, and this is ${name}`, { remedy: 'leave it out' });
  }
  if (command[0] === '' || [...command, task ?? ''].some((argument) => argument.includes('\0'))) {
    throw new UsageError('a program’s name cannot be empty, and no argument can hold a NUL byte');
  }
  if (name === 'builtin' || isProfile(name)) {
    if (task === undefined || task.trim() === '') {
      throw new UsageError(`${name} has nothing to do`, {
        remedy: `say it in words: cordon run --agent ${name} "fix the failing test"`,
      });
    }
    if (name !== 'builtin') return { kind: name, argv: command };
    if (command.length > 0) {
      throw new UsageError('the built-in agent takes no command', { remedy: 'leave out -- and what stands behind it' });
    }
    return { kind: name, argv: [], ...(options.maxSteps === undefined ? {} : { maxSteps: options.maxSteps }) };
  }
  if (command.length === 0) {
    throw new UsageError('there is no agent to run', {
      remedy:
        'write its command behind --, name one that Cordon knows (--agent claude-code), or give the task and a --model',
    });
  }
  if (name === 'acp' && (task === undefined || task.trim() === '')) {
    throw new UsageError('an agent that is talked with has nothing to do', {
      remedy: 'say it in words: cordon run --agent acp "fix the failing test" -- gemini',
    });
  }
  return { kind: name === 'acp' ? name : 'command', argv: command };
}

/** Parts of the command line that are fixed by now and not built yet. */
function refuseLater(options: RunOptions): void {
  const later = (what: string, instead: string) =>
    new UsageError(`${what} is not in this version of Cordon`, { remedy: instead });
  if (options.deliver === 'pr') throw later('--deliver pr', 'use --deliver branch and push that branch');
  if (options.approvals === 'queue') throw later('--approvals queue', 'use prompt or deny');
}

function remote({ repo, workspace }: RunOptions): RemoteName | null {
  if (repo === undefined) return null;
  if (workspace !== undefined) {
    throw new UsageError('--repo and --workspace name two repositories', { remedy: 'leave one of the two out' });
  }
  const parsed = parseRemote(repo);
  if (parsed.ok) return parsed.value;
  throw new UsageError(`--repo: ${parsed.message}`, parsed.remedy === undefined ? {} : { remedy: parsed.remedy });
}

function modelOption(text: string | undefined): string | null {
  if (text === undefined || /^[a-z0-9][a-z0-9._-]{0,62}\/[^\s/][^\s]{0,199}$/.test(text)) return text ?? null;
  throw new UsageError(`"${text}" names no model of a provider`, {
    remedy: 'write --model PROVIDER/MODEL; cordon providers list tells what there is',
  });
}

function limits(options: RunOptions, settings: Settings): Partial<Limits> {
  const { timeout, memory, cpus, pids, disk } = settings.run;
  const chosen = {
    wallClock: options.timeout ?? timeout,
    memory: options.memory ?? memory,
    cpus: options.cpus ?? cpus,
    pids: options.pids ?? pids,
    disk: options.disk ?? disk,
  };
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined));
}

/** A login name may hold anything; in a record a principal is `user:` and plain characters. */
export function requester(settings: Settings, login: string): Principal {
  const name = login.toLowerCase().replace(/[^a-z0-9._@-]/g, '-') || 'unknown';
  return { id: settings.requester ?? `user:${name}`, kind: 'user' };
}

/** Bytes: below it nothing starts, and a number without its unit is a slip. */
const LEAST_SIZE = 1024 ** 2;

/** Parsers for commander: it puts `option … argument … is invalid.` before the message. */
export function sizeOption(text: string): number {
  const size = parseSize(text);
  if (size === null || size < LEAST_SIZE)
    throw new InvalidArgumentError('Write a size such as 512m or 2g; the least is 1m.');
  return size;
}

export function durationOption(text: string): number {
  const duration = parseDuration(text);
  if (duration === null || duration <= 0)
    throw new InvalidArgumentError('Write a time with its unit, such as 90s, 30m or 1h30m.');
  return duration;
}

export function countOption(text: string): number {
  const count = Number(text);
  if (!/^\d{1,7}$/.test(text) || count < 1) throw new InvalidArgumentError('Write a whole number from 1.');
  return count;
}

export function cpusOption(text: string): number {
  const cpus = Number(text);
  if (!/^\d{1,4}(\.\d{1,3})?$/.test(text) || cpus <= 0)
    throw new InvalidArgumentError('Write a number above 0, such as 2 or 0.5.');
  return cpus;
}
