/** A run's agent that speaks the Agent Client Protocol: talked with from here, its questions answered by the policy. */
import type { Answer, AskedTool } from '../agents/acp/permission.ts';
import { isProfile } from '../agents/profiles/index.ts';
import { bounded } from '../agents/stream.ts';
import { ACP_TOOLS } from '../policy/index.ts';
import type { AgentFollower, AgentVerdict, RunAgent } from './agent.ts';
import { StepRecord } from './agent-steps.ts';
import { decideCrossing } from './crossing.ts';
import type { LoadedPolicy } from './policy-layers.ts';
import { openProfileAgent } from './profile-agent.ts';
import { promptParts, promptTexts } from './prompt.ts';
import type { RunRequest } from './request.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';
import type { System } from './system.ts';

/** `argv` is the agent's command line, or begins with the name of one that Cordon knows how to start like this. */
export async function openAcpAgent(system: System, request: RunRequest, loaded: LoadedPolicy): Promise<RunAgent> {
  const { Conversation } = await import('../agents/acp/conversation.ts');
  const [program = '', ...args] = request.agent.argv;
  const started = isProfile(program)
    ? await openProfileAgent(system, program, { ...request, agent: { kind: program, argv: args } }, loaded, true)
    : { tools: [], plan: () => ({ argv: [program, ...args] as const, env: {}, home: {} }) };
  return { tools: started.tools, plan: started.plan, follow: (scope) => follower(scope, Conversation) };
}

type Conversation = import('../agents/acp/conversation.ts').Conversation;
type ConversationClass = typeof import('../agents/acp/conversation.ts').Conversation;

function follower(scope: RunScope, Talk: ConversationClass): AgentFollower {
  const { io, request } = scope;
  const parts = promptParts(request);
  const steps = new StepRecord(scope);
  const questions = new Questions(scope);
  let talking: Conversation | null = null;
  return {
    // Its standard output is the protocol; what people read of it are its steps.
    show: (stream, chunk) => stream === 'stderr' && io.onOutput(stream, chunk),
    talk(stdin) {
      talking = new Talk(stdin, {
        prompt: promptTexts(parts, request.requester.id),
        cwd: '/workspace',
        onPrompt({ name, version }) {
          const prompt = parts.map(({ from, text }) => ({ from, bytes: Buffer.byteLength(text) }));
          scope.run.log.enqueue(
            { type: 'agent.prompted', action: null, resource: { name, version, prompt } },
            'requester',
          );
        },
        onStep: (step) => steps.take(bounded(step)),
        onOther: (line) => io.onOutput('stdout', Buffer.from(`${scope.redactor.redact(line)}\n`)),
        permission: (asked, answer) => questions.ask(asked, answer),
      });
      const talk = talking;
      return {
        feed: (chunk) => talk.feed(chunk),
        done: talk.done,
        cancel: (patience) => talk.cancel(patience),
        async close() {
          talk.close();
          await questions.close();
        },
      };
    },
    async verdict(): Promise<AgentVerdict> {
      const said: AgentVerdict = (await talking?.done) ?? { ok: false, reason: 'nothing was said' };
      const reason = said.ok ? null : scope.redactor.redact(said.reason);
      steps.close(reason, talking?.unread ?? 0);
      return reason === null ? said : { ok: false, reason: `${request.agent.argv[0]}: ${reason}` };
    },
  };
}

/** One at a time: people cannot read two questions at once, and an agent can send any number. */
class Questions {
  readonly #scope: RunScope;
  readonly #over = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  constructor(scope: RunScope) {
    this.#scope = scope;
  }

  ask(asked: AskedTool, answer: (permitted: boolean) => Answer): Promise<Answer> {
    const mine = this.#last.then(() => {
      this.#over.signal.throwIfAborted();
      return this.#decide(asked, answer);
    });
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** Takes back the question that somebody is being asked. Resolves when the record of it is closed. */
  async close(): Promise<void> {
    this.#over.abort();
    await this.#last;
  }

  async #decide({ id, tool }: AskedTool, answer: (permitted: boolean) => Answer): Promise<Answer> {
    const { log } = this.#scope.run;
    const resource = { server: ACP_TOOLS, tool, call: id };
    const action = { action: 'tool.call', server: ACP_TOOLS, tool } as const;
    const decision = await decideCrossing(this.#scope, action, undefined, undefined, this.#over.signal);
    const cause = await log.append(
      { type: 'tool.asked', action: 'tool.call', resource, decision: recorded(decision) },
      'agent',
    );
    const permitted = decision.effect === 'permit';
    const said = answer(permitted);
    const none = permitted ? 'it offers no way to permit this one call' : 'it offers no way to refuse';
    const outcome = { result: said.option ?? 'cancelled', reason: said.option === null ? none : null };
    await log.append({ type: 'tool.answered', action: 'tool.call', resource, outcome, cause }, 'agent');
    return said;
  }
}
