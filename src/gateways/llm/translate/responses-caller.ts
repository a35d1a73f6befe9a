import { isObject, type JsonObject, type JsonValue, WireError } from '../wire/wire.ts';
import {
  type CallerSide,
  type Choice,
  dataUrl,
  effortOf,
  type Format,
  listOf,
  type Media,
  names,
  noWords,
  numberOf,
  objectOf,
  type Prompt,
  refuseStrays,
  type Text,
  type Tool,
  Turns,
  textOf,
} from './neutral.ts';
import { ResponsesWriter } from './responses-writer.ts';
import type { TranslationSet } from './translation.ts';

/** OpenAI Responses, spoken by the caller. Harmless: what is to be included, caches, accounting, who asks, wordiness. */
const KNOWN = names(
  'model input instructions stream stream_options max_output_tokens tools tool_choice parallel_tool_calls temperature top_p reasoning ' +
    'text include metadata user safety_identifier prompt_cache_key prompt_cache_retention service_tier client_metadata',
);
const NEUTRAL: Readonly<Record<string, readonly JsonValue[]>> = {
  store: [false],
  background: [false],
  truncation: ['disabled', 'auto'],
  top_logprobs: [0],
};

/** How tools are known to the upstream, and to the caller. */
export interface Naming {
  /** Tools that take text of any kind. */
  readonly free: Set<string>;
  /** `space__name` → its parts. */
  readonly spaces: Map<string, { readonly namespace: string; readonly name: string }>;
}

export function responsesCaller(set: TranslationSet): CallerSide {
  const naming: Naming = { free: new Set(), spaces: new Map() };
  const writer = new ResponsesWriter(set, naming);
  return {
    read: (body) => read(body, naming),
    whole: (answer) => writer.whole(answer),
    told: (told) => writer.told(told),
  };
}

function read(body: JsonObject, naming: Naming): Prompt {
  const said = Object.fromEntries(
    Object.entries(body).filter(([name, value]) => !NEUTRAL[name]?.includes(value as JsonValue)),
  );
  refuseStrays(said, KNOWN);
  const turns = new Turns();
  if (typeof body.instructions === 'string' && body.instructions !== '')
    turns.add('system', [{ kind: 'text', text: body.instructions }]);
  if (typeof body.input === 'string') turns.add('user', [{ kind: 'text', text: body.input }]);
  else
    listOf(body.input, 'input').forEach((item, i) => {
      readItem(turns, item, `input[${i}]`);
    });
  if (turns.all.at(-1)?.role === 'assistant') throw noWords('input', 'an answer that is begun already');
  const { reasoning, text } = body;
  return {
    turns: turns.all,
    tools: [
      ...listOf(body.tools, 'tools').flatMap((tool, i) => toolsOf(tool, `tools[${i}]`, naming)),
      ...laterTools(body.input, naming),
    ],
    choice: choiceOf(body.tool_choice),
    parallel: body.parallel_tool_calls === false ? false : null,
    maxOutput: numberOf(body, 'max_output_tokens'),
    temperature: numberOf(body, 'temperature'),
    topP: numberOf(body, 'top_p'),
    topK: null,
    stop: [],
    effort: isObject(reasoning) ? effortOf(reasoning.effort, 'reasoning.effort') : null,
    format: isObject(text) ? formatOf(text.format) : null,
  };
}

/** Some models are told of their tools by the conversation. */
function laterTools(input: JsonValue | undefined, naming: Naming): Tool[] {
  if (typeof input === 'string') return [];
  return listOf(input, 'input').flatMap((item, i) => {
    const where = `input[${i}].tools`;
    if (item.type !== 'additional_tools') return [];
    return listOf(item.tools, where).flatMap((tool, j) => toolsOf(tool, `${where}[${j}]`, naming));
  });
}

