import { type Encoder, piecesOf, sse, type Turn, usageOf } from './turn.ts';

const head = (model: string, object: string) => ({ id: 'chatcmpl-1', object, created: 1_700_000_000, model });
const finish = (turn: Turn) => ((turn.tools ?? []).length > 0 ? 'tool_calls' : 'stop');
const usage = (turn: Turn) => {
  const { input, output, cached } = usageOf(turn);
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
  };
};
const calls = (turn: Turn) =>
  (turn.tools ?? []).map(({ id, name, arguments: args }) => ({
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(args) },
  }));

export const chat: Encoder = {
  whole: (turn, model) => ({
    ...head(model, 'chat.completion'),
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: turn.text ?? null,
          ...(turn.thoughts === undefined ? {} : { reasoning_content: turn.thoughts }),
          ...(turn.tools === undefined ? {} : { tool_calls: calls(turn) }),
        },
        finish_reason: finish(turn),
      },
    ],
    ...(turn.silent ? {} : { usage: usage(turn) }),
  }),
  events(turn, model) {
    const chunk = (delta: unknown, finish_reason: string | null = null) =>
      sse({ ...head(model, 'chat.completion.chunk'), choices: [{ index: 0, delta, finish_reason }] });
    return [
      chunk({ role: 'assistant', content: '' }),
      ...(turn.thoughts === undefined ? [] : [chunk({ reasoning_content: turn.thoughts })]),
      ...piecesOf(turn).map((content) => chunk({ content })),
      ...calls(turn).flatMap((call, index) => [
        chunk({
          tool_calls: [{ index, id: call.id, type: 'function', function: { name: call.function.name, arguments: '' } }],
        }),
        chunk({ tool_calls: [{ index, function: { arguments: call.function.arguments } }] }),
      ]),
      chunk({}, finish(turn)),
      ...(turn.silent ? [] : [sse({ ...head(model, 'chat.completion.chunk'), choices: [], usage: usage(turn) })]),
      sse('[DONE]'),
    ];
  },
  failure: (message) => sse({ error: { message, type: 'server_error', code: null, param: null } }),
  error: (status, message) => ({ error: { message, type: 'server_error', code: String(status), param: null } }),
};
