/** A run's agent that is a known program: found, checked, started without a person, and its own words read. */
import type { AgentProfile, AgentStep } from '../agents/agent.ts';
import { type FoundAgent, findAgent } from '../agents/found.ts';
import { type ProfileName, profiles } from '../agents/profiles/index.ts';
import { AgentStream } from '../agents/stream.ts';
import { transcript } from '../agents/transcript.ts';
import { NotFoundError, PolicyDeniedError, UsageError } from '../base/errors.ts';
import { GUEST_HOME } from '../sandbox/mount-plan.ts';
import type { AgentVerdict, RunAgent } from './agent.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { promptParts, promptText } from './prompt.ts';
import { redactedJson } from './redaction.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

/** Steps of one run that are recorded one by one. */
const MAX_STEPS = 5_000;
/** Characters of a step that stand in its record. */
const EXCERPT = 240;

export async function openProfileAgent(
  system: System,
  name: ProfileName,
  request: RunRequest,
  { policy, toolbox }: LoadedPolicy,
): Promise<RunAgent> {
  const profile = await profiles[name]();
  if (policy.llm.providers.length === 0) {
    throw new UsageError(`${profile.title} needs a language model, and the policy names no provider`, {
      remedy:
        'llm_policy: {allowed_providers: […], models: […]} in the policy; cordon providers list tells what there is',
    });
  }
  const found = await findAgent(profile, system.agents);
  if (found === null) {
    throw new NotFoundError(`${profile.title} is not on this machine`, { remedy: `cordon agents install ${name}` });
  }
  const listed = toolbox.kind === 'list';
  if (listed && !toolbox.executables.some(({ path }) => path === found.program)) refuse(profile, found, request);
  return {
    tools: found.mounts,
    plan(scope, gateway) {
      if (gateway?.model == null) throw new UsageError('no provider has a model that the policy permits', MODEL);
      const parts = promptParts(request);
      record(scope, profile, found, gateway.model, parts);
      return profile.plan({
        // A list lets only its own files be executed, each at its own path.
        launcher: listed ? [found.program, ...found.launcher.slice(1)] : found.launcher,
        prompt: promptText(parts, request.requester.id),
        model: gateway.model,
        gateway,
        home: GUEST_HOME,
        extra: request.agent.argv,
      });
    },
    follow: (scope) => new Follower(scope, profile),
  };
}

const MODEL = { remedy: 'cordon providers list tells what there is; llm_policy.models says what is permitted' };

function refuse({ title }: AgentProfile, { program }: FoundAgent, { grants }: RunRequest): never {
  const also = grants.commands.map((path) => `--allow-command ${path} `).join('');
  throw new PolicyDeniedError(`${title} is not among the policy's allowed_commands: ${program}`, [], {
    remedy: `list that path there, or: cordon run ${also}--allow-command ${program} …`,
  });
}

function record(
  { run }: RunScope,
  { name: agent }: AgentProfile,
  { version, source, tree, lock }: FoundAgent,
  model: string,
  parts: ReturnType<typeof promptParts>,
): void {
  const prompt = parts.map(({ from, text }) => ({ from, bytes: Buffer.byteLength(text) }));
  const resource = { agent, version, source, tree, lock, model, prompt };
  run.log.enqueue({ type: 'agent.prepared', action: null, resource }, 'requester');
}

/** Reads what the agent prints, shows it as a transcript, and records it step by step. */
class Follower {
  readonly #scope: RunScope;
  readonly #title: string;
  readonly #stream: AgentStream;
  #steps = 0;
  #toolCalls = 0;
  #tokens = { input: 0, output: 0 };
  #end: Extract<AgentStep, { kind: 'end' }> | null = null;

  constructor(scope: RunScope, profile: AgentProfile) {
    this.#scope = scope;
    this.#title = profile.title;
    this.#stream = new AgentStream(profile.parser(), {
      onStep: (step) => this.#step(step),
      onOther: (line) => scope.io.onOutput('stdout', Buffer.from(`${line}\n`)),
    });
  }

  readonly show = (stream: 'stdout' | 'stderr', chunk: Buffer): void => {
    if (stream === 'stdout') this.#stream.write(chunk);
    else this.#scope.io.onOutput(stream, chunk);
  };

  readonly verdict = (): AgentVerdict => {
    this.#stream.end();
    const end = this.#end ?? { ok: false, reason: 'it ended without saying that it is done' };
    const reason = end.ok ? null : (end.reason ?? 'it says that it failed');
    const { log } = this.#scope.run;
    log.enqueue({
      type: 'agent.ended',
      action: null,
      resource: {
        ok: end.ok,
        reason,
        steps: this.#steps,
        toolCalls: this.#toolCalls,
        unrecorded: Math.max(0, this.#steps - MAX_STEPS),
        unread: this.#stream.unread,
        tokens: this.#tokens,
      },
    });
    return reason === null ? { ok: true } : { ok: false, reason: `${this.#title}: ${reason}` };
  };

  /** Redacted as a whole before any of it is cut: the stream was, but JSON can hide a secret that its text shows. */
  #step(said: AgentStep): void {
    const step = redactedJson(said, this.#scope.redactor);
    for (const line of transcript(step)) this.#scope.io.onOutput('stdout', Buffer.from(`${line}\n`));
    if (step.kind === 'end') this.#end = step;
    else if (step.kind === 'usage') {
      this.#tokens = { input: this.#tokens.input + step.input, output: this.#tokens.output + step.output };
    } else {
      if (step.kind === 'tool_call') this.#toolCalls++;
      if (++this.#steps <= MAX_STEPS) this.#record(step);
    }
  }

  #record(step: Exclude<AgentStep, { kind: 'end' | 'usage' }>): void {
    const { log } = this.#scope.run;
    switch (step.kind) {
      case 'tool_call': {
        const { id, tool, input } = step;
        const resource = { id, tool, input: input.slice(0, EXCERPT), characters: input.length };
        log.enqueue({ type: 'agent.tool.called', action: null, resource });
        break;
      }
      case 'tool_result': {
        const { id, ok, text } = step;
        const resource = { id, ok, text: text.slice(0, EXCERPT), characters: text.length };
        log.enqueue({ type: 'agent.tool.returned', action: null, resource });
        break;
      }
      default: {
        const { kind, text } = step;
        log.enqueue({
          type: 'agent.message',
          action: null,
          resource: { kind, text: text.slice(0, EXCERPT), characters: text.length },
        });
      }
    }
  }
}