function readItem(turns: Turns, item: JsonObject, where: string): void {
  const { type = 'message' } = item;
  switch (type) {
    case 'message': {
      const { role } = item;
      const known = role === 'developer' ? 'system' : role;
      if (known !== 'system' && known !== 'user' && known !== 'assistant')
        throw noWords(where, `the role ${String(role)}`);
      turns.add(known, partsOf(item.content, `${where}.content`));
      return;
    }
    case 'function_call':
    case 'custom_tool_call': {
      const free = type === 'custom_tool_call';
      const name = textOf(item.name, `${where}.name`);
      const input = textOf(free ? item.input : item.arguments, `${where}.${free ? 'input' : 'arguments'}`);
      const known = typeof item.namespace === 'string' ? spaced(item.namespace, name) : name;
      turns.add('assistant', [
        { kind: 'call', id: textOf(item.call_id, `${where}.call_id`), name: known, input, free },
      ]);
      return;
    }
    case 'function_call_output':
    case 'custom_tool_call_output': {
      const id = textOf(item.call_id, `${where}.call_id`);
      turns.add('user', [{ kind: 'result', id, parts: partsOf(item.output, `${where}.output`), failed: false }]);
      return;
    }
    case 'additional_tools':
    // Another model's thoughts, which only their own provider can read.
    case 'reasoning':
      return;
    default:
      throw noWords(where, String(type));
  }
}

function partsOf(content: JsonValue | undefined, where: string): (Text | Media)[] {
  if (content === undefined || content === null) return [];
  if (typeof content === 'string') return content === '' ? [] : [{ kind: 'text', text: content }];
  return listOf(content, where).map((part, i) => {
    const at = `${where}[${i}]`;
    switch (part.type) {
      case 'input_text':
      case 'output_text':
        return { kind: 'text', text: textOf(part.text, `${at}.text`) };
      case 'refusal':
        return { kind: 'text', text: textOf(part.refusal, `${at}.refusal`) };
      case 'input_image':
        return { kind: 'image', ...dataUrl(part.image_url, `${at}.image_url`), name: null };
      case 'input_file': {
        const name = typeof part.filename === 'string' ? part.filename : null;
        return { kind: 'file', ...dataUrl(part.file_data, `${at}.file_data`), name };
      }
      default:
        throw noWords(at, String(part.type));
    }
  });
}

const spaced = (namespace: string, name: string) => (namespace.endsWith('__') ? namespace : `${namespace}__`) + name;

function toolsOf(tool: JsonObject, where: string, naming: Naming): Tool[] {
  if (tool.type === 'namespace') {
    const namespace = textOf(tool.name, `${where}.name`);
    return listOf(tool.tools, `${where}.tools`).flatMap((inner, i) =>
      toolsOf(inner, `${where}.tools[${i}]`, naming).map((one) => {
        const known = spaced(namespace, one.name);
        naming.spaces.set(known, { namespace, name: one.name });
        if (naming.free.delete(one.name)) naming.free.add(known);
        return { ...one, name: known };
      }),
    );
  }
  // It looks for tools that are held back; without it there are those that are not.
  if (tool.type === 'tool_search') return [];
  const name = textOf(tool.name ?? String(tool.type), `${where}.name`);
  const description = typeof tool.description === 'string' ? tool.description : null;
  if (tool.type === 'custom') {
    naming.free.add(name);
    const { format } = tool;
    const grammar =
      isObject(format) && format.type === 'grammar'
        ? `\nThe input follows this grammar (${String(format.syntax)}):\n${String(format.definition)}`
        : '';
    return [{ name, description: `${description ?? ''}${grammar}`, schema: null, strict: null }];
  }
  if (tool.type !== 'function') throw noWords(where, String(tool.type));
  return [
    {
      name,
      description,
      schema: isObject(tool.parameters) ? tool.parameters : { type: 'object', properties: {} },
      strict: typeof tool.strict === 'boolean' ? tool.strict : null,
    },
  ];
}

function choiceOf(value: JsonValue | undefined): Choice | null {
  if (value === undefined || value === null) return null;
  if (value === 'auto' || value === 'none') return { kind: value };
  if (value === 'required') return { kind: 'any' };
  if (isObject(value) && (value.type === 'function' || value.type === 'custom'))
    return { kind: 'tool', name: textOf(value.name, 'tool_choice.name') };
  throw noWords('tool_choice', isObject(value) ? String(value.type) : String(value));
}

function formatOf(value: JsonValue | undefined): Format | null {
  if (value === undefined || value === null) return null;
  const format = objectOf(value, 'text.format');
  if (format.type === 'text') return null;
  if (format.type === 'json_object') return { kind: 'json' };
  if (format.type !== 'json_schema') throw new WireError(`text.format: there is no ${String(format.type)}`);
  return {
    kind: 'schema',
    name: typeof format.name === 'string' ? format.name : 'answer',
    schema: objectOf(format.schema, 'text.format.schema'),
    strict: typeof format.strict === 'boolean' ? format.strict : null,
  };
}
