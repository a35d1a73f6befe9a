import { type Encoder, piecesOf, SIGNATURE, sse, type Turn, usageOf } from './turn.ts';

function chunk(turn: Turn, model: string, parts: unknown[], last: boolean) {
  const { input, output, cached } = usageOf(turn);
  return {
    candidates: [{ content: { role: 'model', parts }, index: 0, ...(last ? { finishReason: 'STOP' } : {}) }],
    ...(last && !turn.silent
      ? {
          usageMetadata: {
            promptTokenCount: input,
            candidatesTokenCount: output,
            totalTokenCount: input + output,
            cachedContentTokenCount: cached,
          },
        }
      : {}),
    modelVersion: model,
    responseId: 'r1',
  };
}

const calls = (turn: Turn) =>
  (turn.tools ?? []).map(({ name, arguments: args }) => ({
    functionCall: { name, args },
    ...(turn.thoughts === undefined ? {} : { thoughtSignature: SIGNATURE }),
  }));
const thoughts = ({ thoughts: text }: Turn) => (text === undefined ? [] : [{ text, thought: true }]);

export const gemini: Encoder = {
  whole: (turn, model) =>
    chunk(
      turn,
      model,
      [...thoughts(turn), ...(turn.text === undefined ? [] : [{ text: turn.text }]), ...calls(turn)],
      true,
    ),
  events: (turn, model) => [
    ...thoughts(turn).map((part) => sse(chunk(turn, model, [part], false)).replaceAll('\n', '\r\n')),
    ...piecesOf(turn).map((text) => sse(chunk(turn, model, [{ text }], false)).replaceAll('\n', '\r\n')),
    sse(chunk(turn, model, calls(turn), true)).replaceAll('\n', '\r\n'),
  ],
  failure: (message) => sse({ error: { code: 503, message, status: 'UNAVAILABLE' } }),
  error: (status, message) => ({ error: { code: status, message, status: 'INTERNAL' } }),
};
