import { isObject, type JsonObject, type JsonValue, parseObject, tokens, type Usage, WireError } from '../wire/wire.ts';
import {
  type Answer,
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
  safeId,
  splitSystem,
  systemAsUser,
  type Text,
  type Tool,
  type Turn,
  textOf,
  type UpstreamSide,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/** Anthropic Messages, spoken by the upstream. */
export function messagesUpstream(set: TranslationSet): UpstreamSide {
  const reader = new Reader();
  return { write: (prompt) => write(prompt, set), whole, heard: (_type, data) => reader.heard(data) };
}

function write(prompt: Prompt, set: TranslationSet): JsonObject {
  const { system, rest } = splitSystem(prompt);
  const { temperature, topP, topK, stop, tools } = prompt;
  if (temperature !== null && temperature > 1) throw noWords('temperature', 'above 1');
  if (prompt.format?.kind === 'json') throw noWords('response_format', 'JSON without a schema');
  const maxOutput = prompt.maxOutput ?? set.maxOutput;
  const choice = choiceOf(prompt);
  return {
    max_tokens: maxOutput,
    ...(system.length === 0 ? {} : { system: system.map((text) => ({ type: 'text', text })) }),
    messages: systemAsUser(rest).map(messageOf),
    ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
    ...(tools.length === 0 || choice === null ? {} : { tool_choice: choice }),
    ...(temperature === null ? {} : { temperature }),
    ...(topP === null ? {} : { top_p: topP }),
    ...(topK === null ? {} : { top_k: topK }),
    ...(stop.length === 0 ? {} : { stop_sequences: [...stop] }),
    ...thinkingOf(prompt, set, maxOutput),
    ...(set.stream ? { stream: true } : {}),
  };
}

/** Results before everything else: they must be the first of what follows their calls. */
function messageOf({ role, parts }: Turn): JsonObject {
  const results = parts.filter(({ kind }) => kind === 'result');
  const others = parts.filter(({ kind }) => kind !== 'result');
  return { role, content: [...results, ...others].map(partOf) };
}

function partOf(part: Part): JsonObject {
  switch (part.kind) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image':
    case 'file': {
      const source = { type: 'base64', media_type: part.type, data: part.base64 };
      if (part.kind === 'image') return { type: 'image', source };
      return { type: 'document', source, ...(part.name === null ? {} : { title: part.name }) };
    }
    case 'call':
      return { type: 'tool_use', id: safeId(part.id), name: part.name, input: inputObject(part) };
    case 'result': {
      const failed: JsonObject = part.failed ? { is_error: true } : {};
      return { type: 'tool_result', tool_use_id: safeId(part.id), content: part.parts.map(partOf), ...failed };
    }
  }
}

function toolOf({ name, description, schema, strict }: Tool): JsonObject {
  return {
    name,
    ...(description === null ? {} : { description }),
    input_schema: schema ?? FREE_SCHEMA,
    ...(strict === true ? { strict } : {}),
  };
}

function choiceOf({ choice, parallel }: Prompt): JsonObject | null {
  if (choice === null && parallel === null) return null;
  const one: JsonObject = parallel === false && choice?.kind !== 'none' ? { disable_parallel_tool_use: true } : {};
  if (choice?.kind === 'tool') return { type: 'tool', name: choice.name, ...one };
  return { type: choice?.kind ?? 'auto', ...one };
}

/** Tokens for thinking. */
const BUDGETS = { minimal: 1024, low: 4096, medium: 16_384, high: 32_768, xhigh: 49_152, max: 65_536 } as const;

/**
 * Only where the settings say that the model has it. The thoughts of calls that are under way are not in another protocol's history, and
 * without them thinking is refused: then the model goes on without.
 */
function thinkingOf(prompt: Prompt, { reasoning }: TranslationSet, maxOutput: number): JsonObject {
  const { effort, format, choice, turns } = prompt;
  const config: JsonObject =
    format?.kind === 'schema' ? { format: { type: 'json_schema', schema: format.schema } } : {};
  const forced = choice?.kind === 'any' || choice?.kind === 'tool';
  const underWay = turns.at(-1)?.parts.some(({ kind }) => kind === 'result') ?? false;
  const asked = effort !== null && effort !== 'none' && !forced && !underWay;
  if (reasoning === 'budget' && asked && maxOutput > 2048 && prompt.temperature === null && prompt.topK === null) {
    const budget = Math.min(BUDGETS[effort], Math.floor(maxOutput / 2));
    return { ...wrapped(config), thinking: { type: 'enabled', budget_tokens: budget } };
  }
  if (reasoning !== 'adaptive' || effort === null || effort === 'none') return wrapped(config);
  config.effort = effort === 'minimal' ? 'low' : effort === 'xhigh' ? 'high' : effort;
  return { ...wrapped(config), ...(asked ? { thinking: { type: 'adaptive' } } : {}) };
}

