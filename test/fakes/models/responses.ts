import { type Encoder, piecesOf, sse, type Turn, usageOf } from './turn.ts';

const message = (turn: Turn) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: turn.text ?? '', annotations: [] }],
});
const call = ({ id, name, arguments: args }: NonNullable<Turn['tools']>[number]) => ({
  id: `fc_${id}`,
  type: 'function_call',
  status: 'completed',
  call_id: id,
  name,
  arguments: JSON.stringify(args),
});

function response(turn: Turn, model: string, status: string) {
  const { input, output, cached } = usageOf(turn);
  const done = status === 'completed';
  return {
    id: 'resp_1',
    object: 'response',
    created_at: 1_700_000_000,
    status,
    model,
    output: done ? [...(turn.text === undefined ? [] : [message(turn)]), ...(turn.tools ?? []).map(call)] : [],
    error: null,
    incomplete_details: null,
    usage:
      done && !turn.silent
        ? {
            input_tokens: input,
            input_tokens_details: { cached_tokens: cached },
            output_tokens: output,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: input + output,
          }
        : null,
  };
}

export const responses: Encoder = {
  whole: (turn, model) => response(turn, model, 'completed'),
  events(turn, model) {
    let sequence_number = 0;
    const event = (type: string, body: object) => sse({ type, ...body, sequence_number: sequence_number++ }, type);
    const out = [
      event('response.created', { response: response(turn, model, 'in_progress') }),
      event('response.in_progress', { response: response(turn, model, 'in_progress') }),
    ];
    let output_index = 0;
    if (turn.text !== undefined) {
      const at = { output_index, item_id: 'msg_1', content_index: 0 };
      out.push(
        event('response.output_item.added', {
          output_index,
          item: { ...message(turn), status: 'in_progress', content: [] },
        }),
        event('response.content_part.added', { ...at, part: { type: 'output_text', text: '', annotations: [] } }),
        ...piecesOf(turn).map((delta) => event('response.output_text.delta', { ...at, delta })),
        event('response.output_text.done', { ...at, text: turn.text }),
        event('response.content_part.done', { ...at, part: { type: 'output_text', text: turn.text, annotations: [] } }),
        event('response.output_item.done', { output_index, item: message(turn) }),
      );
      output_index++;
    }
    for (const tool of turn.tools ?? []) {
      const item = call(tool);
      out.push(
        event('response.output_item.added', { output_index, item: { ...item, arguments: '', status: 'in_progress' } }),
        event('response.function_call_arguments.delta', { output_index, item_id: item.id, delta: item.arguments }),
        event('response.function_call_arguments.done', { output_index, item_id: item.id, arguments: item.arguments }),
        event('response.output_item.done', { output_index, item }),
      );
      output_index++;
    }
    out.push(event('response.completed', { response: response(turn, model, 'completed') }));
    return out;
  },
  failure: (message) => sse({ type: 'error', code: 'server_error', message, param: null, sequence_number: 9 }, 'error'),
  error: (status, message) => ({ error: { message, type: 'server_error', code: String(status), param: null } }),
};
