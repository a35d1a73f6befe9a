/** Runs the agent to its end, within its time, and keeps what it wrote. */

import type { Writable } from 'node:stream';
import type { AgentPlan } from '../agents/agent.ts';
import { formatDuration } from '../base/duration.ts';
import { AgentFailedError, CancelledError, CordonError, LimitError } from '../base/errors.ts';
import { type EffectivePolicy, warmPolicyEngine } from '../policy/index.ts';
import { guestEnvironment } from '../sandbox/guest-etc.ts';
import type { Execution, ExitStatus, Sandbox, SandboxSpec } from '../sandbox/sandbox.ts';
import type { AgentOutput } from './agent-output.ts';
import { type AgentTalk, PARTING, parted, saidAll } from './agent-talk.ts';
import type { RunModels } from './models.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';
import type { RunIo, System } from './system.ts';
import { USED_UP } from './used-before.ts';

/** The agent of one run: a command line, or a program that Cordon knows how to start and to read (profile-agent.ts). */
export interface RunAgent {
  /** What of the host it is made of. */
  readonly tools: NonNullable<SandboxSpec['tools']>;
  /** What it draws anew at each start, in what it says and runs: a replay takes those for the same. */
  readonly drawn?: readonly RegExp[];
  /** Command lines that it starts for its own use: a replay leaves them out. */
  readonly aside?: readonly RegExp[];
  /** It ends where one of the policy's MCP servers has no list of tools. */
  readonly needsMcp?: boolean;
  /** How it is started; records it. `gateway`: where its models are, null where the policy names none. */
  plan(scope: RunScope, gateway: RunModels['gateway']): AgentPlan;
  /** For one that works from outside, in place of the command line of its plan. */
  start?(scope: RunScope, bench: AgentBench): AgentExecution;
  /** Where its output goes, and what it said of its own success: null when it says nothing of that. */
  follow(scope: RunScope): AgentFollower;
}

export interface AgentFollower {
  readonly show: RunIo['onOutput'];
  /** Asked once, when all of its output was read; records how it ended. `stopped`: why it was ended before its own end. */
  readonly verdict?: (stopped: string | null) => AgentVerdict | Promise<AgentVerdict>;
  /** For an agent that is talked with over its standard streams. */
  readonly talk?: (stdin: Writable, bench: AgentBench) => AgentTalk;
}

/** `error`: what to throw, where that is more exact than a failed agent. */
export type AgentVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: string; readonly error?: CordonError };

export type AgentExecution = Pick<Execution, 'stdout' | 'stderr' | 'exit'> & Partial<Pick<Execution, 'stdin'>>;

export interface AgentBench {
  readonly sandbox: Sandbox;
  readonly env: Readonly<Record<string, string>>;
  /** Aborted when the run is to end; the execution's streams and exit then end soon. */
  readonly signal: AbortSignal;
}

