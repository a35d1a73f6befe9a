import type { ModelFeature } from '../../../policy/index.ts';
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
  objects,
  only,
  type Problem,
  parseObject,
  partsIn,
  tierFeatures,
  tokens,
  typeOf,
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

/** What the caller runs itself. */
const OWN_TOOL = /^(custom|(bash|text_editor|memory)_\d{8})$/;
/** Others by the start of their type; null: nothing leaves the conversation. */
const TOOLS: readonly (readonly [string, ModelFeature | null])[] = [
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
    rounds: isCompacting(body) ? 2 : 1,
    wantsUsage: true,
    ...reading(body),
  };
}

/** The provider sums the conversation up first, which is a generation of its own. */
function isCompacting({ context_management: management }: JsonObject): boolean {
  if (!isObject(management)) return false;
  return listed(management.edits, 'context_management.edits').some((edit) => typeOf(edit).startsWith('compact'));
}

function toolFeature({ type }: JsonObject): ModelFeature | null {
  if (type === undefined || type === null || (typeof type === 'string' && OWN_TOOL.test(type))) return null;
  const known = TOOLS.find(([start]) => typeof type === 'string' && type.startsWith(start));
  return known === undefined ? 'other_tools' : known[1];
}

/** What a picture or a document is made of. Kinds nobody knows are taken for addresses. */
function sourceFeature(part: JsonObject, kind: JsonValue | undefined): ModelFeature {
  const isImage = part.type === 'image';
  if (kind === 'file') return 'stored_state';
  if (kind === 'base64' || kind === 'text' || kind === 'content') return isImage ? 'images' : 'files';
  return isImage ? 'image_urls' : 'file_urls';
}

const isLong = (value: JsonValue | undefined) =>
  isObject(value) && value.ttl !== undefined && value.ttl !== null && value.ttl !== '5m';

function reading(body: JsonObject): { readonly wants: Wanted[]; readonly longCache: boolean } {
  const found: Wanted[] = tierFeatures(body);
  let longCache = isLong(body.cache_control);
  const want = (feature: ModelFeature, where: string) => found.push({ feature, where });
  /** However deep: results of tools hold parts, and so do documents. */
  const parts = (content: JsonValue | undefined, where: string) => {
    const list = isObject(content) ? [content] : partsIn(content, where);
    list.forEach((part, i) => {
      const at = `${where}[${i}]`;
      longCache ||= isLong(part.cache_control);
      if (isObject(part.source)) {
        want(sourceFeature(part, part.source.type), at);
        parts(part.source.content, `${at}.source`);
      } else if (part.type === 'image' || part.type === 'document') want(sourceFeature(part, undefined), at);
      if (part.type === 'container_upload') want('stored_state', at);
      parts(part.content, `${at}.content`);
    });
  };
  parts(body.system, 'system');
  listed(body.messages, 'messages').forEach((message, i) => {
    parts(message.content, `messages[${i}].content`);
  });
  listed(body.tools, 'tools').forEach((tool, i) => {
    longCache ||= isLong(tool.cache_control);
    const feature = toolFeature(tool);
    if (feature !== null) want(feature, `tools[${i}]`);
  });
  const { mcp_servers: servers, container } = body;
  if (servers !== undefined && servers !== null && !(Array.isArray(servers) && servers.length === 0))
    want('remote_mcp', 'mcp_servers');
  if (container !== undefined && container !== null) want('code_execution', 'container');
  return { wants: found, longCache };
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
    const rounds = objects(usage.iterations);
    // The totals leave out rounds that came before the answer's own; all of them are paid for.
    const sum = (name: string) => rounds.reduce((all, round) => all + tokens(round[name]), 0);
    const told = (name: string) => (typeof usage[name] === 'number' ? Math.max(tokens(usage[name]), sum(name)) : null);
    const before: Usage = this.usage ?? { input: 0, output: 0, cached: 0, cacheWrite: 0 };
    const cached = told('cache_read_input_tokens') ?? before.cached;
    const cacheWrite = told('cache_creation_input_tokens') ?? before.cacheWrite;
    const fresh = told('input_tokens') ?? before.input - before.cached - before.cacheWrite;
    const output = told('output_tokens') ?? before.output;
    const { cache_creation: kept } = usage;
    const long = isObject(kept) ? tokens(kept.ephemeral_1h_input_tokens) : (before.cacheWriteLong ?? 0);
    this.usage = {
      input: fresh + cached + cacheWrite,
      output,
      cached,
      cacheWrite,
      ...(long === 0 ? {} : { cacheWriteLong: Math.min(long, cacheWrite) }),
    };
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
