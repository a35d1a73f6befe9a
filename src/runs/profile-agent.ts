/** A run's agent that is a known program: found, checked, started without a person, and its own words read. */
import type { AcpPlan, AgentProfile } from '../agents/agent.ts';
import { type FoundAgent, findAgent } from '../agents/found.ts';
import { isKnownAgent, type KnownAgent, knownAgents } from '../agents/profiles/index.ts';
import { AgentStream } from '../agents/stream.ts';
import { NotFoundError, PolicyDeniedError, UsageError } from '../base/errors.ts';
import { GUEST_HOME } from '../sandbox/mount-operations.ts';
import type { Toolbox } from '../sandbox/sandbox.ts';
import type { AgentVerdict, RunAgent } from './agent.ts';
import { StepRecord } from './agent-steps.ts';
import { placesFor } from './mcp-places.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { promptParts, promptText, recordedPart } from './prompt.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

/** An agent that is talked with: how, set when it is planned. */
export interface Talking {
  plan: AcpPlan | null;
  /** It is told of MCP servers by their aliases; so is one that nothing is known of. */
  byAlias: boolean;
}

/** `talking`: it is to be talked with over the Agent Client Protocol, and what follows it is another's to say. */
export async function openProfileAgent(
  system: System,
  name: KnownAgent,
  request: RunRequest,
  { policy, toolbox }: LoadedPolicy,
  talking: Talking | null = null,
): Promise<RunAgent> {
  const profile = await knownAgents[name]();
  if (talking !== null && profile.acp === undefined) {
    throw new UsageError(`${profile.title} does not speak the Agent Client Protocol by itself`, {
      remedy: isKnownAgent(`${name}-acp`)
        ? `talk with its adapter: cordon run --agent acp … -- ${name}-acp`
        : `cordon run --agent ${name} …`,
    });
  }
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
  if (listed) refuseUnlisted(profile, found, toolbox, request);
  return {
    drawn: profile.drawn ?? [],
    aside: profile.aside ?? [],
    needsMcp: profile.needsMcp === true,
    tools: listed ? withProgram(found) : found.mounts,
    plan(scope, gateway) {
      if (gateway?.model == null) throw new UsageError('no provider has a model that the policy permits', MODEL);
      const parts = promptParts(request);
      record(scope, profile, found, gateway.model, parts);
      if (profile.withoutMcp !== undefined && scope.mcp.length > 0) {
        const names = scope.mcp.map((place) => place.title).join(', ');
        scope.io.onProgress({ step: `note: ${profile.withoutMcp}: it goes without ${names}` });
      }
      const session = {
        launcher: found.launcher,
        prompt: promptText(parts, scope),
        model: gateway.model,
        gateway,
        mcp: placesFor(scope.mcp, profile.mcpByAlias === true),
        home: GUEST_HOME,
        extra: request.agent.argv,
      };
      const plan = profile.plan(session);
      if (talking === null || profile.acp === undefined) return plan;
      const spoken = profile.acp(session);
      talking.plan = spoken;
      talking.byAlias = profile.mcpByAlias === true;
      const { args, env } = spoken;
      return { ...plan, env: { ...plan.env, ...env }, argv: [...session.launcher, ...args, ...session.extra] };
    },
    follow: (scope) => new Follower(scope, profile),
  };
}

/** With a list nothing of the agent's files can be executed but the programs that it names. */
function withProgram({ mounts, program, launcher: [guest], second }: FoundAgent): RunAgent['tools'] {
  const programs = [{ host: program, guest }, ...(second === null ? [] : [second])];
  return [
    ...mounts.filter((mount) => mount.guest !== guest),
    ...programs.map((one) => ({ ...one, folder: false, listed: true })),
  ];
}

const MODEL = { remedy: 'cordon providers list tells what there is; llm_policy.models says what is permitted' };

/** All that is missing at once: whoever adds one path should not be told of the next one then. */
function refuseUnlisted(
  { title, name, package: { second } }: AgentProfile,
  found: FoundAgent,
  toolbox: Toolbox & { readonly kind: 'list' },
  { grants }: RunRequest,
): void {
  if (second !== undefined && found.second === null) {
    throw new PolicyDeniedError(
      `${title} starts a second program, and of this installation nobody knows where that is`,
      [],
      { remedy: `cordon agents install ${name}` },
    );
  }
  const needed = [found.program, ...(found.second === null ? [] : [found.second.host])];
  const missing = needed.filter((program) => !toolbox.executables.some(({ path }) => path === program));
  if (missing.length === 0) return;
  const also = [...grants.commands, ...missing].map((path) => `--allow-command ${path} `).join('');
  throw new PolicyDeniedError(`${title} is not among the policy's allowed_commands: ${missing.join(', ')}`, [], {
    remedy: `list ${missing.length === 1 ? 'that path' : 'these paths'} there, or: cordon run ${also}…`,
  });
}

function record(
  { run }: RunScope,
  { name: agent }: AgentProfile,
  { version, source, tree, lock }: FoundAgent,
  model: string,
  parts: ReturnType<typeof promptParts>,
): void {
  const prompt = parts.map(recordedPart);
  const resource = { agent, version, source, tree, lock, model, prompt };
  run.log.enqueue({ type: 'agent.prepared', action: null, resource }, 'requester');
}

/** Reads what the agent prints. */
class Follower {
  readonly #scope: RunScope;
  readonly #title: string;
  readonly #stream: AgentStream;
  readonly #steps: StepRecord;

  constructor(scope: RunScope, profile: AgentProfile) {
    this.#scope = scope;
    this.#title = profile.title;
    this.#steps = new StepRecord(scope);
    this.#stream = new AgentStream(profile.parser(), {
      onStep: this.#steps.take,
      onOther: (line) => scope.io.onOutput('stdout', Buffer.from(`${line}\n`)),
    });
  }

  readonly show = (stream: 'stdout' | 'stderr', chunk: Buffer): void => {
    if (stream === 'stdout') this.#stream.write(chunk);
    else this.#scope.io.onOutput(stream, chunk);
  };

  readonly verdict = (stopped: string | null): AgentVerdict => {
    this.#stream.end();
    const end = this.#steps.end ?? { ok: false, reason: 'it ended without saying that it is done' };
    const reason = stopped ?? (end.ok ? null : (end.reason ?? 'it says that it failed'));
    this.#steps.close(reason, this.#stream.unread);
    return reason === null ? { ok: true } : { ok: false, reason: `${this.#title}: ${reason}` };
  };
}
