import { isObject, type JsonObject, type JsonValue, type Usage } from '../wire/wire.ts';
import {
  type Answer,
  type CallerSide,
  type Choice,
  dataUrl,
  effortOf,
  type Finish,
  type Format,
  listOf,
  type Media,
  names,
  noWords,
  numberOf,
  objectOf,
  type Part,
  type Prompt,
  refuseStrays,
  type Text,
  type Told,
  type Tool,
  Turns,
  textOf,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/**
 * OpenAI Chat Completions, spoken by the caller. Harmless: whose request it is, caches, accounting, seed, wordiness; and what is named in
 * `NEUTRAL` while it is at its default.
 */
const KNOWN = names(
  'model messages stream stream_options max_tokens max_completion_tokens temperature top_p top_k stop tools tool_choice ' +
    'parallel_tool_calls response_format reasoning_effort user safety_identifier prompt_cache_key metadata service_tier seed verbosity',
);
const NEUTRAL: Readonly<Record<string, readonly JsonValue[]>> = {
  n: [1],
  store: [false],
  logprobs: [false],
  top_logprobs: [0],
  frequency_penalty: [0],
  presence_penalty: [0],
  repetition_penalty: [1],
};

export function chatCaller({ id, at, wantsUsage }: TranslationSet): CallerSide {
  const writer = new Writer(id, at, wantsUsage);
  return { read, whole: (answer) => whole(answer, id, at), told: (told) => writer.told(told) };
}

function read(body: JsonObject): Prompt {
  const said = Object.fromEntries(
    Object.entries(body).filter(([name, value]) => !NEUTRAL[name]?.includes(value as JsonValue)),
  );
  refuseStrays(said, KNOWN);
  const turns = new Turns();
  listOf(body.messages, 'messages').forEach((message, i) => {
    readMessage(turns, message, `messages[${i}]`);
  });
  if (turns.all.at(-1)?.role === 'assistant') throw noWords('messages', 'an answer that is begun already');
  const { stop } = body;
  return {
    turns: turns.all,
    tools: listOf(body.tools, 'tools').map(toolOf),
    choice: choiceOf(body.tool_choice),
    parallel: body.parallel_tool_calls === false ? false : null,
    maxOutput: numberOf(body, 'max_completion_tokens') ?? numberOf(body, 'max_tokens'),
    temperature: numberOf(body, 'temperature'),
    topP: numberOf(body, 'top_p'),
    topK: numberOf(body, 'top_k'),
    stop: typeof stop === 'string' ? [stop] : Array.isArray(stop) ? stop.map((text) => textOf(text, 'stop')) : [],
    effort: effortOf(body.reasoning_effort, 'reasoning_effort'),
    format: formatOf(body.response_format),
  };
}

function readMessage(turns: Turns, message: JsonObject, where: string): void {
  const parts = partsOf(message.content, `${where}.content`);
  switch (message.role) {
    case 'system':
    case 'developer':
      turns.add('system', parts);
      return;
    case 'user':
      turns.add('user', parts);
      return;
    case 'tool':
      turns.add('user', [
        { kind: 'result', id: textOf(message.tool_call_id, `${where}.tool_call_id`), parts, failed: false },
      ]);
      return;
    case 'assistant': {
      if (message.function_call || message.audio) throw noWords(where, 'function_call or audio');
      const refusal: Part[] = typeof message.refusal === 'string' ? [{ kind: 'text', text: message.refusal }] : [];
      const calls = listOf(message.tool_calls, `${where}.tool_calls`).map((call, i): Part => {
        const at = `${where}.tool_calls[${i}]`;
        if (call.type !== undefined && call.type !== 'function') throw noWords(at, String(call.type));
        const { name, arguments: input } = objectOf(call.function, `${at}.function`);
        return {
          kind: 'call',
          id: textOf(call.id, `${at}.id`),
          name: textOf(name, `${at}.function.name`),
          input: textOf(input ?? '', `${at}.function.arguments`),
          free: false,
        };
      });
      turns.add('assistant', [...parts, ...refusal, ...calls]);
      return;
    }
    default:
      throw noWords(where, `the role ${String(message.role)}`);
  }
}

function partsOf(content: JsonValue | undefined, where: string): (Text | Media)[] {
  if (content === undefined || content === null) return [];
  if (typeof content === 'string') return content === '' ? [] : [{ kind: 'text', text: content }];
  return listOf(content, where).map((part, i) => {
    const at = `${where}[${i}]`;
    if (part.type === 'text') return { kind: 'text', text: textOf(part.text, at) };
    if (part.type === 'refusal') return { kind: 'text', text: textOf(part.refusal, at) };
    if (part.type === 'image_url') {
      const url = isObject(part.image_url) ? part.image_url.url : part.image_url;
      return { kind: 'image', ...dataUrl(url, at), name: null };
    }
    if (part.type === 'file') {
      const file = objectOf(part.file, at);
      const name = typeof file.filename === 'string' ? file.filename : null;
      return { kind: 'file', ...dataUrl(file.file_data, `${at}.file.file_data`), name };
    }
    throw noWords(at, String(part.type));
  });
}

function toolOf(tool: JsonObject, i: number): Tool {
  const where = `tools[${i}]`;
  if (tool.type !== 'function') throw noWords(where, String(tool.type));
  const { name, description, parameters, strict } = objectOf(tool.function, `${where}.function`);
  return {
    name: textOf(name, `${where}.function.name`),
    description: typeof description === 'string' ? description : null,
    schema: isObject(parameters) ? parameters : { type: 'object', properties: {} },
    strict: typeof strict === 'boolean' ? strict : null,
  };
}

function choiceOf(value: JsonValue | undefined): Choice | null {
  if (value === undefined || value === null) return null;
  if (value === 'auto' || value === 'none') return { kind: value };
  if (value === 'required') return { kind: 'any' };
  if (isObject(value) && value.type === 'function' && isObject(value.function))
    return { kind: 'tool', name: textOf(value.function.name, 'tool_choice.function.name') };
  throw noWords('tool_choice', isObject(value) ? String(value.type) : String(value));
}

function formatOf(value: JsonValue | undefined): Format | null {
  if (value === undefined || value === null) return null;
  const format = objectOf(value, 'response_format');
  if (format.type === 'text') return null;
  if (format.type === 'json_object') return { kind: 'json' };
  if (format.type !== 'json_schema') throw noWords('response_format', String(format.type));
  const { name, schema, strict } = objectOf(format.json_schema, 'response_format.json_schema');
  return {
    kind: 'schema',
    name: typeof name === 'string' ? name : 'answer',
    schema: objectOf(schema, 'response_format.json_schema.schema'),
    strict: typeof strict === 'boolean' ? strict : null,
  };
}

const REASONS = {
  stop: 'stop',
  sequence: 'stop',
  paused: 'stop',
  length: 'length',
  calls: 'tool_calls',
  refused: 'content_filter',
} as const;
const reason = ({ why }: Finish) => REASONS[why];

function usageOf({ input, output, cached }: Usage): JsonObject {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

function whole({ model, blocks, finish, usage }: Answer, id: string, created: number): JsonObject {
  const text = blocks.flatMap((block) => (block.kind === 'text' ? [block.text] : []));
  const calls = blocks.flatMap((block) =>
    block.kind === 'call'
      ? [{ id: block.id, type: 'function', function: { name: block.name, arguments: block.input } }]
      : [],
  );
  const message = {
    role: 'assistant',
    content: text.length === 0 ? null : text.join(''),
    refusal: null,
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
  return {
    id: `chatcmpl-${id}`,
    object: 'chat.completion',
    created,
    model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: reason(finish) }],
    ...(usage === null ? {} : { usage: usageOf(usage) }),
  };
}

class Writer {
  readonly #head: JsonObject;
  readonly #wantsUsage: boolean;
  #calls = -1;

  constructor(id: string, created: number, wantsUsage: boolean) {
    this.#head = { id: `chatcmpl-${id}`, object: 'chat.completion.chunk', created, model: '' };
    this.#wantsUsage = wantsUsage;
  }

  told(told: Told): string {
    switch (told.kind) {
      case 'begin':
        this.#head.model = told.model;
        return this.#delta({ role: 'assistant', content: '', refusal: null });
      case 'open': {
        if (told.block.kind === 'text') return '';
        const { id, name } = told.block;
        return this.#call({ index: ++this.#calls, id, type: 'function', function: { name, arguments: '' } });
      }
      case 'delta':
        if (told.block.kind === 'text') return this.#delta({ content: told.text });
        return this.#call({ index: this.#calls, function: { arguments: told.text } });
      case 'close':
        return '';
      case 'end': {
        const usage = this.#wantsUsage && told.usage !== null ? this.#chunk([], usageOf(told.usage)) : '';
        return `${this.#delta({}, reason(told.finish))}${usage}data: [DONE]\n\n`;
      }
      case 'failed':
        return `data: ${JSON.stringify({ error: { message: told.message, type: 'server_error', code: 'provider_error', param: null } })}\n\n`;
      case 'alive':
        return ': alive\n\n';
    }
  }

  #call(call: JsonObject): string {
    return this.#delta({ tool_calls: [call] });
  }

  #delta(delta: JsonObject, finish: string | null = null): string {
    return this.#chunk([{ index: 0, delta, logprobs: null, finish_reason: finish }]);
  }

  #chunk(choices: JsonObject[], usage?: JsonObject): string {
    const more: JsonObject = usage !== undefined ? { usage } : this.#wantsUsage ? { usage: null } : {};
    return `data: ${JSON.stringify({ ...this.#head, choices, ...more })}\n\n`;
  }
}
