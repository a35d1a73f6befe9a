import { isObject, type JsonObject, type JsonValue, type Usage, WireError } from '../wire/wire.ts';
import {
  type Answer,
  type Call,
  type CallerSide,
  type Choice,
  type Effort,
  effortOf,
  type Finish,
  type Format,
  inputObject,
  listOf,
  type Media,
  names,
  noWords,
  numberOf,
  objectOf,
  type Part,
  type Prompt,
  type Result,
  refuseStrays,
  safeId,
  type Text,
  type Told,
  type Tool,
  Turns,
  textOf,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/** Anthropic Messages, spoken by the caller. The second line of names is harmless: it is about caches, accounting and old thoughts. */
const KNOWN = names(
  'model messages system stream max_tokens stop_sequences temperature top_p top_k tools tool_choice thinking output_config ' +
    'metadata service_tier context_management cache_control speed',
);

export function messagesCaller({ id }: TranslationSet): CallerSide {
  return { read, whole: (answer) => whole(answer, id), told: (told) => toldBy(told, id) };
}

function read(body: JsonObject): Prompt {
  refuseStrays(body, KNOWN);
  const turns = new Turns();
  turns.add('system', partsOf(body.system, 'system'));
  listOf(body.messages, 'messages').forEach((message, i) => {
    const { role } = message;
    if (role !== 'user' && role !== 'assistant' && role !== 'system')
      throw new WireError(`messages[${i}].role is none of user, assistant, system`);
    turns.add(role, partsOf(message.content, `messages[${i}].content`));
  });
  if (turns.all.at(-1)?.role === 'assistant') throw noWords('messages', 'an answer that is begun already');
  const config = body.output_config === undefined ? {} : objectOf(body.output_config, 'output_config');
  refuseStrays(config, names('effort format'));
  return {
    turns: turns.all,
    tools: listOf(body.tools, 'tools').map(toolOf),
    ...choiceOf(body.tool_choice),
    maxOutput: numberOf(body, 'max_tokens'),
    temperature: numberOf(body, 'temperature'),
    topP: numberOf(body, 'top_p'),
    topK: numberOf(body, 'top_k'),
    stop: Array.isArray(body.stop_sequences)
      ? body.stop_sequences.map((text, i) => textOf(text, `stop_sequences[${i}]`))
      : [],
    effort: effortIn(body, config),
    format: formatOf(config.format),
  };
}

function partsOf(content: JsonValue | undefined, where: string): Part[] {
  if (content === undefined || content === null) return [];
  if (typeof content === 'string') return content === '' ? [] : [{ kind: 'text', text: content }];
  return listOf(content, where).flatMap((part, i) => partOf(part, `${where}[${i}]`));
}

function partOf(part: JsonObject, where: string): Part[] {
  switch (part.type) {
    case 'text':
      return [{ kind: 'text', text: textOf(part.text, `${where}.text`) }];
    case 'image':
    case 'document':
      return [mediaOf(part, where)];
    case 'tool_use': {
      const call = { id: textOf(part.id, `${where}.id`), name: textOf(part.name, `${where}.name`) };
      return [{ kind: 'call', ...call, input: JSON.stringify(objectOf(part.input, `${where}.input`)), free: false }];
    }
    case 'tool_result':
      return [resultOf(part, where)];
    // Another model's thoughts are signed for that model alone.
    case 'thinking':
    case 'redacted_thinking':
      return [];
    default:
      throw noWords(where, String(part.type));
  }
}

function mediaOf(part: JsonObject, where: string): Text | Media {
  const source = objectOf(part.source, `${where}.source`);
  const kind = part.type === 'image' ? 'image' : 'file';
  const name = typeof part.title === 'string' ? part.title : null;
  if (source.type === 'text') return { kind: 'text', text: textOf(source.data, `${where}.source.data`) };
  if (source.type !== 'base64') throw noWords(where, `a source of type ${String(source.type)}`);
  const type = textOf(source.media_type, `${where}.source.media_type`);
  return { kind, type, base64: textOf(source.data, `${where}.source.data`), name };
}

function resultOf(part: JsonObject, where: string): Result {
  const parts = partsOf(part.content, `${where}.content`).map((inner) => {
    if (inner.kind === 'call' || inner.kind === 'result') throw noWords(where, `a ${inner.kind} in a tool's result`);
    return inner;
  });
  return {
    kind: 'result',
    id: textOf(part.tool_use_id, `${where}.tool_use_id`),
    parts,
    failed: part.is_error === true,
  };
}

function toolOf(tool: JsonObject, i: number): Tool {
  const where = `tools[${i}]`;
  if (tool.type !== undefined && tool.type !== null && tool.type !== 'custom') throw noWords(where, String(tool.type));
  return {
    name: textOf(tool.name, `${where}.name`),
    description: typeof tool.description === 'string' ? tool.description : null,
    schema: objectOf(tool.input_schema, `${where}.input_schema`),
    strict: typeof tool.strict === 'boolean' ? tool.strict : null,
  };
}

function choiceOf(value: JsonValue | undefined): { choice: Choice | null; parallel: false | null } {
  if (value === undefined || value === null) return { choice: null, parallel: null };
  const choice = objectOf(value, 'tool_choice');
  const parallel = choice.disable_parallel_tool_use === true ? false : null;
  if (choice.type === 'auto' || choice.type === 'none' || choice.type === 'any')
    return { choice: { kind: choice.type }, parallel };
  if (choice.type === 'tool')
    return { choice: { kind: 'tool', name: textOf(choice.name, 'tool_choice.name') }, parallel };
  throw noWords('tool_choice', String(choice.type));
}

/** Tokens for thinking as an effort, by what clients set for each. */
function effortIn({ thinking }: JsonObject, config: JsonObject): Effort | null {
  const stated = effortOf(config.effort, 'output_config.effort');
  if (!isObject(thinking)) return stated;
  if (thinking.type === 'disabled') return 'none';
  if (thinking.type === 'adaptive') return stated ?? 'high';
  if (thinking.type !== 'enabled') throw noWords('thinking', String(thinking.type));
  const budget = numberOf(thinking, 'budget_tokens') ?? 0;
  return stated ?? (budget <= 4096 ? 'low' : budget <= 16_384 ? 'medium' : 'high');
}

function formatOf(value: JsonValue | undefined): Format | null {
  if (value === undefined || value === null) return null;
  const format = objectOf(value, 'output_config.format');
  if (format.type !== 'json_schema') throw noWords('output_config.format', String(format.type));
  return {
    kind: 'schema',
    name: 'answer',
    schema: objectOf(format.schema, 'output_config.format.schema'),
    strict: true,
  };
}

const REASONS = {
  stop: 'end_turn',
  length: 'max_tokens',
  calls: 'tool_use',
  refused: 'refusal',
  paused: 'pause_turn',
  sequence: 'stop_sequence',
} as const;

const ending = (finish: Finish) => ({
  stop_reason: REASONS[finish.why],
  stop_sequence: finish.why === 'sequence' ? finish.text : null,
});

function usageOf(usage: Usage | null): JsonObject {
  const { input, output, cached, cacheWrite } = usage ?? { input: 0, output: 0, cached: 0, cacheWrite: 0 };
  return {
    input_tokens: Math.max(0, input - cached - cacheWrite),
    cache_creation_input_tokens: cacheWrite,
    cache_read_input_tokens: cached,
    output_tokens: output,
  };
}

const head = (id: string, model: string): JsonObject => ({
  id: `msg_${id}`,
  type: 'message',
  role: 'assistant',
  model,
});

const callBlock = ({ id, name, input }: { id: string; name: string; input: JsonObject }): JsonObject => ({
  type: 'tool_use',
  id: safeId(id),
  name,
  input,
});

function whole({ model, blocks, finish, usage }: Answer, id: string): JsonObject {
  const content = blocks.map((block) =>
    block.kind === 'text'
      ? { type: 'text', text: block.text }
      : callBlock({ ...block, input: inputObject(block as Call) }),
  );
  return { ...head(id, model), content, ...ending(finish), usage: usageOf(usage) };
}

const event = (type: string, body: JsonObject) => `event: ${type}\ndata: ${JSON.stringify({ type, ...body })}\n\n`;

function toldBy(told: Told, id: string): string {
  switch (told.kind) {
    case 'begin': {
      const usage = { ...usageOf(told.usage), output_tokens: 0 };
      const message = { ...head(id, told.model), content: [], stop_reason: null, stop_sequence: null, usage };
      return event('message_start', { message }) + event('ping', {});
    }
    case 'open': {
      const { index, block } = told;
      const content_block = block.kind === 'text' ? { type: 'text', text: '' } : callBlock({ ...block, input: {} });
      return event('content_block_start', { index, content_block });
    }
    case 'delta': {
      const { index, block, text } = told;
      const delta =
        block.kind === 'text' ? { type: 'text_delta', text } : { type: 'input_json_delta', partial_json: text };
      return event('content_block_delta', { index, delta });
    }
    case 'close':
      return event('content_block_stop', { index: told.index });
    case 'end':
      return (
        event('message_delta', { delta: ending(told.finish), usage: usageOf(told.usage) }) + event('message_stop', {})
      );
    case 'failed':
      return event('error', { error: { type: 'api_error', message: told.message } });
    case 'alive':
      return event('ping', {});
  }
}