export interface AgentLaunch {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** Throws `NotFoundError` for an agent that is not on this machine, `UsageError` for one that cannot be started like this. */
export async function openAgent(system: System, request: RunRequest, loaded: LoadedPolicy): Promise<RunAgent> {
  const { kind, argv } = request.agent;
  if (kind === 'builtin') return (await import('./builtin-agent.ts')).openBuiltinAgent(request, loaded);
  if (kind === 'acp') return (await import('./acp-agent.ts')).openAcpAgent(system, request, loaded);
  if (kind !== 'command') return (await import('./profile-agent.ts')).openProfileAgent(system, kind, request, loaded);
  const [program = '', ...args] = argv;
  return {
    tools: [],
    plan: () => ({ argv: [program, ...args], env: {}, home: {} }),
    follow: ({ io }) => ({ show: io.onOutput }),
  };
}

export interface AgentRun {
  readonly sandbox: Sandbox;
  readonly run: string;
  readonly launch: AgentLaunch;
  /** For an agent that works from outside. */
  readonly start?: ((bench: AgentBench) => AgentExecution) | undefined;
  readonly policy: EffectivePolicy;
  /** Milliseconds of its time limit that are used already: by a run whose work goes on in this one. */
  readonly elapsed?: number;
  /** Reads the first limit that the sandbox hit. */
  readonly stopped: AbortSignal;
  readonly output: AgentOutput;
  /** What the agent itself said, asked when all of its output was read. */
  readonly verdict?: AgentFollower['verdict'];
  readonly talk?: AgentFollower['talk'];
}

/** Milliseconds into an agent's run after which this process has nothing better to do than to start the policy engine. */
const WARM_AFTER = 150;

function warmEngine(): void {
  try {
    warmPolicyEngine();
  } catch {
    // Whoever asks it hears of it.
  }
}

/** How long streams may stay open after the agent's own end: something it left behind holds them. Milliseconds. */
const LINGER = 250;

/**
 * Resolves when the agent ended with exit code 0. Throws `AgentFailedError` for any other end of its own, `LimitError`,
 * `CancelledError`. Whatever it left running is ended before this returns.
 */
export async function runAgent(
  { sandbox, run, launch, start, policy, elapsed = 0, stopped, output, verdict, talk }: AgentRun,
  io: RunIo,
): Promise<void> {
  const env = { ...guestEnvironment(run), ...launch.env, CORDON_TASK_FILE: '/run/cordon/task' };
  const time = new AbortController();
  const signal = AbortSignal.any([io.signal, time.signal, stopped]);
  const stdin = talk === undefined ? 'none' : 'pipe';
  const execution: AgentExecution =
    start?.({ sandbox, env, signal }) ?? (await sandbox.exec({ argv: launch.argv, env, stdin }));
  const talking = execution.stdin == null ? undefined : talk?.(execution.stdin, { sandbox, env, signal });
  const streams = output.follow(execution, talking && ((chunk) => talking.feed(chunk)));
  const warming = setTimeout(warmEngine, WARM_AFTER).unref();
  const timer = setTimeout(() => time.abort(), Math.max(0, policy.limits.wallClock - elapsed));
  const interrupted = new Promise<'interrupted'>((resolve) => {
    if (signal.aborted) resolve('interrupted');
    signal.addEventListener('abort', () => resolve('interrupted'), { once: true });
  });
  const ended = await Promise.race([execution.exit, interrupted, ...(talking === undefined ? [] : [saidAll(talking)])]);
  clearTimeout(timer);
  clearTimeout(warming); // from here on there is something better to do, and who needs the engine starts it
  if (ended === 'interrupted') await talking?.cancel(PARTING);
  if (ended === 'said') await parted(execution);
  await Promise.race([
    streams,
    new Promise((resolve) => setTimeout(resolve, ended === 'interrupted' ? 0 : LINGER).unref()),
  ]);
  await talking?.close();
  await sandbox.quiesce();
  await streams;
  execution.stdin?.destroy();
  const cut = whyStopped(io.signal, time.signal, stopped, policy, elapsed > 0);
  const said = await verdict?.(cut?.message ?? null);
  if (cut !== null) throw cut;
  if (ended === 'interrupted') return;
  // One that was talked with has said what came of it: how its process ended is nothing more.
  if (talking !== undefined && said?.ok === true) return;
  if (ended !== 'said') judgeExit(ended, launch.argv[0], said, policy);
  else if (said?.ok === false) throw said.error ?? new AgentFailedError(said.reason);
}

/** What ended it before its own end; null when nothing did. */
function whyStopped(
  cancelled: AbortSignal,
  time: AbortSignal,
  stopped: AbortSignal,
  { limits: { wallClock } }: EffectivePolicy,
  resumed: boolean,
): CordonError | null {
  if (cancelled.aborted) return new CancelledError('cancelled by the requester');
  if (time.aborted) {
    return new LimitError('wall_clock', `the agent ran longer than ${formatDuration(wallClock)} and was stopped`, {
      remedy: resumed ? USED_UP : 'give it more time: --timeout, or limits.wall_clock in the policy',
    });
  }
  if (!stopped.aborted) return null;
  return stopped.reason instanceof CordonError ? stopped.reason : new LimitError('memory', String(stopped.reason));
}

function startRemedy(message: string, program: string, { commands, grantFile }: EffectivePolicy): string {
  if (message !== 'ENOENT')
    return 'check that the policy allows it (cordon policy explain) and that it can be executed';
  if (commands === null) return 'inside there is the repository at /workspace and the programs of /usr: check the path';
  const path = program.startsWith('/') ? program : `/usr/bin/${program.split('/').at(-1)}`;
  return `inside there is the repository at /workspace and the programs that ${grantFile} lists (security.allowed_commands): add it there, or for one run --allow-command ${path}`;
}

/** Exit codes lie: an agent that says itself that it failed has failed. */
function judgeExit(
  exit: ExitStatus,
  program: string,
  verdict: AgentVerdict | undefined,
  policy: EffectivePolicy,
): void {
  if (verdict?.ok === false && exit.kind === 'exited') throw verdict.error ?? new AgentFailedError(verdict.reason);
  switch (exit.kind) {
    case 'exited':
      if (exit.code === 0) return;
      throw new AgentFailedError(`${program} ended with exit code ${exit.code}`);
    case 'signalled':
      throw new AgentFailedError(`${program} was ended by signal ${exit.signal}`);
    case 'failed':
      throw new AgentFailedError(`${program} could not be started in the sandbox: ${exit.message}`, {
        remedy: startRemedy(exit.message, program, policy),
        ownEnd: false,
      });
    case 'lost':
      throw new AgentFailedError(`the sandbox ended under ${program}: ${exit.reason}`, { ownEnd: false });
  }
}
