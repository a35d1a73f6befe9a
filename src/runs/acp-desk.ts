/** What an agent that is talked with asks: leave for its own tools, and files and terminals of its client's. One hook for both. */
import { type Answer, type AskedTool, toldInWords } from '../agents/acp/permission.ts';
import type { ServiceCall, ServiceResult } from '../agents/acp/services.ts';
import type { ContentRef } from '../audit/event.ts';
import type { Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { ACP_TOOLS, type Decision } from '../policy/index.ts';
import { decideCrossing } from './crossing.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';

/** Characters that stand in an event; the whole is beside the log. */
const EXCERPT = 240;
/** Characters of a call that a person is shown. */
const LONGEST_QUESTION = 4_000;
/** Bytes of one call or result that are kept. */
const MOST = 8 << 20;

export class AcpDesk {
  readonly #scope: RunScope;
  readonly #over = new AbortController();
  #last: Promise<unknown> = Promise.resolve();
  #calls = 0;

  constructor(scope: RunScope) {
    this.#scope = scope;
  }

  /** Leave for a tool of the agent's own: nothing is done here, and it may do it without. */
  permission(asked: AskedTool, answer: (permitted: boolean) => Answer): Promise<Answer> {
    return this.#next(async () => {
      const { id, tool, told } = asked;
      const decision = await this.#decide(tool, toldInWords(tool, told), { ...told });
      const { log } = this.#scope.run;
      const resource = { server: ACP_TOOLS, tool, call: id };
      const content = await this.#keep({ ...told });
      const cause = await log.append(
        { type: 'tool.asked', action: 'tool.call', resource, decision: recorded(decision), ...content },
        'agent',
      );
      const permitted = decision.effect === 'permit';
      const said = answer(permitted);
      const none = permitted ? 'it offers no way to permit this one call' : 'it offers no way to refuse';
      const outcome = { result: said.option ?? 'cancelled', reason: said.option === null ? none : null };
      await log.append({ type: 'tool.answered', action: 'tool.call', resource, outcome, cause }, 'agent');
      return said;
    });
  }

  /** Before Cordon does something for it in the sandbox. */
  readonly service = ({ tool, input }: ServiceCall) => this.#next(() => this.#serve(tool, input as Json));

  /** Takes back the question that somebody is being asked. Resolves when the record of it is closed. */
  async close(): Promise<void> {
    this.#over.abort();
    await this.#last;
  }

  async #serve(tool: string, input: Json) {
    const { log } = this.#scope.run;
    const whole = JSON.stringify(log.redacted(input));
    const cut = whole.length > LONGEST_QUESTION ? `… [${whole.length} characters, ${digest(whole)}]` : '';
    const what = `tool.call of "${ACP_TOOLS}/${tool}" · input ${whole.slice(0, LONGEST_QUESTION)}${cut}`;
    const decision = await this.#decide(tool, what, input);
    const content = await this.#keep(input);
    const id = `client-${++this.#calls}`;
    const brief = whole.slice(0, EXCERPT);
    const cause = await log.append(
      {
        type: 'tool.requested',
        action: 'tool.call',
        resource: { server: ACP_TOOLS, tool, id, step: 0, input: brief, characters: whole.length },
        decision: recorded(decision),
        ...content,
      },
      'agent',
    );
    const started = this.#scope.system.clock.monotonic();
    const ended = async (result: 'done' | 'failed' | 'denied', text: string) => {
      const kept = text.length > EXCERPT ? await this.#keep(text) : {};
      const durationMs = Math.round(this.#scope.system.clock.monotonic() - started);
      const outcome = { result, text: log.excerpt(text, EXCERPT), characters: text.length, durationMs };
      const resource = { server: ACP_TOOLS, tool, id };
      await log.append({ type: 'tool.ended', action: 'tool.call', resource, outcome, cause, ...kept }, 'agent');
    };
    if (decision.effect === 'permit')
      return {
        permitted: true as const,
        done: ({ ok, text }: ServiceResult) => ended(ok ? 'done' : 'failed', text),
      };
    await ended('denied', decision.reason);
    return { permitted: false as const, reason: decision.reason };
  }

  /** Bound to all of the call: to its name, and to what it is to be done with. */
  #decide(tool: string, what: string, input: Json): Promise<Decision> {
    const action = { action: 'tool.call', server: ACP_TOOLS, tool } as const;
    const question = { what, subjectDigest: digest(JSON.stringify({ ...action, input })) };
    return decideCrossing(this.#scope, action, undefined, question, this.#over.signal);
  }

  /** One at a time: people cannot read two questions at once, and an agent can send any number. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(() => {
      this.#over.signal.throwIfAborted();
      return work();
    });
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** Beside the log, encrypted; nothing where the run or its policy keeps no content. */
  async #keep(value: Json): Promise<{ content?: ContentRef }> {
    const { request, loaded, system, run } = this.#scope;
    if (!request.record || loaded.policy.llm.content === 'none') return {};
    const bytes = Buffer.from(JSON.stringify(run.log.redacted(value)));
    const options = { mediaType: 'application/json', maxBytes: Math.max(MOST, bytes.length) };
    return { content: await system.content.put(run.id, bytes, options) };
  }
}