const wrapped = (config: JsonObject): JsonObject => (Object.keys(config).length === 0 ? {} : { output_config: config });

function finishOf(reason: JsonValue | undefined, sequence: JsonValue | undefined): Finish {
  switch (reason) {
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return { why: 'length' };
    case 'tool_use':
      return { why: 'calls' };
    case 'refusal':
      return { why: 'refused' };
    case 'pause_turn':
      return { why: 'paused' };
    case 'stop_sequence':
      return { why: 'sequence', text: typeof sequence === 'string' ? sequence : null };
    default:
      return { why: 'stop' };
  }
}

function usageOf(value: JsonValue | undefined, before: Usage | null): Usage | null {
  if (!isObject(value)) return before;
  const told = (name: string) => (typeof value[name] === 'number' ? tokens(value[name]) : null);
  const was = before ?? { input: 0, output: 0, cached: 0, cacheWrite: 0 };
  const cached = told('cache_read_input_tokens') ?? was.cached;
  const cacheWrite = told('cache_creation_input_tokens') ?? was.cacheWrite;
  const fresh = told('input_tokens') ?? was.input - was.cached - was.cacheWrite;
  return { input: fresh + cached + cacheWrite, output: told('output_tokens') ?? was.output, cached, cacheWrite };
}

function whole(body: JsonObject): Answer {
  if (body.type === 'error') throw new WireError(messageIn(body));
  const blocks = listOf(body.content, 'content').flatMap((part): (Text | Call)[] => {
    if (part.type === 'text') return [{ kind: 'text', text: textOf(part.text, 'text') }];
    if (part.type === 'thinking' || part.type === 'redacted_thinking') return [];
    if (part.type !== 'tool_use') throw noWords('the answer', String(part.type));
    const input = JSON.stringify(objectOf(part.input, 'input'));
    return [{ kind: 'call', id: textOf(part.id, 'id'), name: textOf(part.name, 'name'), input, free: false }];
  });
  return {
    model: String(body.model ?? ''),
    blocks,
    finish: finishOf(body.stop_reason, body.stop_sequence),
    usage: usageOf(body.usage, null),
  };
}

const messageIn = ({ error }: JsonObject) => (isObject(error) ? String(error.message ?? 'an error') : 'an error');

class Reader {
  #usage: Usage | null = null;

  heard(data: string): Heard[] {
    const event = parseObject(data);
    if (event === null) throw new WireError('an event is no JSON object');
    const key = String(event.index);
    switch (event.type) {
      case 'message_start': {
        const message = objectOf(event.message, 'message');
        this.#usage = usageOf(message.usage, null);
        return [{ kind: 'begin', model: String(message.model ?? ''), usage: this.#usage }];
      }
      case 'content_block_start':
        return started(key, objectOf(event.content_block, 'content_block'));
      case 'content_block_delta': {
        const delta = objectOf(event.delta, 'delta');
        if (delta.type === 'text_delta') return [{ kind: 'text', text: textOf(delta.text, 'text') }];
        if (delta.type === 'input_json_delta')
          return [{ kind: 'input', key, text: textOf(delta.partial_json, 'partial_json') }];
        return [{ kind: 'alive' }];
      }
      case 'content_block_stop':
        return [{ kind: 'done', key }];
      case 'message_delta': {
        const delta = objectOf(event.delta, 'delta');
        this.#usage = usageOf(event.usage, this.#usage);
        const usage: Heard[] = this.#usage === null ? [] : [{ kind: 'usage', usage: this.#usage }];
        return [...usage, { kind: 'finish', finish: finishOf(delta.stop_reason, delta.stop_sequence) }];
      }
      case 'message_stop':
        return [{ kind: 'end' }];
      case 'error':
        return [{ kind: 'failed', message: messageIn(event) }];
      default:
        return [{ kind: 'alive' }];
    }
  }
}

function started(key: string, block: JsonObject): Heard[] {
  if (block.type === 'text') return [{ kind: 'text', text: typeof block.text === 'string' ? block.text : '' }];
  if (block.type === 'tool_use')
    return [{ kind: 'call', key, id: textOf(block.id, 'id'), name: textOf(block.name, 'name') }];
  if (block.type === 'thinking' || block.type === 'redacted_thinking') return [{ kind: 'alive' }];
  return [{ kind: 'failed', message: `the answer holds ${String(block.type)}, which has no equal in this protocol` }];
}
