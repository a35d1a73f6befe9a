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
  type Call,
  type Finish,
  FREE_SCHEMA,
  type Heard,
  inputObject,
  noWords,
  objectOf,
  type Part,
  type Prompt,
  splitSystem,
  systemAsUser,
  type Text,
  type Tool,
  type Turn,
  textOf,
  type UpstreamSide,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/** Google Gemini, spoken by the upstream. */
export function geminiUpstream(set: TranslationSet): UpstreamSide {
  const reader = new Reader(set.id);
  return {
    write: (prompt) => write(prompt, set),
    whole: (body) => whole(body, set.id),
    heard: (_, data) => reader.heard(data),
  };
}

/** What Gemini takes in place of a signature for calls that another model, or another protocol, has brought into the history. */
const NO_SIGNATURE = 'skip_thought_signature_validator';
const BUDGETS = {
  none: 0,
  minimal: 1024,
  low: 4096,
  medium: 16_384,
  high: 24_576,
  xhigh: 32_768,
  max: 32_768,
} as const;

function write(prompt: Prompt, { reasoning }: TranslationSet): JsonObject {
  const { system, rest } = splitSystem(prompt);
  const { tools, choice, temperature, topP, topK, stop, maxOutput, effort, format } = prompt;
  if (prompt.parallel === false && tools.length > 0) throw noWords('parallel_tool_calls', 'one call at a time');
  const called = new Map(
    rest.flatMap(({ parts }) => parts.flatMap((p) => (p.kind === 'call' ? [[p.id, p.name]] : []))),
  );
  const config: JsonObject = {
    ...(temperature === null ? {} : { temperature }),
    ...(topP === null ? {} : { topP }),
    ...(topK === null ? {} : { topK }),
    ...(stop.length === 0 ? {} : { stopSequences: [...stop] }),
    ...(maxOutput === null ? {} : { maxOutputTokens: maxOutput }),
    ...(format === null ? {} : { responseMimeType: 'application/json' }),
    ...(format?.kind === 'schema' ? { responseJsonSchema: format.schema } : {}),
    ...(effort === null || reasoning !== 'budget' ? {} : { thinkingConfig: { thinkingBudget: BUDGETS[effort] } }),
    ...(effort === null || effort === 'none' || reasoning !== 'effort'
      ? {}
      : { thinkingConfig: { thinkingLevel: effort === 'minimal' || effort === 'low' ? 'low' : 'high' } }),
  };
  return {
    ...(system.length === 0 ? {} : { systemInstruction: { parts: system.map((text) => ({ text })) } }),
    contents: systemAsUser(rest).map((turn) => contentOf(turn, called as ReadonlyMap<string, string>)),
    ...(tools.length === 0 ? {} : { tools: [{ functionDeclarations: tools.map(toolOf) }] }),
    ...(tools.length === 0 || choice === null ? {} : { toolConfig: { functionCallingConfig: choiceOf(choice) } }),
    ...(Object.keys(config).length === 0 ? {} : { generationConfig: config }),
  };
}

function contentOf({ role, parts }: Turn, called: ReadonlyMap<string, string>): JsonObject {
  return { role: role === 'assistant' ? 'model' : 'user', parts: parts.flatMap((part) => partsOf(part, called)) };
}

function partsOf(part: Part, called: ReadonlyMap<string, string>): JsonObject[] {
  switch (part.kind) {
    case 'text':
      return [{ text: part.text }];
    case 'image':
    case 'file':
      return [{ inlineData: { mimeType: part.type, data: part.base64 } }];
    case 'call':
      return [{ functionCall: { name: part.name, args: inputObject(part) }, thoughtSignature: NO_SIGNATURE }];
    case 'result': {
      const name = called.get(part.id);
      if (name === undefined) throw new WireError('a tool result belongs to no call');
      const text = part.parts.flatMap((inner) => (inner.kind === 'text' ? [inner.text] : [])).join('\n');
      const media = part.parts.filter(({ kind }) => kind !== 'text').flatMap((inner) => partsOf(inner, called));
      return [{ functionResponse: { name, response: { [part.failed ? 'error' : 'output']: text } } }, ...media];
    }
  }
}

