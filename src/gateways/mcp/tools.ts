import { canonicalJson, type Json } from '../../base/canonical-json.ts';
import { digest } from '../../base/digest.ts';
import { TOOL_NAME } from '../../policy/index.ts';
import { isObject, type JsonObject } from './jsonrpc.ts';
import type { McpLimits } from './limits.ts';
import { bounded, visible, visibleJson } from './text.ts';

/** A tool as an agent is told of it. */
export interface Tool {
  readonly name: string;
  readonly title?: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly outputSchema?: JsonObject;
}

/** What a server says it has, as far as an agent may know of it. */
export interface Listing {
  readonly tools: readonly Tool[];
  /** Of all that is shown, as it is shown. */
  readonly digest: string;
  /** Tools that the policy does not permit, or that cannot be told: name, schema or size. */
  readonly hidden: number;
}

/** `permitted`: what the policy says of a tool's name, which is one that can be judged. */
export function readListing(
  values: readonly unknown[],
  permitted: (tool: string) => boolean,
  limits: McpLimits,
): Listing {
  const tools = new Map<string, Tool>();
  let hidden = 0;
  for (const value of values) {
    const tool = readTool(value, limits);
    // Two of one name: which of them is called would be the server's to say.
    if (tool === null || tools.has(tool.name) || tools.size >= limits.tools || !permitted(tool.name)) hidden++;
    else tools.set(tool.name, tool);
  }
  const list = [...tools.values()];
  return { tools: list, digest: digest(canonicalJson(list as unknown as Json)), hidden };
}

function readTool(value: unknown, limits: McpLimits): Tool | null {
  if (!isObject(value)) return null;
  const { name, title, description = '', inputSchema, outputSchema } = value;
  if (typeof name !== 'string' || !TOOL_NAME.test(name) || typeof description !== 'string') return null;
  const input = readSchema(inputSchema, limits);
  if (input === null) return null;
  const output = readSchema(outputSchema, limits);
  return {
    name,
    ...(typeof title === 'string' ? { title: bounded(title, 200) } : {}),
    description: bounded(description, limits.description),
    inputSchema: input,
    ...(output === null ? {} : { outputSchema: output }),
  };
}

/** A JSON schema of an object that is not fetched from elsewhere; null for anything else. */
function readSchema(value: unknown, limits: McpLimits): JsonObject | null {
  if (!isObject(value) || value.type !== 'object') return null;
  if (JSON.stringify(value).length > limits.schema) return null;
  const seen = visibleJson(value) as JsonObject;
  // As it will be read: a name with something unseen in it is another one until then.
  return /"\$(?:dynamic)?ref":"(?!#)/i.test(JSON.stringify(seen)) ? null : seen;
}

/** Tools whose description or schema is not what it was: what was looked at is not what is called now. */
export function changedTools(before: Listing, after: Listing): readonly string[] {
  const known = new Map(before.tools.map((tool) => [tool.name, JSON.stringify(tool)]));
  return after.tools
    .filter((tool) => known.has(tool.name) && known.get(tool.name) !== JSON.stringify(tool))
    .map(({ name }) => name);
}

/** A result of `tools/call`, of bounded size and without what cannot be seen. */
export interface ToolAnswer {
  readonly content: readonly JsonObject[];
  readonly structuredContent?: JsonObject;
  readonly isError: boolean;
}

const PLAIN = /^[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}\/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}$/;

export function readAnswer(result: JsonObject, limits: McpLimits): ToolAnswer {
  const room = { left: limits.result };
  const blocks = Array.isArray(result.content) ? result.content.slice(0, 256) : [];
  const content = blocks.map((block) => readBlock(block, room));
  const structured = isObject(result.structuredContent) ? JSON.stringify(result.structuredContent) : null;
  if (structured !== null && structured.length > room.left) {
    return {
      content: [...content, note(`its structured content of ${structured.length} characters is left out`)],
      isError: true,
    };
  }
  return {
    content,
    ...(structured === null ? {} : { structuredContent: visibleJson(result.structuredContent) as JsonObject }),
    isError: result.isError === true,
  };
}

const note = (text: string): JsonObject => ({ type: 'text', text: `[Cordon: ${text}]` });

function readBlock(value: unknown, room: { left: number }): JsonObject {
  if (!isObject(value)) return note('a part without meaning is left out');
  const { type } = value;
  if (type === 'text' && typeof value.text === 'string') {
    const text = bounded(value.text, room.left);
    room.left = Math.max(0, room.left - text.length);
    return { type, text };
  }
  if ((type === 'image' || type === 'audio') && typeof value.data === 'string' && isType(value.mimeType)) {
    const { data, mimeType } = value;
    if (data.length > room.left || !/^[A-Za-z0-9+/]*={0,2}$/.test(data))
      return note(`an ${type} of ${data.length} characters is left out`);
    room.left -= data.length;
    return { type, data, mimeType };
  }
  if (type === 'resource' && isObject(value.resource) && typeof value.resource.text === 'string') {
    const text = bounded(value.resource.text, room.left);
    room.left = Math.max(0, room.left - text.length);
    return { type: 'text', text };
  }
  if (type === 'resource_link' && typeof value.uri === 'string') {
    return { type: 'text', text: `[a link: ${visible(value.uri.slice(0, 2_000))}]` };
  }
  return note(`a part of a kind that is not handed on is left out`);
}

function isType(value: unknown): value is string {
  return typeof value === 'string' && PLAIN.test(value);
}

/** All text of an answer, as a model reads it. */
export function answerText({ content, structuredContent }: ToolAnswer): string {
  const parts = content.map((block) =>
    typeof block.text === 'string' ? block.text : `[${String(block.type)}: ${String(block.mimeType)}]`,
  );
  if (parts.length === 0 && structuredContent !== undefined) return JSON.stringify(structuredContent);
  return parts.join('\n');
}

export const failed = (text: string): ToolAnswer => ({ content: [{ type: 'text', text }], isError: true });
