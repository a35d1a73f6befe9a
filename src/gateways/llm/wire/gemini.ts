import type { ModelFeature } from '../../../policy/index.ts';
import {
  type Ask,
  isObject,
  type JsonObject,
  type JsonValue,
  limitOf,
  listed,
  type Meter,
  modelOf,
  objects,
  oneOrMore,
  only,
  type Problem,
  parseObject,
  tokens,
  type Usage,
  type Wanted,
  type Wire,
  WireError,
} from './wire.ts';

/** Google Gemini `generateContent`. https://ai.google.dev/api/generate-content. Names may be written in snake case too. */
const KNOWN = new Set(
  (
    'contents systemInstruction system_instruction tools toolConfig tool_config safetySettings safety_settings generationConfig ' +
    'generation_config cachedContent cached_content labels'
  ).split(' '),
);

const TOOLS: Readonly<Record<string, ModelFeature | null>> = {
  functionDeclarations: null,
  googleSearch: 'web_search',
  googleSearchRetrieval: 'web_search',
  enterpriseWebSearch: 'web_search',
  googleMaps: 'web_search',
  urlContext: 'web_fetch',
  codeExecution: 'code_execution',
  computerUse: 'computer_use',
  fileSearch: 'file_search',
  retrieval: 'file_search',
  mcpServers: 'remote_mcp',
};

/** Either spelling; both at once are refused, because only one could be judged. */
function either(body: JsonObject, name: string): JsonValue | undefined {
  const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  if (body[name] !== undefined && snake !== name && body[snake] !== undefined)
    throw new WireError(`${name} and ${snake} are the same field`);
  return body[name] ?? body[snake];
}

function objectIn(part: JsonObject, name: string, where: string): JsonObject | null {
  const value = either(part, name) ?? null;
  if (value !== null && !isObject(value)) throw new WireError(`${where}.${name} is no object`);
  return value;
}

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

function configOf(body: JsonObject): JsonObject {
  const config = either(body, 'generationConfig') ?? {};
  if (!isObject(config)) throw new WireError('generationConfig is no object');
  return config;
}

function ask(body: JsonObject, path: { readonly model: string | null; readonly stream: boolean }): Ask {
  if (!Array.isArray(body.contents)) throw new WireError('contents is no list');
  const config = configOf(body);
  return {
    model: modelOf(path.model ?? undefined),
    stream: path.stream,
    maxOutput: limitOf(config, 'maxOutputTokens', 'max_output_tokens'),
    answers: limitOf(config, 'candidateCount', 'candidate_count') ?? 1,
    wants: wants(body),
    wantsUsage: true,
  };
}

function wants(body: JsonObject): Wanted[] {
  const found: Wanted[] = [];
  const want = (feature: ModelFeature, where: string) => found.push({ feature, where });
  const parts = (content: JsonValue | undefined, where: string) => {
    if (content === undefined || content === null || typeof content === 'string') return;
    if (!isObject(content)) throw new WireError(`${where} is no object`);
    listed(content.parts, `${where}.parts`).forEach((part, i) => {
      const at = `${where}.parts[${i}]`;
      const inline = objectIn(part, 'inlineData', at);
      if (inline !== null) want(inlineFeature(either(inline, 'mimeType')), at);
      if (either(part, 'fileData') !== undefined) want('file_urls', at);
      const response = objectIn(part, 'functionResponse', at);
      // Results of functions may hold pictures and files of their own.
      if (response !== null) parts(response, `${at}.functionResponse`);
    });
  };
  parts(either(body, 'systemInstruction'), 'systemInstruction');
  listed(body.contents, 'contents').forEach((content, i) => {
    parts(content, `contents[${i}]`);
  });
  listed(body.tools, 'tools').forEach((tool, i) => {
    for (const name of Object.keys(tool)) {
      const feature = Object.hasOwn(TOOLS, camel(name)) ? TOOLS[camel(name)] : 'other_tools';
      if (feature !== null) want(feature ?? 'other_tools', `tools[${i}].${name}`);
    }
  });
  const config = configOf(body);
  for (const mode of oneOrMore(either(config, 'responseModalities')))
    if (mode !== 'TEXT') want(mode === 'AUDIO' ? 'audio' : 'image_generation', 'generationConfig.responseModalities');
  if ((either(config, 'speechConfig') ?? null) !== null) want('audio', 'generationConfig.speechConfig');
  if ((either(body, 'cachedContent') ?? null) !== null) want('stored_state', 'cachedContent');
  return found;
}

function inlineFeature(type: JsonValue | undefined): ModelFeature {
  if (typeof type !== 'string') return 'files';
  return type.startsWith('image/') ? 'images' : type.startsWith('audio/') ? 'audio' : 'files';
}

function outgoing(body: JsonObject, asked: Ask, { maxOutput }: { maxOutput: number | null }) {
  const sent = only(body, KNOWN);
  if (asked.maxOutput === null && maxOutput !== null) {
    sent.generationConfig = { ...configOf(body), maxOutputTokens: maxOutput };
    delete sent.generation_config;
  }
  return sent;
}

class GeminiMeter implements Meter {
  usage: Usage | null = null;
  finish: string | null = null;
  failure: string | null = null;

  /** A stream has no mark of its end: the last chunk is the one with a reason to finish. */
  get complete(): boolean {
    return this.finish !== null;
  }

  event(_type: string | null, data: string): boolean {
    const chunk = parseObject(data);
    if (chunk !== null) this.whole(chunk);
    return false;
  }

  whole(body: JsonObject): void {
    if (isObject(body.error)) this.failure = String(body.error.message ?? 'an error');
    for (const candidate of objects(body.candidates)) {
      if (typeof candidate.finishReason === 'string') this.finish = candidate.finishReason;
    }
    if (isObject(body.promptFeedback) && typeof body.promptFeedback.blockReason === 'string')
      this.finish ??= body.promptFeedback.blockReason;
    if (!isObject(body.usageMetadata)) return;
    const told = body.usageMetadata;
    this.usage = {
      input: tokens(told.promptTokenCount) + tokens(told.toolUsePromptTokenCount),
      output: tokens(told.candidatesTokenCount) + tokens(told.thoughtsTokenCount),
      cached: tokens(told.cachedContentTokenCount),
      cacheWrite: 0,
    };
  }
}

const STATUSES: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  503: 'UNAVAILABLE',
};

function problem({ status, code, message }: Problem): JsonObject {
  return { error: { code: status, message, status: STATUSES[status] ?? 'INTERNAL', details: [{ reason: code }] } };
}

export const gemini: Wire = {
  name: 'gemini',
  ask,
  outgoing,
  unknownFields: (body) => Object.keys(body).filter((name) => !KNOWN.has(name)),
  meter: () => new GeminiMeter(),
  problem,
  problemEvent: (what) => `data: ${JSON.stringify(problem(what))}\n\n`,
};
