import { type Encoder, piecesOf, SIGNATURE, sse, type Turn, usageOf } from './turn.ts';

const message = (turn: Turn) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: turn.text ?? '', annotations: [] }],
});
const call = ({ id, name, arguments: args, input, namespace }: NonNullable<Turn['tools']>[number]) => ({
  id: `${input === undefined ? 'fc' : 'ctc'}_${id}`,
  type: input === undefined ? 'function_call' : 'custom_tool_call',
  status: 'completed',
  call_id: id,
  name,
  ...(namespace === undefined ? {} : { namespace }),
  ...(input === undefined ? { arguments: JSON.stringify(args) } : { input }),
});
const reasoning = (turn: Turn) =>
  turn.thoughts === undefined
    ? []
    : [
        {
          id: 'rs_1',
          type: 'reasoning',
          summary: [{ type: 'summary_text', text: turn.thoughts }],
          encrypted_content: SIGNATURE,
        },
      ];

function response(turn: Turn, model: string, status: string) {
  const { input, output, cached } = usageOf(turn);
  const done = status === 'completed';
  return {
    id: 'resp_1',
    object: 'response',
    created_at: 1_700_000_000,
    status,
    model,
    output: done
      ? [...reasoning(turn), ...(turn.text === undefined ? [] : [message(turn)]), ...(turn.tools ?? []).map(call)]
      : [],
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
    for (const item of reasoning(turn)) {
      out.push(
        event('response.output_item.added', { output_index, item: { ...item, summary: [] } }),
        event('response.reasoning_summary_text.delta', {
          output_index,
          item_id: item.id,
          summary_index: 0,
          delta: turn.thoughts,
        }),
        event('response.output_item.done', { output_index, item }),
      );
      output_index++;
    }
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
      const [kind, field] =
        tool.input === undefined ? ['function_call_arguments', 'arguments'] : ['custom_tool_call_input', 'input'];
      const whole = tool.input ?? JSON.stringify(tool.arguments);
      const at = { output_index, item_id: item.id };
      out.push(
        event('response.output_item.added', { output_index, item: { ...item, [field]: '', status: 'in_progress' } }),
        event(`response.${kind}.delta`, { ...at, delta: whole }),
        event(`response.${kind}.done`, { ...at, [field]: whole }),
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