function toolOf({ name, description, schema }: Tool): JsonObject {
  return { name, ...(description === null ? {} : { description }), parametersJsonSchema: schema ?? FREE_SCHEMA };
}

function choiceOf(choice: NonNullable<Prompt['choice']>): JsonObject {
  if (choice.kind === 'tool') return { mode: 'ANY', allowedFunctionNames: [choice.name] };
  return { mode: choice.kind.toUpperCase() };
}

function finishOf(reason: string): Finish {
  if (reason === 'MAX_TOKENS') return { why: 'length' };
  return { why: reason === 'STOP' || reason === 'FINISH_REASON_UNSPECIFIED' ? 'stop' : 'refused' };
}

function usageOf(value: JsonValue | undefined): Usage | null {
  if (!isObject(value)) return null;
  return {
    input: tokens(value.promptTokenCount) + tokens(value.toolUsePromptTokenCount),
    output: tokens(value.candidatesTokenCount) + tokens(value.thoughtsTokenCount),
    cached: tokens(value.cachedContentTokenCount),
    cacheWrite: 0,
  };
}

const messageIn = (error: JsonObject) => String(error.message ?? 'an error');

/** Why it ended, where it did: a prompt may be refused before there is any candidate. */
function reasonIn(body: JsonObject): string | null {
  const [candidate] = objects(body.candidates);
  if (typeof candidate?.finishReason === 'string') return candidate.finishReason;
  const feedback = body.promptFeedback;
  return isObject(feedback) && typeof feedback.blockReason === 'string' ? feedback.blockReason : null;
}

function blocksIn(body: JsonObject, newId: () => string): (Text | Call | null)[] {
  const [candidate] = objects(body.candidates);
  const content = isObject(candidate?.content) ? candidate.content : {};
  return objects(content.parts).map((part) => {
    if (part.thought === true) return null;
    if (typeof part.text === 'string') return { kind: 'text', text: part.text };
    if (!isObject(part.functionCall)) throw noWords('the answer', Object.keys(part).join(', '));
    const { id, name, args } = part.functionCall;
    const input = JSON.stringify(objectOf(args ?? {}, 'args'));
    return {
      kind: 'call',
      id: typeof id === 'string' && id !== '' ? id : newId(),
      name: textOf(name, 'name'),
      input,
      free: false,
    };
  });
}

function whole(body: JsonObject, answerId: string): Answer {
  if (isObject(body.error)) throw new WireError(messageIn(body.error));
  let count = 0;
  return {
    model: String(body.modelVersion ?? ''),
    blocks: blocksIn(body, () => `call_${answerId}_${count++}`).filter((block) => block !== null),
    finish: finishOf(reasonIn(body) ?? 'STOP'),
    usage: usageOf(body.usageMetadata),
  };
}

class Reader {
  readonly #id: string;
  #calls = 0;
  #count = 0;

  constructor(id: string) {
    this.#id = id;
  }

  heard(data: string): Heard[] {
    const chunk = parseObject(data);
    if (chunk === null) throw new WireError('an event is no JSON object');
    if (isObject(chunk.error)) return [{ kind: 'failed', message: messageIn(chunk.error) }];
    const out: Heard[] = [{ kind: 'begin', model: String(chunk.modelVersion ?? '') }];
    for (const block of blocksIn(chunk, () => `call_${this.#id}_${this.#count++}`)) {
      const key = String(this.#calls);
      if (block === null) out.push({ kind: 'alive' });
      else if (block.kind === 'text') out.push(block);
      else {
        this.#calls++;
        out.push({ kind: 'call', key, id: block.id, name: block.name }, { kind: 'input', key, text: block.input });
        out.push({ kind: 'done', key });
      }
    }
    const usage = usageOf(chunk.usageMetadata);
    if (usage !== null) out.push({ kind: 'usage', usage });
    const reason = reasonIn(chunk);
    if (reason !== null) out.push({ kind: 'finish', finish: finishOf(reason) }, { kind: 'end' });
    return out;
  }
}
