import type { JsonObject, Usage } from '../wire/wire.ts';
import { type Answer, type Call, type Finish, inputObject, type Opened, type Told } from './neutral.ts';
import type { Naming } from './responses-caller.ts';
import type { TranslationSet } from './translation.ts';

/** Answers as OpenAI Responses has them: an item a block, and the whole answer again at the end. */
export class ResponsesWriter {
  readonly #set: TranslationSet;
  readonly #naming: Naming;
  readonly #items: JsonObject[] = [];
  #sequence = 0;
  #model = '';

  constructor(set: TranslationSet, naming: Naming) {
    this.#set = set;
    this.#naming = naming;
  }

  whole({ model, blocks, finish, usage }: Answer): JsonObject {
    this.#model = model;
    const items = blocks.map((block, index) =>
      this.#item(index, block, block.kind === 'text' ? block.text : block.input, 'completed'),
    );
    return this.#response(items, finish, usage);
  }

  told(told: Told): string {
    switch (told.kind) {
      case 'begin': {
        this.#model = told.model;
        const response = this.#response([], null, null);
        return this.#event('response.created', { response }) + this.#event('response.in_progress', { response });
      }
      case 'open':
        return this.#open(told.index, told.block);
      case 'delta':
        return this.#delta(told.index, told.block, told.text);
      case 'close':
        return this.#close(told.index, told.block, told.text);
      case 'end': {
        const response = this.#response(this.#items, told.finish, told.usage);
        return this.#event(`response.${String(response.status)}`, { response });
      }
      case 'failed': {
        const error = { code: 'server_error', message: told.message };
        const response = { ...this.#response(this.#items, null, null), status: 'failed', error };
        return this.#event('response.failed', { response });
      }
      case 'alive':
        return ': alive\n\n';
    }
  }

  #open(output_index: number, block: Opened): string {
    const item = this.#item(output_index, block, null, 'in_progress');
    const added = this.#event('response.output_item.added', { output_index, item });
    if (block.kind !== 'text') return added;
    const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
    return added + this.#event('response.content_part.added', { ...this.#textAt(output_index), part });
  }

  #delta(output_index: number, block: Opened, delta: string): string {
    if (block.kind === 'text')
      return this.#event('response.output_text.delta', { ...this.#textAt(output_index), delta, logprobs: [] });
    // Its text stands in JSON: it can be taken out of it only as a whole.
    if (this.#naming.free.has(block.name)) return ': alive\n\n';
    const item_id = this.#id(output_index, block);
    return this.#event('response.function_call_arguments.delta', { output_index, item_id, delta });
  }

  #close(output_index: number, block: Opened, text: string): string {
    const item = this.#item(output_index, block, text, 'completed');
    this.#items.push(item);
    const done = () => this.#event('response.output_item.done', { output_index, item });
    if (block.kind === 'text') {
      const at = this.#textAt(output_index);
      const part = { type: 'output_text', text, annotations: [], logprobs: [] };
      return (
        this.#event('response.output_text.done', { ...at, text, logprobs: [] }) +
        this.#event('response.content_part.done', { ...at, part }) +
        done()
      );
    }
    const at = { output_index, item_id: this.#id(output_index, block) };
    if (this.#naming.free.has(block.name)) {
      const input = item.input as string;
      return (
        this.#event('response.custom_tool_call_input.delta', { ...at, delta: input }) +
        this.#event('response.custom_tool_call_input.done', { ...at, input }) +
        done()
      );
    }
    return (
      this.#event('response.function_call_arguments.done', { ...at, name: item.name as string, arguments: text }) +
      done()
    );
  }

  #id(index: number, { kind }: Opened): string {
    return `${kind === 'text' ? 'msg' : 'fc'}_${this.#set.id}_${index}`;
  }

  #textAt(output_index: number): JsonObject {
    return { output_index, item_id: this.#id(output_index, { kind: 'text' }), content_index: 0 };
  }

  /** `text` is null while it is not known yet. */
  #item(index: number, block: Opened | Answer['blocks'][number], text: string | null, status: string): JsonObject {
    const id = this.#id(index, block as Opened);
    if (block.kind === 'text') {
      const content = text === null ? [] : [{ type: 'output_text', text, annotations: [], logprobs: [] }];
      return { id, type: 'message', role: 'assistant', status, content };
    }
    const { id: call_id, name } = block;
    const space = this.#naming.spaces.get(name);
    const called = { name: space?.name ?? name, ...(space === undefined ? {} : { namespace: space.namespace }) };
    if (this.#naming.free.has(name)) {
      const input = text === null ? '' : freeInput(name, text);
      return { id, type: 'custom_tool_call', status, call_id, ...called, input };
    }
    return { id, type: 'function_call', status, call_id, ...called, arguments: text === null ? '' : text || '{}' };
  }

  /** In progress where `finish` is null. */
  #response(output: JsonObject[], finish: Finish | null, usage: Usage | null): JsonObject {
    const reason = finish?.why === 'length' ? 'max_output_tokens' : finish?.why === 'refused' ? 'content_filter' : null;
    return {
      id: `resp_${this.#set.id}`,
      object: 'response',
      created_at: this.#set.at,
      status: finish === null ? 'in_progress' : reason === null ? 'completed' : 'incomplete',
      background: false,
      error: null,
      incomplete_details: reason === null ? null : { reason },
      instructions: null,
      max_output_tokens: null,
      metadata: {},
      model: this.#model,
      output: [...output],
      parallel_tool_calls: true,
      previous_response_id: null,
      reasoning: { effort: null, summary: null },
      store: false,
      temperature: null,
      text: { format: { type: 'text' } },
      tool_choice: 'auto',
      tools: [],
      top_p: null,
      truncation: 'disabled',
      usage: usage === null ? null : usageOf(usage),
      user: null,
    };
  }

  #event(type: string, body: JsonObject): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: this.#sequence++, ...body })}\n\n`;
  }
}

/** What a model wrote for a tool that takes text: `{"input": "…"}` as it was told, or the text itself. */
function freeInput(name: string, text: string): string {
  try {
    const { input } = inputObject({ kind: 'call', id: '', name, input: text, free: false } satisfies Call);
    return typeof input === 'string' ? input : text;
  } catch {
    return text;
  }
}

function usageOf({ input, output, cached }: Usage): JsonObject {
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: input + output,
  };
}
