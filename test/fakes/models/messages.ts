import { type Encoder, piecesOf, SIGNATURE, sse, type Turn, usageOf } from './turn.ts';

const reason = (turn: Turn) => ((turn.tools ?? []).length > 0 ? 'tool_use' : 'end_turn');

function message(turn: Turn, model: string, content: unknown[], done: boolean) {
  const { input, output, cached } = usageOf(turn);
  return {
    id: 'msg_01',
    type: 'message',
    role: 'assistant',
    model,
    content,
    stop_reason: done ? reason(turn) : null,
    stop_sequence: null,
    usage: turn.silent
      ? {}
      : {
          input_tokens: input - cached,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: cached,
          output_tokens: done ? output : 1,
        },
  };
}

export const messages: Encoder = {
  whole: (turn, model) =>
    message(
      turn,
      model,
      [
        ...(turn.thoughts === undefined
          ? []
          : [
              { type: 'thinking', thinking: turn.thoughts, signature: SIGNATURE },
              { type: 'redacted_thinking', data: SIGNATURE },
            ]),
        ...(turn.text === undefined ? [] : [{ type: 'text', text: turn.text }]),
        ...(turn.tools ?? []).map(({ id, name, arguments: input }) => ({ type: 'tool_use', id, name, input })),
      ],
      true,
    ),
  events(turn, model) {
    const event = (type: string, body: object) => sse({ type, ...body }, type);
    const out = [event('message_start', { message: message(turn, model, [], false) }), event('ping', {})];
    let index = 0;
    if (turn.thoughts !== undefined) {
      out.push(
        event('content_block_start', { index, content_block: { type: 'thinking', thinking: '', signature: '' } }),
        event('content_block_delta', { index, delta: { type: 'thinking_delta', thinking: turn.thoughts } }),
        event('content_block_delta', { index, delta: { type: 'signature_delta', signature: SIGNATURE } }),
        event('content_block_stop', { index }),
        event('content_block_start', {
          index: index + 1,
          content_block: { type: 'redacted_thinking', data: SIGNATURE },
        }),
        event('content_block_stop', { index: index + 1 }),
      );
      index += 2;
    }
    if (turn.text !== undefined) {
      out.push(
        event('content_block_start', { index, content_block: { type: 'text', text: '' } }),
        ...piecesOf(turn).map((text) => event('content_block_delta', { index, delta: { type: 'text_delta', text } })),
        event('content_block_stop', { index }),
      );
      index++;
    }
    for (const { id, name, arguments: input } of turn.tools ?? []) {
      out.push(
        event('content_block_start', { index, content_block: { type: 'tool_use', id, name, input: {} } }),
        event('content_block_delta', {
          index,
          delta: { type: 'input_json_delta', partial_json: JSON.stringify(input) },
        }),
        event('content_block_stop', { index }),
      );
      index++;
    }
    out.push(
      event('message_delta', {
        delta: { stop_reason: reason(turn), stop_sequence: null },
        usage: turn.silent ? {} : { output_tokens: usageOf(turn).output },
      }),
      event('message_stop', {}),
    );
    return out;
  },
  failure: (text) => sse({ type: 'error', error: { type: 'overloaded_error', message: text } }, 'error'),
  error: (status, text) => ({
    type: 'error',
    error: { type: status === 529 ? 'overloaded_error' : 'api_error', message: text },
  }),
};
