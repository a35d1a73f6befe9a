import {
  isObject,
  type JsonObject,
  type JsonValue,
  objects,
  parseObject,
  tokens,
  type Usage,
  WireError,
} from '../wire/wire.ts';
import {
  type Answer,
  asDataUrl,
  type Call,
  type Finish,
  FREE_SCHEMA,
  type Heard,
  inputObject,
  listOf,
  noWords,
  objectOf,
  type Part,
  type Prompt,
  type Result,
  type Text,
  type Tool,
  type Turn,
  textOf,
  textOnly,
  type UpstreamSide,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/** OpenAI Chat Completions, spoken by the upstream. */
export function chatUpstream(set: TranslationSet): UpstreamSide {
  const reader = new Reader(set.id);
  return {
    write: (prompt) => write(prompt, set),
    whole: (body) => whole(body, set.id),
    heard: (_, data) => reader.heard(data),
  };
}

function write(prompt: Prompt, { stream, reasoning }: TranslationSet): JsonObject {
  const { tools, choice, temperature, topP, stop, effort, format, maxOutput } = prompt;
  if (prompt.topK !== null) throw noWords('top_k', 'it');
  return {
    messages: prompt.turns.flatMap(messagesOf),
    ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
    ...(tools.length === 0 || choice === null ? {} : { tool_choice: choiceOf(choice) }),
    ...(tools.length === 0 || prompt.parallel === null ? {} : { parallel_tool_calls: false }),
    ...(maxOutput === null ? {} : { max_completion_tokens: maxOutput }),
    ...(temperature === null ? {} : { temperature }),
    ...(topP === null ? {} : { top_p: topP }),
    ...(stop.length === 0 ? {} : { stop: [...stop] }),
    ...(effort === null || reasoning !== 'effort' ? {} : { reasoning_effort: effort }),
    ...(format === null ? {} : { response_format: formatOf(format) }),
    ...(stream ? { stream: true } : {}),
  };
}

function messagesOf({ role, parts }: Turn): JsonObject[] {
  if (role === 'system') return [{ role, content: parts.map(textOnly('system')).join('\n\n') }];
  if (role === 'assistant') {
    const text = parts.flatMap((part) => (part.kind === 'text' ? [part.text] : []));
    const calls = parts.flatMap((part) => (part.kind === 'call' ? [callOf(part)] : []));
    const stray = parts.find(({ kind }) => kind !== 'text' && kind !== 'call');
    if (stray !== undefined) throw noWords('an answer in the history', stray.kind);
    const content = text.length === 0 ? null : text.join('');
    return [{ role, content, ...(calls.length === 0 ? {} : { tool_calls: calls }) }];
  }
  const results = parts.filter((part): part is Result => part.kind === 'result');
  const said = [...results.flatMap(picturesOf), ...parts.filter(({ kind }) => kind !== 'result')];
  return [...results.map(resultOf), ...(said.length === 0 ? [] : [{ role, content: contentOf(said) }])];
}

function contentOf(parts: readonly Part[]): JsonValue {
  const [only] = parts;
  if (parts.length === 1 && only?.kind === 'text') return only.text;
  return parts.map((part) => {
    if (part.kind === 'text') return { type: 'text', text: part.text };
    if (part.kind === 'image') return { type: 'image_url', image_url: { url: asDataUrl(part) } };
    if (part.kind === 'file')
      return { type: 'file', file: { filename: part.name ?? 'document', file_data: asDataUrl(part) } };
    throw noWords('a message of the user', part.kind);
  });
}

/** A tool's message holds text alone: pictures follow in the user's, said to be what they are. */
function picturesOf({ id, parts }: Result): Part[] {
  const pictures = parts.filter(({ kind }) => kind !== 'text');
  return pictures.length === 0
    ? []
    : [{ kind: 'text', text: `What the tool call ${id} gave besides text:` }, ...pictures];
}

function resultOf({ id, parts, failed }: Result): JsonObject {
  const text = parts.flatMap((part) => (part.kind === 'text' ? [part.text] : [])).join('\n');
  return { role: 'tool', tool_call_id: id, content: failed ? `The tool failed:\n${text}` : text };
}

function callOf(call: Call): JsonObject {
  const input = call.free ? JSON.stringify(inputObject(call)) : call.input === '' ? '{}' : call.input;
  return { id: call.id, type: 'function', function: { name: call.name, arguments: input } };
}

function toolOf({ name, description, schema, strict }: Tool): JsonObject {
  return {
    type: 'function',
    function: {
      name,
      ...(description === null ? {} : { description }),
      parameters: schema ?? FREE_SCHEMA,
      ...(strict === null ? {} : { strict }),
    },
  };
}

function choiceOf(choice: NonNullable<Prompt['choice']>): JsonValue {
  if (choice.kind === 'tool') return { type: 'function', function: { name: choice.name } };
  return choice.kind === 'any' ? 'required' : choice.kind;
}

function formatOf(format: NonNullable<Prompt['format']>): JsonObject {
  if (format.kind === 'json') return { type: 'json_object' };
  const { name, schema, strict } = format;
  return { type: 'json_schema', json_schema: { name, schema, ...(strict === null ? {} : { strict }) } };
}

function finishOf(reason: JsonValue | undefined): Finish {
  if (reason === 'length') return { why: 'length' };
  if (reason === 'tool_calls' || reason === 'function_call') return { why: 'calls' };
  return { why: reason === 'content_filter' ? 'refused' : 'stop' };
}

function usageOf(value: JsonValue | undefined): Usage | null {
  if (!isObject(value)) return null;
  const { prompt_tokens_details: details } = value;
  const cached = isObject(details) ? tokens(details.cached_tokens) : 0;
  return { input: tokens(value.prompt_tokens), output: tokens(value.completion_tokens), cached, cacheWrite: 0 };
}

const messageIn = (error: JsonValue | undefined) =>
  isObject(error) ? String(error.message ?? 'an error') : String(error);

function whole(body: JsonObject, answerId: string): Answer {
  if (body.error) throw new WireError(messageIn(body.error));
  const choice = objectOf(objects(body.choices)[0], 'choices[0]');
  const message = objectOf(choice.message, 'choices[0].message');
  const blocks: (Text | Call)[] = [];
  for (const text of [message.content, message.refusal])
    if (typeof text === 'string' && text !== '') blocks.push({ kind: 'text', text });
  listOf(message.tool_calls, 'tool_calls').forEach((call, i) => {
    const { name, arguments: input } = objectOf(call.function, 'function');
    blocks.push({
      kind: 'call',
      id: idOf(call.id, answerId, i),
      name: textOf(name, 'name'),
      input: inputText(input),
      free: false,
    });
  });
  return {
    model: String(body.model ?? ''),
    blocks,
    finish: finishOf(choice.finish_reason),
    usage: usageOf(body.usage),
  };
}

const idOf = (id: JsonValue | undefined, answerId: string, i: number) =>
  typeof id === 'string' && id !== '' ? id : `call_${answerId}_${i}`;

/** Some servers write arguments as the object itself. */
const inputText = (value: JsonValue | undefined) =>
  typeof value === 'string' ? value : value === undefined || value === null ? '' : JSON.stringify(value);

class Reader {
  readonly #id: string;
  readonly #known = new Set<string>();
  #finished = false;

  constructor(id: string) {
    this.#id = id;
  }

  heard(data: string): Heard[] {
    if (data === '[DONE]') return [{ kind: 'end' }];
    const chunk = parseObject(data);
    if (chunk === null) throw new WireError('an event is no JSON object');
    if (chunk.error) return [{ kind: 'failed', message: messageIn(chunk.error) }];
    const out: Heard[] = [{ kind: 'begin', model: String(chunk.model ?? '') }];
    const [choice] = objects(chunk.choices);
    if (choice !== undefined) out.push(...this.#choice(choice));
    const usage = usageOf(chunk.usage);
    if (usage !== null) out.push({ kind: 'usage', usage });
    return out;
  }

  #choice({ delta, finish_reason: reason }: JsonObject): Heard[] {
    const out: Heard[] = [];
    if (isObject(delta)) {
      for (const text of [delta.content, delta.refusal]) if (typeof text === 'string') out.push({ kind: 'text', text });
      if (delta.reasoning_content || delta.reasoning) out.push({ kind: 'alive' });
      objects(delta.tool_calls).forEach((call, i) => {
        out.push(...this.#call(call, String(call.index ?? i)));
      });
    }
    if (typeof reason === 'string' && !this.#finished) {
      this.#finished = true;
      out.push({ kind: 'finish', finish: finishOf(reason) });
    }
    return out;
  }

  #call(call: JsonObject, key: string): Heard[] {
    const { name, arguments: input } = isObject(call.function) ? call.function : {};
    const out: Heard[] = [];
    if (!this.#known.has(key)) {
      const id = idOf(call.id, this.#id, this.#known.size);
      this.#known.add(key);
      out.push({ kind: 'call', key, id, name: textOf(name, 'tool_calls[].function.name') });
    }
    const text = inputText(input);
    if (text !== '') out.push({ kind: 'input', key, text });
    return out;
  }
}
