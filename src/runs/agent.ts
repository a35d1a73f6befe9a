/** Runs the agent to its end, within its time, and keeps what it wrote. */

import { formatDuration } from '../base/duration.ts';
import { AgentFailedError, CancelledError, CordonError, LimitError } from '../base/errors.ts';
import { type EffectivePolicy, warmPolicyEngine } from '../policy/index.ts';
import { guestEnvironment } from '../sandbox/guest-etc.ts';
import type { ExitStatus, Sandbox } from '../sandbox/sandbox.ts';
import type { AgentOutput } from './agent-output.ts';
import type { RunRequest } from './request.ts';
import type { RunIo } from './system.ts';

export interface AgentRun {
  readonly sandbox: Sandbox;
  readonly run: string;
  readonly request: RunRequest;
  readonly env: Readonly<Record<string, string>>;
  readonly policy: EffectivePolicy;
  /** Reads the first limit that the sandbox hit. */
  readonly stopped: AbortSignal;
  readonly output: AgentOutput;
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
  { sandbox, run, request, policy, stopped, output, env }: AgentRun,
  io: RunIo,
): Promise<void> {
  const execution = await sandbox.exec({
    argv: request.agent.argv,
    env: { ...guestEnvironment(run), ...env, CORDON_TASK_FILE: '/run/cordon/task' },
  });
  const streams = output.follow(execution);
  setTimeout(warmEngine, WARM_AFTER).unref();
  const time = new AbortController();
  const timer = setTimeout(() => time.abort(), policy.limits.wallClock);
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of [io.signal, time.signal, stopped]) {
      if (signal.aborted) resolve('interrupted');
      signal.addEventListener('abort', () => resolve('interrupted'), { once: true });
    }
  });
  const ended = await Promise.race([execution.exit, interrupted]);
  clearTimeout(timer);
  await Promise.race([
    streams,
    new Promise((resolve) => setTimeout(resolve, ended === 'interrupted' ? 0 : LINGER).unref()),
  ]);
  await sandbox.quiesce();
  await streams;
  if (io.signal.aborted) throw new CancelledError('cancelled by the requester');
  if (time.signal.aborted) {
    const { wallClock } = policy.limits;
    throw new LimitError('wall_clock', `the agent ran longer than ${formatDuration(wallClock)} and was stopped`, {
      remedy: 'give it more time: --timeout, or limits.wall_clock in the policy',
    });
  }
  if (stopped.aborted)
    throw stopped.reason instanceof CordonError ? stopped.reason : new LimitError('memory', String(stopped.reason));
  if (ended !== 'interrupted') judgeExit(ended, request);
}

function judgeExit(exit: ExitStatus, request: RunRequest): void {
  const program = request.agent.argv[0];
  switch (exit.kind) {
    case 'exited':
      if (exit.code === 0) return;
      throw new AgentFailedError(`${program} ended with exit code ${exit.code}`);
    case 'signalled':
      throw new AgentFailedError(`${program} was ended by signal ${exit.signal}`);
    case 'failed':
      throw new AgentFailedError(`${program} could not be started in the sandbox: ${exit.message}`, {
        remedy:
          exit.message === 'ENOENT'
            ? 'inside there is the repository at /workspace and the programs of /usr: check the path'
            : 'check that the policy allows it (cordon policy explain) and that it can be executed',
      });
    case 'lost':
      throw new AgentFailedError(`the sandbox ended under ${program}: ${exit.reason}`);
  }
}
