import { isObject, type JsonObject, type JsonValue, objects, type Usage } from '../wire/wire.ts';
import {
  type Answer,
  type Call,
  type CallerSide,
  type Choice,
  type Effort,
  type Finish,
  type Format,
  inputObject,
  listOf,
  names,
  noWords,
  numberOf,
  objectOf,
  type Part,
  type Prompt,
  refuseStrays,
  type Told,
  type Tool,
  Turns,
  textOf,
} from './neutral.ts';
import type { TranslationSet } from './translation.ts';

/** Google Gemini, spoken by the caller. Harmless: safety settings, labels; seed and counts of answers at their default. */
const KNOWN = names('contents systemInstruction tools toolConfig generationConfig safetySettings labels');
const CONFIG = names(
  'temperature topP topK maxOutputTokens stopSequences candidateCount thinkingConfig responseMimeType responseSchema responseJsonSchema ' +
    'seed responseModalities',
);

export function geminiCaller({ id }: TranslationSet): CallerSide {
  let model = '';
  return {
    read,
    whole: (answer) => ({
      ...chunk(id, answer.model, answer.blocks.map(partOf), answer.finish, answer.usage),
    }),
    told(told) {
      if (told.kind === 'begin') model = told.model;
      return toldBy(told, id, model);
    },
  };
}

/** Names in snake case as names in camel case; what stands in schemas, arguments and results is the caller's own. */
const OPAQUE = names('parameters parametersJsonSchema response responseSchema responseJsonSchema args data text');
function camelled(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(camelled);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const known = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      return [known, OPAQUE.has(known) ? inner : camelled(inner)];
    }),
  );
}

function read(original: JsonObject): Prompt {
  const body = camelled(original) as JsonObject;
  refuseStrays(body, KNOWN);
  const config = body.generationConfig === undefined ? {} : objectOf(body.generationConfig, 'generationConfig');
  refuseStrays(config, CONFIG);
  if ((config.candidateCount ?? 1) !== 1) throw noWords('generationConfig', 'several candidates');
  const turns = new Turns();
  const ids = new Ids();
  if (isObject(body.systemInstruction)) turns.add('system', partsOf(body.systemInstruction, 'systemInstruction', ids));
  listOf(body.contents, 'contents').forEach((content, i) => {
    const role = content.role === 'model' ? 'assistant' : 'user';
    turns.add(role, partsOf(content, `contents[${i}]`, ids));
  });
  if (turns.all.at(-1)?.role === 'assistant') throw noWords('contents', 'an answer that is begun already');
  const tools = listOf(body.tools, 'tools').flatMap((tool, i) => {
    const stray = Object.keys(tool).find((name) => name !== 'functionDeclarations');
    if (stray !== undefined) throw noWords(`tools[${i}]`, stray);
    return listOf(tool.functionDeclarations, `tools[${i}].functionDeclarations`).map(toolOf);
  });
  const { stopSequences } = config;
  return {
    turns: turns.all,
    tools,
    choice: choiceOf(body.toolConfig),
    parallel: null,
    maxOutput: numberOf(config, 'maxOutputTokens'),
    temperature: numberOf(config, 'temperature'),
    topP: numberOf(config, 'topP'),
    topK: null,
    stop: Array.isArray(stopSequences) ? stopSequences.map((text) => textOf(text, 'stopSequences')) : [],
    effort: effortIn(config.thinkingConfig),
    format: formatOf(config),
  };
}

/** Calls without ids belong to results by their names, in order. */
class Ids {
  readonly #open = new Map<string, string[]>();
  #count = 0;

  ofCall(call: JsonObject, name: string): string {
    const id = typeof call.id === 'string' && call.id !== '' ? call.id : `call_${this.#count++}_${name.slice(0, 40)}`;
    this.#open.set(name, [...(this.#open.get(name) ?? []), id]);
    return id;
  }

  ofResult(result: JsonObject, name: string): string {
    const open = this.#open.get(name) ?? [];
    if (typeof result.id === 'string' && result.id !== '') {
      this.#open.set(
        name,
        open.filter((id) => id !== result.id),
      );
      return result.id;
    }
    return open.shift() ?? `call_${this.#count++}_${name.slice(0, 40)}`;
  }
}

