/** Requests as bytes, where a library would put right what an attacker leaves wrong. */
import { connect } from 'node:net';

/** Sends bytes as they are over one connection; resolves with all that comes back until it is closed, or until `enough` says so. */
export async function raw(
  url: string,
  chunks: readonly (string | Buffer)[],
  enough = (text: string) => /\r\n\r\n/.test(text),
): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.setNoDelay(true);
  let text = '';
  const answered = new Promise<string>((resolve) => {
    socket.on('data', (piece) => {
      text += piece.toString('latin1');
      if (enough(text)) resolve(text);
    });
    socket.on('close', () => resolve(text));
    socket.on('error', () => resolve(text));
  });
  for (const chunk of chunks) {
    if (socket.destroyed) break;
    socket.write(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const result = await answered;
  socket.destroy();
  return result;
}

export const request = (token: string, target: string, body: string, headers = ''): string =>
  `POST ${target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
