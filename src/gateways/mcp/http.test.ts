import { expect, test } from 'vitest';
import { HttpUpstream, type Send } from './http.ts';
import { defaultMcpLimits } from './limits.ts';

const limits = { ...defaultMcpLimits, message: 10_000, garbage: 3 };
const never = new AbortController().signal;

interface Said {
  readonly status?: number;
  readonly type?: string;
  readonly session?: string;
  readonly body: string | readonly string[];
}

/** Answers in order, and what was sent for them. */
function upstream(...answers: Said[]) {
  const sent: { method: string; headers: Readonly<Record<string, string>>; body: string }[] = [];
  const asked: string[] = [];
  const send: Send = async (method, headers, body) => {
    sent.push({ method, headers, body: body.toString() });
    const { status = 200, type = 'application/json', session, body: text } = answers[sent.length - 1] ?? { body: '' };
    const pieces = typeof text === 'string' ? [text] : text;
    return {
      status,
      headers: { 'content-type': type, ...(session === undefined ? {} : { 'mcp-session-id': session }) },
      body: (async function* () {
        for (const piece of pieces) yield Buffer.from(piece);
      })(),
    };
  };
  const one = new HttpUpstream('docs', send, limits, { asked: (method) => asked.push(method), garbage() {} });
  return { one, sent, asked };
}

const result = (id: number) => JSON.stringify({ jsonrpc: '2.0', id, result: { ok: true } });
const event = (message: object) => `event: message\ndata: ${JSON.stringify(message)}\n\n`;

test.each<[string, Said, RegExp]>([
  ['a redirect', { status: 307, body: '' }, /redirects are not followed/],
  ['another credential wanted', { status: 401, body: '' }, /does not take the credential/],
  ['an error of its own', { status: 500, body: '' }, /answers 500/],
  ['a page', { type: 'text/html', body: '<html>' }, /neither JSON nor events/],
  ['no JSON', { body: '{"jsonrpc"' }, /cannot be read/],
  ['an answer to another question', { body: result(7) }, /something else/],
  ['a batch', { body: `[${result(1)}]` }, /cannot be read/],
  ['a body without end', { body: Array.from({ length: 20 }, () => 'x'.repeat(1_000)) }, /more than 10000 bytes/],
  [
    'events without end',
    { type: 'text/event-stream', body: Array.from({ length: 20 }, () => `: ${'x'.repeat(1_000)}\n\n`) },
    /more than 10000 bytes/,
  ],
  [
    'events without an answer',
    { type: 'text/event-stream', body: event({ jsonrpc: '2.0', method: 'notifications/x' }) },
    /before its answer/,
  ],
  ['a session that would end a header', { session: 'a\r\nx: y', body: result(1) }, /no header may hold/],
])('%s is an error that says so', async (_what, said, why) => {
  await expect(upstream(said).one.request('initialize', {}, never)).rejects.toThrow(why);
});

test('a session and a revision go with every request, and with its end', async () => {
  const { one, sent } = upstream({ session: 's-1', body: result(1) }, { body: result(2) }, { body: '' });
  await one.request('initialize', {}, never);
  one.speaks('2025-11-25');
  await one.request('tools/list', {}, never);
  await one.close();
  expect(sent[0]?.headers).not.toHaveProperty('Mcp-Session-Id');
  for (const { headers } of sent.slice(1))
    expect(headers).toMatchObject({ 'Mcp-Session-Id': 's-1', 'MCP-Protocol-Version': '2025-11-25' });
  expect(sent.map(({ method }) => method)).toEqual(['POST', 'POST', 'DELETE']);
  await expect(one.request('ping', {}, never)).rejects.toThrow(/is gone/);
});

test('an answer at the end of a stream, cut anywhere; what is asked on the way is refused', async () => {
  const ask = event({ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: {} });
  const whole = ask + event({ jsonrpc: '2.0', id: 1, result: { fine: 1 } });
  const { one, sent, asked } = upstream({ type: 'text/event-stream', body: [...whole] }, { status: 202, body: '' });
  expect(await one.request('tools/call', {}, never)).toEqual({ fine: 1 });
  expect(asked).toEqual(['sampling/createMessage']);
  expect(JSON.parse(sent[1]?.body ?? '')).toMatchObject({ id: 'q', error: { code: -32601 } });
});

test('one that asks without end is given up', async () => {
  const ask = (id: number) => event({ jsonrpc: '2.0', id, method: 'roots/list', params: {} });
  const { one } = upstream({ type: 'text/event-stream', body: [1, 2, 3, 4, 5].map(ask) });
  await expect(one.request('tools/call', {}, never)).rejects.toThrow(/again and again/);
});
