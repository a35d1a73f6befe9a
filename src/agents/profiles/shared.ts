import * as z from 'zod';
import type { AgentParser, AgentStep, McpPlace } from '../agent.ts';

/** Shapes of what agents print: whatever is not as expected reads as absent, and nothing is refused for what it has besides. */
export const text = z.string().catch('');
/** Beyond what adds up to a number that can be recorded, it is nothing. */
export const amount = z.number().int().nonnegative().max(1_000_000_000).catch(0);
export const some = z.unknown().optional();

/** A parser of one schema: what does not match it is nothing. */
export function parserOf<T>(schema: z.ZodType<T>, read: (event: T) => readonly AgentStep[]): AgentParser {
  return {
    line(value) {
      const parsed = schema.safeParse(value);
      return parsed.success ? read(parsed.data) : [];
    },
  };
}

/** A tool's input or result as text: as it is, or as JSON. */
export function plain(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) {
    const parts = value.map((part) => textPart.safeParse(part));
    if (parts.every((part) => part.success)) return parts.map((part) => part.data?.text ?? '').join('\n');
  }
  return JSON.stringify(value) ?? '';
}

const textPart = z.object({ type: z.literal('text'), text: z.string() });

const block = z.object({
  type: text,
  text,
  thinking: text,
  id: text,
  name: text,
  input: some,
  tool_use_id: text,
  content: some,
  is_error: z.boolean().catch(false),
});

const streamEvent = z.object({
  type: z.string(),
  subtype: text,
  message: z
    .object({ content: z.union([z.string(), z.array(block).max(10_000)]) })
    .optional()
    .catch(undefined),
  parent_tool_use_id: some,
  is_error: z.boolean().optional().catch(undefined),
  result: some,
  error: some,
  attempt: amount,
  error_status: z.number().nullable().catch(null),
  usage: z
    .object({
      input_tokens: amount,
      output_tokens: amount,
      cache_read_input_tokens: amount,
      cache_creation_input_tokens: amount,
    })
    .optional()
    .catch(undefined),
});

/** An error's message, where it is an object that has one. */
function said(error: unknown): string {
  const parsed = z.object({ message: z.string() }).safeParse(error);
  return parsed.success ? parsed.data.message : plain(error);
}

/** `stream-json` as Claude Code writes it, and those who followed. */
export function streamJson(): AgentParser {
  return parserOf(streamEvent, (event) => {
    if (event.type === 'result') {
      const { usage } = event;
      const ok =
        event.is_error === undefined ? event.subtype === 'success' : !event.is_error && !/^error/.test(event.subtype);
      const input =
        usage === undefined
          ? 0
          : usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens;
      return [
        ...(usage === undefined ? [] : [{ kind: 'usage', input, output: usage.output_tokens } as const]),
        { kind: 'end', ok, reason: ok ? null : said(event.error) || plain(event.result) || event.subtype },
      ];
    }
    if (event.subtype === 'api_retry') {
      const status = event.error_status === null ? '' : ` (${event.error_status})`;
      return [{ kind: 'trouble', text: `the model did not answer${status}: attempt ${event.attempt}` }];
    }
    if (event.type !== 'assistant' && event.type !== 'user') return [];
    const content = event.message?.content ?? [];
    if (typeof content === 'string')
      return event.type === 'assistant' ? [{ kind: 'message', text: content } as const] : [];
    return content.flatMap((part) => blockSteps(part, event.type === 'assistant'));
  });
}

function blockSteps(part: z.infer<typeof block>, assistant: boolean): AgentStep[] {
  switch (part.type) {
    case 'text':
      return assistant ? [{ kind: 'message', text: part.text }] : [];
    case 'thinking':
      return assistant ? [{ kind: 'reasoning', text: part.thinking }] : [];
    case 'tool_use':
      return assistant ? [{ kind: 'tool_call', id: part.id, tool: part.name, input: plain(part.input) }] : [];
    case 'tool_result':
      return [{ kind: 'tool_result', id: part.tool_use_id, ok: !part.is_error, text: plain(part.content) }];
    default:
      return [];
  }
}

/** The servers as most settings files have them: streamable HTTP, the token in a header. */
export function mcpByName<T extends object>(
  mcp: readonly McpPlace[],
  entry: (place: { readonly url: string; readonly headers: Readonly<Record<string, string>> }) => T,
): Record<string, T> {
  const headers = (token: string) => ({ Authorization: `Bearer ${token}` });
  return Object.fromEntries(mcp.map(({ name, url, token }) => [name, entry({ url, headers: headers(token) })]));
}

/** Names for an allow-list that is never empty: several agents take an empty one for none at all. */
export function mcpNames(mcp: readonly McpPlace[]): string {
  return mcp.length === 0 ? 'none-but-those-of-the-policy' : mcp.map(({ name }) => name).join(',');
}

/** For one that is only talked with: its output is the protocol. */
export const silent = (): AgentParser => ({ line: () => [] });
