/** A run's agent that is part of Cordon: its loop is here, on the trusted side; what it does is done by commands in the sandbox. */
import { PassThrough } from 'node:stream';
import { ChatModel } from '../agents/builtin/chat-client.ts';
import { DEFAULT_MAX_STEPS, type Outcome, runLoop } from '../agents/builtin/loop.ts';
import { ModelError } from '../agents/builtin/model.ts';
import { PROMPT_VERSION } from '../agents/builtin/prompt.ts';
import { boundary, framed, type TaskPart } from '../agents/task.ts';
import type { Json } from '../base/canonical-json.ts';
import {
  AgentFailedError,
  CordonError,
  LimitError,
  OutsideError,
  PolicyDeniedError,
  UsageError,
} from '../base/errors.ts';
import type { ExitStatus } from '../sandbox/sandbox.ts';
import type { AgentBench, AgentExecution, AgentVerdict, RunAgent } from './agent.ts';
import { AgentJournal } from './agent-journal.ts';
import { goOn } from './go-on.ts';
import { keepContent, keepsContent } from './keep-content.ts';
import type { RunGateway } from './models.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { projectNotes } from './project-notes.ts';
import { promptParts, recordedPart } from './prompt.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';
import { WorkspaceKeeper } from './workspace-keeper.ts';

/** Milliseconds that an interrupted loop has to record what it was at. */
const PATIENCE = 2_000;

export async function openBuiltinAgent(request: RunRequest, { policy }: LoadedPolicy): Promise<RunAgent> {
  if (policy.llm.providers.length === 0) {
    throw new UsageError('the built-in agent needs a language model, and the policy names no provider', {
      remedy:
        'llm_policy: {allowed_providers: […], models: […]} in the policy; cordon providers list tells what there is',
    });
  }
  return new BuiltinAgent(request.agent.maxSteps ?? DEFAULT_MAX_STEPS);
}

class BuiltinAgent implements RunAgent {
  readonly tools = [];
  readonly #maxSteps: number;
  #gateway: (RunGateway & { readonly model: string }) | null = null;
  #notes: Promise<TaskPart | null> = Promise.resolve(null);
  #journal: AgentJournal | null = null;
  #verdict: AgentVerdict = { ok: false, reason: 'the built-in agent did not come to an end' };

  constructor(maxSteps: number) {
    this.#maxSteps = maxSteps;
  }

  plan(scope: RunScope, gateway: RunGateway | null): ReturnType<RunAgent['plan']> {
    const model = gateway?.model ?? null;
    if (gateway === null || model === null) {
      throw new UsageError('no provider has a model that the policy permits', {
        remedy: 'cordon providers list tells what there is; llm_policy.models says what is permitted',
      });
    }
    this.#gateway = { ...gateway, model };
    this.#notes = projectNotes(scope); // beside the sandbox
    this.#notes.catch(() => {});
    return { argv: ['builtin'], env: {}, home: {} };
  }

