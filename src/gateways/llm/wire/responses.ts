import type { ModelFeature } from '../../../policy/index.ts';
import { openAiProblem } from './chat.ts';
import {
  type Ask,
  flagOf,
  isObject,
  type JsonObject,
  type JsonValue,
  limitOf,
  listed,
  type Meter,
  modelOf,
  only,
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

/** OpenAI Responses. https://platform.openai.com/docs/api-reference/responses */
const KNOWN = new Set(
  (
    'model input instructions stream stream_options max_output_tokens max_tool_calls tools tool_choice parallel_tool_calls temperature ' +
    'top_p top_logprobs reasoning text truncation include metadata user safety_identifier prompt_cache_key ' +
    'service_tier store previous_response_id conversation background prompt client_metadata'
  ).split(' '),
);

/** Null: the caller runs it itself. */
const TOOLS: Readonly<Record<string, ModelFeature | null>> = {
  function: null,
  custom: null,
  local_shell: null,
  apply_patch: null,
  namespace: null,
  tool_search: null,
  web_search: 'web_search',
  file_search: 'file_search',
  code_interpreter: 'code_execution',
  image_generation: 'image_generation',
  mcp: 'remote_mcp',
  computer: 'computer_use',
  computer_use: 'computer_use',
};

function ask(body: JsonObject): Ask {
  if (typeof body.input !== 'string' && !Array.isArray(body.input))
    throw new WireError('input is neither text nor a list');
  return {
    model: modelOf(body.model),
    stream: flagOf(body, 'stream'),
    maxOutput: limitOf(body, 'max_output_tokens'),
    answers: 1,
    wants: wants(body),
    wantsUsage: true,
  };
}

/** `web_search_preview_2025_03_11` → `web_search`. */
function toolFeatures(tool: JsonObject, where: string): Wanted[] {
  const type = typeOf(tool).replace(/_preview(?=_|$)|_\d{4}_\d\d_\d\d$/g, '');
  // What stands in a group of tools is judged like what stands beside it.
  const inside = listed(tool.tools, `${where}.tools`).flatMap((one, i) => toolFeatures(one, `${where}.tools[${i}]`));
  const { environment } = tool;
  const elsewhere = isObject(environment) && environment.type !== 'local';
  if (type === 'shell') return elsewhere ? [{ feature: 'code_execution', where }] : inside;
  const feature = Object.hasOwn(TOOLS, type) ? TOOLS[type] : 'other_tools';
  return feature === null || feature === undefined ? inside : [{ feature, where }, ...inside];
}

/** By their fields, whatever they call themselves: a provider may go by these. */
function partFeatures(part: JsonObject, where: string): Wanted[] {
  const has = (name: string) => part[name] !== undefined && part[name] !== null;
  const found: ModelFeature[] = [];
  if (has('file_id')) found.push('stored_state');
  if (has('image_url')) found.push(urlFeature(part.image_url, 'images', 'image_urls'));
  if (has('file_url')) found.push('file_urls');
  if (has('file_data')) found.push('files');
  const type = typeOf(part);
  if (found.length === 0 && (type === 'input_image' || type === 'computer_screenshot')) found.push('image_urls');
  if (found.length === 0 && type === 'input_file') found.push('files');
  if (type === 'input_audio') found.push('audio');
  return found.map((feature) => ({ feature, where }));
}

function wants(body: JsonObject): Wanted[] {
  const found: Wanted[] = tierFeatures(body);
  const want = (feature: ModelFeature, where: string) => found.push({ feature, where });
  const parts = (content: JsonValue | undefined, where: string) => {
    if (isObject(content)) found.push(...partFeatures(content, where));
    else
      partsIn(content, where).forEach((part, i) => {
        found.push(...partFeatures(part, `${where}[${i}]`));
      });
  };
  const tools = (list: JsonValue | undefined, where: string) =>
    listed(list, where).forEach((tool, i) => {
      found.push(...toolFeatures(tool, `${where}[${i}]`));
    });
  partsIn(body.input, 'input').forEach((item, i) => {
    const where = `input[${i}]`;
    // A bare id stands for what the provider kept.
    if (item.type === 'item_reference' || (typeOf(item) === '' && item.role === undefined)) want('stored_state', where);
    found.push(...partFeatures(item, where));
    parts(item.content, `${where}.content`);
    parts(item.output, `${where}.output`);
    // What a search for tools has found becomes part of the tools.
    tools(item.tools, `${where}.tools`);
  });
  tools(body.tools, 'tools');
  for (const name of ['previous_response_id', 'conversation', 'prompt'] as const) {
    if (body[name] !== undefined && body[name] !== null) want('stored_state', name);
  }
  if (flagOf(body, 'background')) want('stored_state', 'background');
  return found;
}

function outgoing(body: JsonObject, asked: Ask, { model, maxOutput }: { model: string; maxOutput: number | null }) {
  const sent = only(body, KNOWN);
  sent.model = model;
  // Left out it means true: the provider would keep prompt and answer.
  if (!asked.wants.some(({ feature }) => feature === 'stored_state')) sent.store = false;
  if (asked.maxOutput === null && maxOutput !== null) sent.max_output_tokens = maxOutput;
  return sent;
}

class ResponsesMeter implements Meter {
  usage: Usage | null = null;
  finish: string | null = null;
  complete = false;
  failure: string | null = null;

  event(type: string | null, data: string): boolean {
    if (!/"response\.(completed|incomplete|failed)"|"type":\s*"error"/.test(data) && type !== 'error') return false;
    const event = parseObject(data);
    if (event === null) return false;
    if (isObject(event.response)) this.whole(event.response);
    else if (event.type === 'error') this.failure = String(event.message ?? 'an error');
    return false;
  }

  whole(body: JsonObject): void {
    this.complete = true;
    if (typeof body.status === 'string') this.finish = body.status;
    if (isObject(body.error)) this.failure = String(body.error.message ?? 'an error');
    if (!isObject(body.usage)) return;
    const { input_tokens: input, output_tokens: output, input_tokens_details: details } = body.usage;
    const cached = isObject(details) ? tokens(details.cached_tokens) : 0;
    this.usage = { input: tokens(input), output: tokens(output), cached, cacheWrite: 0 };
  }
}

export const responses: Wire = {
  name: 'responses',
  ask,
  outgoing,
  unknownFields: (body) => Object.keys(body).filter((name) => !KNOWN.has(name)),
  meter: () => new ResponsesMeter(),
  problem: openAiProblem,
  problemEvent: ({ code, message }) =>
    `event: error\ndata: ${JSON.stringify({ type: 'error', code, message, param: null, sequence_number: 0 })}\n\n`,
};
