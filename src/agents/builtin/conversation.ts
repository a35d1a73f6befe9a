import type { ToolDescription } from './tools/tool.ts';

/** A tool call as a model asked for it. `arguments` is the model's text, not yet read. */
export interface AskedCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** One message of the transcript, in no protocol's form. */
export type Message =
  /** `pinned`: never summarised away: the task. */
  | { readonly kind: 'user'; readonly text: string; readonly pinned?: boolean }
  | { readonly kind: 'assistant'; readonly text: string; readonly calls: readonly AskedCall[] }
  | { readonly kind: 'result'; readonly call: string; readonly tool: string; readonly text: string };

/** How a model is told of tools and of what they gave: by the protocol's own means, or in words, for models that know none. */
export type Mode = 'native' | 'words';

export interface ChatRequest {
  readonly messages: readonly object[];
  readonly tools: readonly object[];
}

/** A transcript as Chat Completions carries it. */
export function encode(
  system: string,
  messages: readonly Message[],
  tools: readonly ToolDescription[],
  mode: Mode,
): ChatRequest {
  const native = mode === 'native';
  const head = native ? system : `${system}\n\n${toolsInWords(tools)}`;
  return {
    messages: [{ role: 'system', content: head }, ...messages.map((message) => encodeMessage(message, native))],
    tools: native ? tools.map((tool) => ({ type: 'function', function: tool })) : [],
  };
}

function encodeMessage(message: Message, native: boolean): object {
  switch (message.kind) {
    case 'user':
      return { role: 'user', content: message.text };
    case 'assistant':
      if (!native || message.calls.length === 0) return { role: 'assistant', content: inWords(message) };
      return {
        role: 'assistant',
        content: message.text === '' ? null : message.text,
        tool_calls: message.calls.map(({ id, name, arguments: text }) => ({
          id,
          type: 'function',
          // A server that reads the arguments again must not fail for what the model wrote.
          function: { name, arguments: isJson(text) ? text : JSON.stringify({ unreadable: text.slice(0, 2_000) }) },
        })),
      };
    case 'result':
      return native
        ? { role: 'tool', tool_call_id: message.call, content: message.text }
        : { role: 'user', content: `Result of ${message.tool}:\n${message.text}` };
  }
}

/** What the assistant said, its calls as it would write them in words. */
function inWords({ text, calls }: Extract<Message, { kind: 'assistant' }>): string {
  const written = calls.map(({ name, arguments: args }) => {
    const value = isJson(args) ? JSON.parse(args) : {};
    return `\`\`\`json\n${JSON.stringify({ tool: name, arguments: value })}\n\`\`\``;
  });
  return [text, ...written].filter((part) => part !== '').join('\n') || '(nothing)';
}

function toolsInWords(tools: readonly ToolDescription[]): string {
  const list = tools.map(
    ({ name, description, parameters }) => `- ${name}: ${description}\n  arguments: ${JSON.stringify(parameters)}`,
  );
  return [
    '# Tools',
    'To use a tool, answer with one fenced block of JSON for each call, and wait for its result:',
    '```json\n{"tool": "shell", "arguments": {"command": "ls"}}\n```',
    ...list,
  ].join('\n');
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