  start(scope: RunScope, bench: AgentBench): AgentExecution {
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    stderr.end();
    const write = (line: string) => {
      if (!stdout.writableEnded) stdout.write(`${line}\n`);
    };
    const work = this.#work(scope, bench, write).then(
      (outcome) => this.#judge(scope, outcome),
      (error: unknown) => this.#fail(error),
    );
    const exit = settledSoon(work, bench.signal).then((): ExitStatus => {
      stdout.end();
      return { kind: 'exited', code: 0 };
    });
    return { stdout, stderr, exit };
  }

  follow({ io }: RunScope): ReturnType<RunAgent['follow']> {
    return {
      show: io.onOutput,
      verdict: (stopped) => {
        const said = this.#verdict;
        this.#journal?.close(stopped ?? (said.ok ? null : said.reason));
        return said;
      },
    };
  }

  async #work(scope: RunScope, { sandbox, env, signal }: AgentBench, write: (line: string) => void): Promise<Outcome> {
    const gateway = this.#gateway;
    if (gateway === null) throw new TypeError('it was not planned');
    const [socketPath, parts] = await Promise.all([gateway.open(), this.#parts(scope)]);
    const task = framed(parts, boundary(parts, scope.offered.seed)).join('\n\n');
    await record(scope, gateway.model, parts);
    const keeper = keepsContent(scope) && scope.tape === null ? new WorkspaceKeeper(scope, sandbox, signal) : null;
    const resumed = scope.resumption === null ? undefined : await goOn(scope, sandbox, scope.resumption, keeper);
    const journal = new AgentJournal(scope, write, keeper);
    this.#journal = journal;
    const tools =
      scope.mcpServers === null ? [] : await (await import('./mcp-tools.ts')).mcpTools(scope.mcpServers, scope);
    const outcome = await runLoop({
      model: new ChatModel({ socketPath, token: gateway.token, model: gateway.model }),
      guest: sandbox,
      env,
      task,
      ...gateway.facts,
      maxSteps: this.#maxSteps,
      signal,
      clock: scope.system.clock,
      sleep,
      beforeToolCall: journal.beforeToolCall,
      journal,
      tools,
      resumed,
    });
    journal.ended(outcome);
    return outcome;
  }

  async #parts(scope: RunScope): Promise<readonly TaskPart[]> {
    const notes = await this.#notes;
    return [...promptParts(scope.request), ...(notes === null ? [] : [notes])];
  }

  #judge({ run }: RunScope, { end, success, summary, steps }: Outcome): void {
    run.facts.agent = { steps, summary, success };
    if (success) this.#verdict = { ok: true };
    else this.#fail(new AgentFailedError(`the built-in agent ${ENDS[end]}: ${summary}`, { remedy: REMEDIES[end] }));
  }

  #fail(cause: unknown): void {
    const error = asCordonError(cause);
    this.#verdict = { ok: false, reason: error.message, error };
  }
}

const ENDS: Readonly<Record<Outcome['end'], string>> = {
  finished: 'says that it could not do it',
  words: 'stopped',
  stuck: 'was stopped',
  steps: 'was stopped',
  silent: 'was stopped',
};

const LOOK = 'cordon runs logs RUN tells how it came to that';
const REMEDIES: Readonly<Record<Outcome['end'], string>> = {
  finished: LOOK,
  words: LOOK,
  stuck: `${LOOK}; another model may do better`,
  steps: 'give it more: --max-steps',
  silent: 'try another model: --model PROVIDER/MODEL',
};

/** Why it cannot go on, as the run ends with it. */
function asCordonError(cause: unknown): CordonError {
  if (cause instanceof CordonError) return cause;
  if (!(cause instanceof ModelError))
    return new OutsideError(`the built-in agent broke off: ${String(cause)}`, { cause });
  if (cause.fault === 'budget')
    return new LimitError('models', cause.message, { remedy: 'raise llm_policy.budget, or make the task smaller' });
  if (cause.fault === 'denied')
    return new PolicyDeniedError(cause.message, [], {
      remedy: 'cordon providers list tells what there is; llm_policy says what is permitted',
    });
  return new OutsideError(`the language model cannot be used: ${cause.message}`, {
    cause,
    remedy: 'cordon providers test tells whether it answers; the run can be started again',
  });
}

/** Where each part of what it is told came from, before it is told. */
async function record(scope: RunScope, model: string, parts: readonly TaskPart[]): Promise<void> {
  const { run } = scope;
  const prompt = parts.map(recordedPart);
  const itself = { agent: 'builtin', version: PROMPT_VERSION, source: 'built-in', tree: null, lock: null } as const;
  const resource = { ...itself, model, prompt };
  const begun = await keepContent(scope, { documents: scope.documents } as unknown as Json);
  await run.log.append({ type: 'agent.prepared', action: null, resource, ...begun }, 'requester');
}

/** When the work has settled; once the signal is aborted it is waited for no longer than its patience. */
async function settledSoon(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const late = new Promise<void>((resolve) => {
    const patience = () => setTimeout(resolve, PATIENCE).unref();
    if (signal.aborted) patience();
    else signal.addEventListener('abort', patience, { once: true });
  });
  await Promise.race([work, late]);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
