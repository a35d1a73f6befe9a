import type { ModelFeature } from '../../../policy/index.ts';
import {
  type Ask,
  flagOf,
  isObject,
  type JsonObject,
  limitOf,
  listed,
  type Meter,
  modelOf,
  objects,
  oneOrMore,
  only,
  type Problem,
  parseObject,
  partsIn,
  tierFeatures,
  tokens,
  typeOf,
  type Usage,
  urlFeature,
  type Wanted,
  type Wire,
  WireError,
} from './wire.ts';

/** OpenAI Chat Completions. https://platform.openai.com/docs/api-reference/chat */
const KNOWN = new Set(
  (
    'model messages stream stream_options max_tokens max_completion_tokens n temperature top_p top_k min_p stop seed tools ' +
    'tool_choice parallel_tool_calls response_format frequency_penalty presence_penalty repetition_penalty logit_bias logprobs ' +
    'top_logprobs user safety_identifier prompt_cache_key metadata reasoning_effort verbosity modalities audio ' +
    'service_tier store web_search_options functions function_call thinking enable_thinking chat_template_kwargs reasoning'
  ).split(' '),
);

const TOOLS: Readonly<Record<string, ModelFeature | null>> = {
  function: null,
  custom: null,
  web_search: 'web_search',
  mcp: 'remote_mcp',
};

/** Fields that no text has: some servers go by these, whatever the part calls itself. */
const BEYOND_TEXT = /image|audio|video|file/;

function ask(body: JsonObject): Ask {
  if (!Array.isArray(body.messages)) throw new WireError('messages is no list');
  const answers = limitOf(body, 'n') ?? 1;
  if (answers > 128) throw new WireError('n is above 128');
  const { stream_options: options } = body;
  return {
    model: modelOf(body.model),
    stream: flagOf(body, 'stream'),
    maxOutput: limitOf(body, 'max_completion_tokens', 'max_tokens'),
    answers,
    wants: wants(body),
    wantsUsage: isObject(options) && options.include_usage === true,
  };
}

function wants(body: JsonObject): Wanted[] {
  const found: Wanted[] = [];
  const want = (feature: ModelFeature, where: string) => found.push({ feature, where });
  listed(body.messages, 'messages').forEach((message, i) => {
    if (isObject(message.audio)) want('audio', `messages[${i}].audio`);
    partsIn(message.content, `messages[${i}].content`).forEach((part, j) => {
      const where = `messages[${i}].content[${j}]`;
      if (part.type === 'image_url') {
        const url = isObject(part.image_url) ? part.image_url.url : part.image_url;
        want(urlFeature(url, 'images', 'image_urls'), where);
      } else if (part.type === 'input_audio' || part.type === 'audio') want('audio', where);
      else if (part.type === 'file') {
        want(isObject(part.file) && part.file.file_id !== undefined ? 'stored_state' : 'files', where);
      } else if (
        (part.type !== 'text' && part.type !== 'refusal') ||
        Object.keys(part).some((name) => BEYOND_TEXT.test(name))
      )
        want('other_tools', where);
    });
  });
  listed(body.tools, 'tools').forEach((tool, i) => {
    const type = typeOf(tool);
    const feature = Object.hasOwn(TOOLS, type) ? TOOLS[type] : 'other_tools';
    if (feature !== null) want(feature ?? 'other_tools', `tools[${i}]`);
  });
  if (body.web_search_options !== undefined) want('web_search', 'web_search_options');
  if (body.audio !== undefined && body.audio !== null) want('audio', 'audio');
  for (const mode of oneOrMore(body.modalities))
    if (mode !== 'text') want(mode === 'audio' ? 'audio' : 'image_generation', 'modalities');
  if (flagOf(body, 'store')) want('stored_state', 'store');
  return [...found, ...tierFeatures(body)];
}

function outgoing(body: JsonObject, asked: Ask, { model, maxOutput }: { model: string; maxOutput: number | null }) {
  const sent = only(body, KNOWN);
  sent.model = model;
  if (asked.maxOutput === null && maxOutput !== null) sent.max_completion_tokens = maxOutput;
  // Without it a stream does not say what it used. Its event is left out again for callers that did not ask.
  if (asked.stream)
    sent.stream_options = { ...(isObject(sent.stream_options) ? sent.stream_options : {}), include_usage: true };
  return sent;
}

class ChatMeter implements Meter {
  usage: Usage | null = null;
  finish: string | null = null;
  complete = false;
  failure: string | null = null;
  readonly #wantsUsage: boolean;

  constructor(asked: Ask) {
    this.#wantsUsage = asked.wantsUsage;
  }

  event(_type: string | null, data: string): boolean {
    if (data === '[DONE]') {
      this.complete = true;
      return false;
    }
    if (!/"usage"|"finish_reason"|"error"/.test(data)) return false;
    const chunk = parseObject(data);
    if (chunk === null) return false;
    this.#read(chunk);
    return !this.#wantsUsage && isObject(chunk.usage) && Array.isArray(chunk.choices) && chunk.choices.length === 0;
  }

  whole(body: JsonObject): void {
    this.#read(body);
    this.complete = true;
  }

  #read(body: JsonObject): void {
    if (isObject(body.error)) this.failure = String(body.error.message ?? 'an error');
    for (const choice of objects(body.choices))
      if (typeof choice.finish_reason === 'string') this.finish = choice.finish_reason;
    if (!isObject(body.usage)) return;
    const { prompt_tokens: input, completion_tokens: output, prompt_tokens_details: details } = body.usage;
    const cached = isObject(details) ? tokens(details.cached_tokens) : 0;
    this.usage = { input: tokens(input), output: tokens(output), cached, cacheWrite: 0 };
  }
}

export function openAiProblem({ code, message, status }: Problem): JsonObject {
  const type = status === 429 ? 'insufficient_quota' : status >= 500 ? 'server_error' : 'invalid_request_error';
  return { error: { message, type, code, param: null } };
}

export const chat: Wire = {
  name: 'chat',
  ask,
  outgoing,
  unknownFields: (body) => Object.keys(body).filter((name) => !KNOWN.has(name)),
  meter: (asked) => new ChatMeter(asked),
  problem: openAiProblem,
  problemEvent: (problem) => `data: ${JSON.stringify(openAiProblem(problem))}\n\n`,
};
