/** The trivial model server of bench/models.ts, and what it is asked. */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** How long a slow stream goes on, in tenths of a second. */
const PIECES = 600;
export const GIB = 1024 ** 3;

const PROMPT = 'Fix the failing test of the parser, and say what was wrong with it. '.repeat(60);
export const body = (stream: boolean) =>
  Buffer.from(JSON.stringify({ model: 'm', stream, max_tokens: 500, messages: [{ role: 'user', content: PROMPT }] }));
const WHOLE = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'done' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1000, completion_tokens: 1, total_tokens: 1001 },
});
const chunk = (delta: object, finish: string | null = null, more: object = {}) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`;
const FIRST = chunk({ role: 'assistant', content: 'x'.repeat(40) });
const LAST = `${chunk({}, 'stop')}${chunk({}, null, { choices: [], usage: { prompt_tokens: 1000, completion_tokens: 9, total_tokens: 1009 } })}data: [DONE]\n\n`;

/** The user `slow` gets a stream that goes on for a minute, `large` one of 1 GiB. */
export function answer(incoming: IncomingMessage, response: ServerResponse): void {
  const pieces: Buffer[] = [];
  incoming.on('data', (piece: Buffer) => pieces.push(piece));
  incoming.on('end', () => {
    const { stream, user } = JSON.parse(Buffer.concat(pieces).toString());
    if (stream !== true) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(WHOLE);
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(FIRST);
    if (user === 'large') {
      pour(response);
      return;
    }
    if (user !== 'slow') {
      response.end(LAST);
      return;
    }
    let left = PIECES;
    const timer = setInterval(() => {
      if (left-- > 0 && !response.destroyed) response.write(FIRST);
      else {
        clearInterval(timer);
        response.end(LAST);
      }
    }, 100);
  });
}

function pour(response: ServerResponse): void {
  const piece = chunk({ content: 'x'.repeat(64 * 1024) });
  let sent = 0;
  const more = () => {
    while (sent < GIB) {
      sent += piece.length;
      if (!response.write(piece)) {
        response.once('drain', more);
        return;
      }
    }
    response.end(LAST);
  };
  more();
}
