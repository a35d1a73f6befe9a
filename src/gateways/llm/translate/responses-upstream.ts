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
  type Media,
  noWords,
  objectOf,
  type Part,
  type Prompt,
  safeId,
  splitSystem,
  type Text,
  type Tool,
  type Turn,
  textOf,
  textOnly,
  type UpstreamSide,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/** OpenAI Responses, spoken by the upstream. */
export function responsesUpstream(set: TranslationSet): UpstreamSide {
  return { write: (prompt) => write(prompt, set), whole, heard: (_, data) => heard(data) };
}

function write(prompt: Prompt, { stream, reasoning }: TranslationSet): JsonObject {
  const { tools, choice, temperature, topP, effort, format, maxOutput } = prompt;
  if (prompt.topK !== null) throw noWords('top_k', 'it');
  if (prompt.stop.length > 0) throw noWords('stop', 'a text that ends the answer');
  const { system, rest } = splitSystem(prompt);
  return {
    ...(system.length === 0 ? {} : { instructions: system.join('\n\n') }),
    input: rest.flatMap(itemsOf),
    ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
    ...(tools.length === 0 || choice === null ? {} : { tool_choice: choiceOf(choice) }),
    ...(tools.length === 0 || prompt.parallel === null ? {} : { parallel_tool_calls: false }),
    ...(maxOutput === null ? {} : { max_output_tokens: maxOutput }),
    ...(temperature === null ? {} : { temperature }),
    ...(topP === null ? {} : { top_p: topP }),
    ...(effort === null || reasoning !== 'effort' ? {} : { reasoning: { effort } }),
    ...(format === null ? {} : { text: { format: formatOf(format) } }),
    store: false,
    ...(stream ? { stream: true } : {}),
  };
}

function itemsOf({ role, parts }: Turn): JsonObject[] {
  if (role === 'system')
    return [{ type: 'message', role: 'developer', content: parts.map(textOnly('system')).map(inputText) }];
  const items: JsonObject[] = [];
  let content: JsonObject[] = [];
  const flush = () => {
    if (content.length > 0) items.push({ type: 'message', role, content });
    content = [];
  };
  for (const part of parts) {
    if (part.kind === 'call' || part.kind === 'result') {
      flush();
      items.push(part.kind === 'call' ? callOf(part) : resultOf(part));
    } else if (role === 'user') content.push(contentOf(part));
    else content.push({ type: 'output_text', text: textOnly('an answer in the history')(part), annotations: [] });
  }
  flush();
  return items;
}

const inputText = (text: string): JsonObject => ({ type: 'input_text', text });

function contentOf(part: Text | Media): JsonObject {
  if (part.kind === 'text') return inputText(part.text);
  if (part.kind === 'image') return { type: 'input_image', image_url: asDataUrl(part), detail: 'auto' };
  return { type: 'input_file', filename: part.name ?? 'document', file_data: asDataUrl(part) };
}

function callOf(call: Call): JsonObject {
  const input = call.free ? JSON.stringify(inputObject(call)) : call.input === '' ? '{}' : call.input;
  return { type: 'function_call', call_id: safeId(call.id), name: call.name, arguments: input };
}

function resultOf({ id, parts, failed }: Part & { kind: 'result' }): JsonObject {
  const said: readonly (Text | Media)[] = failed ? [{ kind: 'text', text: 'The tool failed:' }, ...parts] : parts;
  const texts = said.flatMap((part) => (part.kind === 'text' ? [part.text] : []));
  const output: JsonValue = texts.length === said.length ? texts.join('\n') : said.map(contentOf);
  return { type: 'function_call_output', call_id: safeId(id), output };
}

/** Left out, `strict` would mean true here, and most schemas are not made for that. */
function toolOf({ name, description, schema, strict }: Tool): JsonObject {
  return { type: 'function', name, description, parameters: schema ?? FREE_SCHEMA, strict: strict ?? false };
}

function choiceOf(choice: NonNullable<Prompt['choice']>): JsonValue {
  if (choice.kind === 'tool') return { type: 'function', name: choice.name };
  return choice.kind === 'any' ? 'required' : choice.kind;
}

function formatOf(format: NonNullable<Prompt['format']>): JsonObject {
  if (format.kind === 'json') return { type: 'json_object' };
  const { name, schema, strict } = format;
  return { type: 'json_schema', name, schema, ...(strict === null ? {} : { strict }) };
}

function usageOf(value: JsonValue | undefined): Usage | null {
  if (!isObject(value)) return null;
  const { input_tokens_details: details } = value;
  const cached = isObject(details) ? tokens(details.cached_tokens) : 0;
  return { input: tokens(value.input_tokens), output: tokens(value.output_tokens), cached, cacheWrite: 0 };
}

function finishOf({ status, incomplete_details: details }: JsonObject): Finish {
  if (status !== 'incomplete') return { why: 'stop' };
  return { why: isObject(details) && details.reason === 'content_filter' ? 'refused' : 'length' };
}

const messageIn = (error: JsonValue | undefined) =>
  isObject(error) ? String(error.message ?? 'an error') : 'the provider says that it failed';

function whole(body: JsonObject): Answer {
  if (isObject(body.error) || body.status === 'failed') throw new WireError(messageIn(body.error));
  const blocks = listOf(body.output, 'output').flatMap((item): (Text | Call)[] => {
    if (item.type === 'message')
      return objects(item.content).map((part) => ({
        kind: 'text',
        text: textOf(part.text ?? part.refusal, 'content'),
      }));
    if (item.type === 'reasoning') return [];
    if (item.type !== 'function_call') throw noWords('the answer', String(item.type));
    const input = textOf(item.arguments, 'arguments');
    return [{ kind: 'call', id: textOf(item.call_id, 'call_id'), name: textOf(item.name, 'name'), input, free: false }];
  });
  return { model: String(body.model ?? ''), blocks, finish: finishOf(body), usage: usageOf(body.usage) };
}

function heard(data: string): Heard[] {
  const event = parseObject(data);
  if (event === null) throw new WireError('an event is no JSON object');
  const key = String(event.output_index);
  switch (event.type) {
    case 'response.created':
      return [{ kind: 'begin', model: String(objectOf(event.response, 'response').model ?? '') }];
    case 'response.output_item.added': {
      const item = objectOf(event.item, 'item');
      if (item.type === 'function_call')
        return [{ kind: 'call', key, id: textOf(item.call_id, 'call_id'), name: textOf(item.name, 'name') }];
      if (item.type === 'message' || item.type === 'reasoning') return [{ kind: 'alive' }];
      return [
        { kind: 'failed', message: `the answer holds ${String(item.type)}, which has no equal in this protocol` },
      ];
    }
    case 'response.output_text.delta':
    case 'response.refusal.delta':
      return [{ kind: 'text', text: textOf(event.delta, 'delta') }];
    case 'response.function_call_arguments.delta':
      return [{ kind: 'input', key, text: textOf(event.delta, 'delta') }];
    case 'response.output_item.done':
      return [{ kind: 'done', key }];
    case 'response.completed':
    case 'response.incomplete': {
      const response = objectOf(event.response, 'response');
      const usage = usageOf(response.usage);
      return [
        { kind: 'finish', finish: finishOf(response) },
        ...(usage === null ? [] : [{ kind: 'usage', usage } as const]),
        { kind: 'end' },
      ];
    }
    case 'response.failed':
      return [{ kind: 'failed', message: messageIn(objectOf(event.response, 'response').error) }];
    case 'error':
      return [{ kind: 'failed', message: String(event.message ?? messageIn(event.error)) }];
    default:
      return [{ kind: 'alive' }];
  }
}