function partsOf(content: JsonObject, where: string, ids: Ids): Part[] {
  return listOf(content.parts, `${where}.parts`).flatMap((part, i): Part[] => {
    const at = `${where}.parts[${i}]`;
    if (part.thought === true) return [];
    if (typeof part.text === 'string') return part.text === '' ? [] : [{ kind: 'text', text: part.text }];
    if (isObject(part.inlineData)) {
      const { mimeType, data, displayName } = part.inlineData;
      const type = textOf(mimeType, `${at}.inlineData.mimeType`);
      if (/^(audio|video)\//.test(type)) throw noWords(at, type);
      const base64 = textOf(data, `${at}.inlineData.data`);
      const name = typeof displayName === 'string' ? displayName : null;
      return [{ kind: type.startsWith('image/') ? 'image' : 'file', type, base64, name }];
    }
    if (isObject(part.functionCall)) {
      const name = textOf(part.functionCall.name, `${at}.functionCall.name`);
      const input = JSON.stringify(objectOf(part.functionCall.args ?? {}, `${at}.functionCall.args`));
      return [{ kind: 'call', id: ids.ofCall(part.functionCall, name), name, input, free: false }];
    }
    if (isObject(part.functionResponse)) {
      const { name, response, parts } = part.functionResponse;
      if (objects(parts).length > 0) throw noWords(at, 'media in a result');
      const id = ids.ofResult(part.functionResponse, textOf(name, `${at}.functionResponse.name`));
      return [{ kind: 'result', id, parts: [{ kind: 'text', text: resultText(response) }], failed: false }];
    }
    throw noWords(at, Object.keys(part).join(', '));
  });
}

/** `{output: "text"}` is how results that are text are written. */
function resultText(response: JsonValue | undefined): string {
  if (isObject(response) && Object.keys(response).length === 1 && typeof response.output === 'string')
    return response.output;
  return JSON.stringify(response ?? {});
}

function toolOf(tool: JsonObject, i: number): Tool {
  const schema = tool.parametersJsonSchema ?? (isObject(tool.parameters) ? lowered(tool.parameters) : null);
  return {
    name: textOf(tool.name, `functionDeclarations[${i}].name`),
    description: typeof tool.description === 'string' ? tool.description : null,
    schema: isObject(schema) ? schema : { type: 'object', properties: {} },
    strict: null,
  };
}

/** Gemini's own schemas write their types in capitals. */
function lowered(schema: JsonObject): JsonObject {
  const one = (value: JsonValue | undefined) => (isObject(value) ? lowered(value) : (value ?? null));
  return Object.fromEntries(
    Object.entries(schema).map(([name, value]) => {
      if (name === 'type' && typeof value === 'string') return [name, value.toLowerCase()];
      if (name === 'properties' && isObject(value))
        return [name, Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, one(inner)]))];
      if (name === 'items') return [name, one(value)];
      if (name === 'anyOf' && Array.isArray(value)) return [name, value.map(one)];
      return [name, value];
    }),
  );
}

function choiceOf(toolConfig: JsonValue | undefined): Choice | null {
  const config = isObject(toolConfig) ? toolConfig.functionCallingConfig : undefined;
  if (!isObject(config)) return null;
  const { mode, allowedFunctionNames: allowed } = config;
  if (Array.isArray(allowed) && allowed.length > 1) throw noWords('toolConfig', 'a choice among several tools');
  if (mode === 'ANY')
    return Array.isArray(allowed) && allowed.length === 1
      ? { kind: 'tool', name: textOf(allowed[0], 'allowedFunctionNames') }
      : { kind: 'any' };
  if (mode === 'NONE') return { kind: 'none' };
  return mode === 'AUTO' ? { kind: 'auto' } : null;
}

function effortIn(value: JsonValue | undefined): Effort | null {
  if (!isObject(value)) return null;
  const level = typeof value.thinkingLevel === 'string' ? value.thinkingLevel.toLowerCase() : null;
  if (level === 'minimal' || level === 'low' || level === 'medium' || level === 'high') return level;
  const budget = numberOf(value, 'thinkingBudget');
  if (budget === null || budget < 0) return null;
  return budget === 0 ? 'none' : budget <= 4096 ? 'low' : budget <= 16_384 ? 'medium' : 'high';
}

function formatOf(config: JsonObject): Format | null {
  const type = config.responseMimeType;
  if (type === undefined || type === null || type === 'text/plain') return null;
  if (type !== 'application/json') throw noWords('responseMimeType', String(type));
  const schema =
    config.responseJsonSchema ?? (isObject(config.responseSchema) ? lowered(config.responseSchema) : undefined);
  return isObject(schema) ? { kind: 'schema', name: 'answer', schema, strict: null } : { kind: 'json' };
}

const REASONS = {
  stop: 'STOP',
  sequence: 'STOP',
  calls: 'STOP',
  paused: 'STOP',
  length: 'MAX_TOKENS',
  refused: 'SAFETY',
} as const;

function partOf(block: Answer['blocks'][number]): JsonObject {
  if (block.kind === 'text') return { text: block.text };
  return { functionCall: { id: block.id, name: block.name, args: inputObject(block as Call) } };
}

function chunk(id: string, model: string, parts: JsonObject[], finish: Finish | null, usage: Usage | null): JsonObject {
  const ending = finish === null ? {} : { finishReason: REASONS[finish.why] };
  return {
    candidates: [{ content: { role: 'model', parts }, index: 0, ...ending }],
    ...(usage === null || finish === null ? {} : { usageMetadata: usageOf(usage) }),
    modelVersion: model,
    responseId: id,
  };
}

function usageOf({ input, output, cached }: Usage): JsonObject {
  return {
    promptTokenCount: input,
    candidatesTokenCount: output,
    totalTokenCount: input + output,
    ...(cached === 0 ? {} : { cachedContentTokenCount: cached }),
  };
}

function toldBy(told: Told, id: string, model: string): string {
  const send = (parts: JsonObject[], finish: Finish | null = null, usage: Usage | null = null) =>
    `data: ${JSON.stringify(chunk(id, model, parts, finish, usage))}\n\n`;
  switch (told.kind) {
    case 'begin':
    case 'open':
      return '';
    case 'delta':
      return told.block.kind === 'text' ? send([{ text: told.text }]) : '';
    // Calls have no pieces here.
    case 'close':
      return told.block.kind === 'text'
        ? ''
        : send([partOf({ ...told.block, kind: 'call', input: told.text, free: false })]);
    case 'end':
      return send([], told.finish, told.usage);
    case 'failed':
      return `data: ${JSON.stringify({ error: { code: 502, message: told.message, status: 'INTERNAL' } })}\n\n`;
    case 'alive':
      return ': alive\n\n';
  }
}
