import type { ModelFeature } from '../../../policy/index.ts';
import {
  type Ask,
  flagOf,
  isObject,
  type JsonObject,
  type JsonValue,
  limitOf,
  type Meter,
  modelOf,
  objects,
  only,
  type Problem,
  parseObject,
  tokens,
  type Usage,
  type Wanted,
  type Wire,
  WireError,
} from './wire.ts';

/** Anthropic Messages. https://docs.anthropic.com/en/api/messages */
const KNOWN = new Set(
  (
    'model messages system stream max_tokens stop_sequences temperature top_p top_k tools tool_choice thinking metadata service_tier ' +
    'context_management output_config output_format mcp_servers container speed cache_control'
  ).split(' '),
);

/** Tools by the start of their type; null: the caller runs it itself. */
const TOOLS: readonly (readonly [string, ModelFeature | null])[] = [
  ['custom', null],
  ['bash_', null],
  ['text_editor_', null],
  ['memory_', null],
  ['tool_search_tool_', null],
  ['computer_', 'computer_use'],
  ['web_search_', 'web_search'],
  ['web_fetch_', 'web_fetch'],
  ['code_execution_', 'code_execution'],
  ['mcp_toolset', 'remote_mcp'],
];

function ask(body: JsonObject): Ask {
  if (!Array.isArray(body.messages)) throw new WireError('messages is no list');
  return {
    model: modelOf(body.model),
    stream: flagOf(body, 'stream'),
    maxOutput: limitOf(body, 'max_tokens'),
    answers: 1,
    wants: wants(body),
    wantsUsage: true,
  };
}

function toolFeature(type: JsonValue | undefined): ModelFeature | null {
  if (type === undefined || type === null) return null;
  const known = TOOLS.find(([start]) => String(type).startsWith(start));
  return known === undefined ? 'other_tools' : known[1];
}

function wants(body: JsonObject): Wanted[] {
  const found: Wanted[] = [];
  const want = (feature: ModelFeature, where: string) => found.push({ feature, where });
  const parts = (content: JsonValue | undefined, where: string, depth: number) => {
    objects(content).forEach((part, i) => {
      const at = `${where}[${i}]`;
      if (part.type === 'image' || part.type === 'document') {
        const inline = part.type === 'image' ? 'images' : 'files';
        const { source } = part;
        const kind = isObject(source) ? source.type : undefined;
        if (kind === 'url') want(part.type === 'image' ? 'image_urls' : 'file_urls', at);
        else if (kind === 'file') want('stored_state', at);
        else want(inline, at);
      }
      if (part.type === 'container_upload') want('stored_state', at);
      if (depth < 4 && Array.isArray(part.content)) parts(part.content, `${at}.content`, depth + 1);
      if (isObject(part.source) && Array.isArray(part.source.content))
        parts(part.source.content, `${at}.source`, depth + 1);
    });
  };
  parts(body.system, 'system', 0);
  objects(body.messages).forEach((message, i) => {
    parts(message.content, `messages[${i}].content`, 0);
  });
  objects(body.tools).forEach((tool, i) => {
    const feature = toolFeature(tool.type);
    if (feature !== null) want(feature, `tools[${i}]`);
  });
  if (Array.isArray(body.mcp_servers) && body.mcp_servers.length > 0) want('remote_mcp', 'mcp_servers');
  if (body.container !== undefined && body.container !== null) want('code_execution', 'container');
  return found;
}

function outgoing(body: JsonObject, asked: Ask, { model, maxOutput }: { model: string; maxOutput: number | null }) {
  const sent = only(body, KNOWN);
  sent.model = model;
  if (asked.maxOutput === null && maxOutput !== null) sent.max_tokens = maxOutput;
  return sent;
}

class MessagesMeter implements Meter {
  usage: Usage | null = null;
  finish: string | null = null;
  complete = false;
  failure: string | null = null;

  event(type: string | null, data: string): boolean {
    if (type === 'content_block_delta' || type === 'ping') return false;
    const event = parseObject(data);
    if (event === null) return false;
    switch (event.type) {
      case 'message_start':
        if (isObject(event.message)) this.#count(event.message.usage);
        break;
      case 'message_delta':
        this.#count(event.usage);
        if (isObject(event.delta) && typeof event.delta.stop_reason === 'string') this.finish = event.delta.stop_reason;
        break;
      case 'message_stop':
        this.complete = true;
        break;
      case 'error':
        this.failure = isObject(event.error) ? String(event.error.message ?? 'an error') : 'an error';
    }
    return false;
  }

  whole(body: JsonObject): void {
    this.complete = true;
    if (body.type === 'error')
      this.failure = isObject(body.error) ? String(body.error.message ?? 'an error') : 'an error';
    if (typeof body.stop_reason === 'string') this.finish = body.stop_reason;
    this.#count(body.usage);
  }

  /** Later reports hold totals; what one leaves out stays as it was told before. */
  #count(usage: JsonValue | undefined): void {
    if (!isObject(usage)) return;
    const told = (name: string) => (typeof usage[name] === 'number' ? tokens(usage[name]) : null);
    const before = this.usage ?? { input: 0, output: 0, cached: 0, cacheWrite: 0 };
    const cached = told('cache_read_input_tokens') ?? before.cached;
    const cacheWrite = told('cache_creation_input_tokens') ?? before.cacheWrite;
    const fresh = told('input_tokens') ?? before.input - before.cached - before.cacheWrite;
    const output = told('output_tokens') ?? before.output;
    this.usage = { input: fresh + cached + cacheWrite, output, cached, cacheWrite };
  }
}

const TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

function problem({ status, message }: Problem): JsonObject {
  return {
    type: 'error',
    error: { type: TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error'), message },
  };
}

export const messages: Wire = {
  name: 'messages',
  ask,
  outgoing,
  unknownFields: (body) => Object.keys(body).filter((name) => !KNOWN.has(name)),
  meter: () => new MessagesMeter(),
  problem,
  problemEvent: (what) => `event: error\ndata: ${JSON.stringify(problem(what))}\n\n`,
};
