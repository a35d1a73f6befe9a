/** A run's agent that speaks the Agent Client Protocol: talked with from here, its questions answered by the policy. */

import { basename } from 'node:path';
import { offerOf } from '../agents/acp/offer.ts';
import { isKnownAgent } from '../agents/profiles/index.ts';
import { bounded } from '../agents/stream.ts';
import { systemClock } from '../base/clock.ts';
import { AgentFailedError } from '../base/errors.ts';
import { ACP_TOOLS } from '../policy/index.ts';
import { rulesOnTools } from '../policy/tool-rules.ts';
import type { Toolbox } from '../sandbox/sandbox.ts';
import { AcpDesk } from './acp-desk.ts';
import type { AgentFollower, AgentVerdict, RunAgent } from './agent.ts';
import { StepRecord } from './agent-steps.ts';
import { placesFor } from './mcp-places.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { openProfileAgent, type Talking } from './profile-agent.ts';
import { promptParts, promptTexts, recordedPart } from './prompt.ts';
import type { RunRequest } from './request.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

/** `argv` is the agent's command line, or begins with the name of one that Cordon knows how to start like this. */
export async function openAcpAgent(system: System, request: RunRequest, loaded: LoadedPolicy): Promise<RunAgent> {
  const { Conversation } = await import('../agents/acp/conversation.ts');
  const [program = '', ...args] = request.agent.argv;
  const talking: Talking = { plan: null, byAlias: true };
  const started = isKnownAgent(program)
    ? await openProfileAgent(system, program, { ...request, agent: { kind: 'acp', argv: args } }, loaded, talking)
    : { tools: [], plan: () => ({ argv: [program, ...args] as const, env: {}, home: {} }) };
  return { ...started, follow: (scope) => follower(scope, Conversation, talking) };
}

type Conversation = import('../agents/acp/conversation.ts').Conversation;
type ConversationClass = typeof import('../agents/acp/conversation.ts').Conversation;

function follower(scope: RunScope, Talk: ConversationClass, how: Talking): AgentFollower {
  const { io, request } = scope;
  const parts = promptParts(request);
  const steps = new StepRecord(scope);
  const desk = new AcpDesk(scope);
  let talking: Conversation | null = null;
  let saidAt: number | undefined;
  return {
    // Its standard output is the protocol; what people read of it are its steps.
    show: (stream, chunk) => stream === 'stderr' && io.onOutput(stream, chunk),
    talk(stdin, { sandbox, env, signal }) {
      talking = new Talk(stdin, {
        prompt: promptTexts(parts, scope),
        cwd: '/workspace',
        onPrompt({ name, version }) {
          const prompt = parts.map(recordedPart);
          scope.run.log.enqueue(
            { type: 'agent.prompted', action: null, resource: { name, version, prompt } },
            'requester',
          );
        },
        onStep: (step) => steps.take(bounded(step)),
        onOther: (line) => io.onOutput('stdout', Buffer.from(`${scope.redactor.redact(line)}\n`)),
        permission: (asked, answer) => desk.permission(asked, answer),
        service: desk.service,
        bench: { guest: sandbox, env, signal },
        offer: offerOf(programsOf(scope.loaded.toolbox)),
        session: {
          mcp: placesFor(scope.mcp, how.byAlias),
          plan: how.plan,
          mustAsk: rulesOnTools(scope.loaded.policy, ACP_TOOLS),
          note: (message) => scope.io.onProgress({ step: `note: ${message}` }),
        },
      });
      const talk = talking;
      talk.done.then(() => {
        saidAt = systemClock.now();
      });
      return {
        feed: (chunk) => talk.feed(chunk),
        done: talk.done,
        cancel: (patience) => talk.cancel(patience),
        async close() {
          const closing = talk.close();
          await desk.close(); // a question that somebody is being asked holds what is being done for the agent
          await closing;
        },
      };
    },
    async verdict(stopped): Promise<AgentVerdict> {
      const said = (await talking?.done) ?? { ok: false, reason: 'nothing was said' };
      const told = stopped ?? (said.ok ? null : said.reason);
      const reason = told === null ? null : scope.redactor.redact(told);
      steps.close(reason, talking?.unread ?? 0, stopped === null ? saidAt : undefined);
      if (reason === null) return { ok: true };
      const failed = `${request.agent.argv[0]}: ${reason}`;
      if (said.ok || said.remedy === undefined) return { ok: false, reason: failed };
      return { ok: false, reason: failed, error: new AgentFailedError(failed, { remedy: said.remedy }) };
    },
  };
}

/** Their file names; null where everything in `/usr` is there. */
function programsOf(toolbox: Toolbox): readonly string[] | null {
  if (toolbox.kind === 'usr') return null;
  return toolbox.executables.flatMap(({ path, listed }) => [path, ...listed].map((one) => basename(one)));
}
