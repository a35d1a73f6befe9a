/** Messages of an ACP agent whose values are of every shape but the right one. What throws where nobody listens ends Cordon's process. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Conversation } from '../../src/agents/acp/conversation.ts';

const errors: unknown[] = [];
const hear = (error: unknown) => void errors.push(error);
beforeEach(() => {
  errors.length = 0;
  process.on('uncaughtException', hear).on('unhandledRejection', hear);
});
afterEach(() => void process.off('uncaughtException', hear).off('unhandledRejection', hear));

const deep = '['.repeat(100_000) + ']'.repeat(100_000);
/** JSON, as text. No text can be made of an object with such members. */
const VALUES = [
  'null',
  '0',
  '-1e999',
  '"x"',
  '""',
  '"\\ud800"',
  '[]',
  '[null]',
  '{}',
  'true',
  '{"toString":1,"valueOf":1}',
  '{"__proto__":{"then":1},"then":{}}',
  '{"length":1e9}',
  '{"toJSON":1,"Symbol.iterator":1}',
  deep,
];
const error = (member: string) => `"error":{"code":-32603,"message":"no","data":{"details":"x"},${member}}`;
const update = (member: string) =>
  `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"tool_call","toolCallId":"a",${member}}}}`;
const ask = (method: string, member: string) =>
  `{"jsonrpc":"2.0","id":"q","method":"${method}","params":{"sessionId":"s","toolCall":{"toolCallId":"a"},"options":[],"path":"/workspace/a","content":"","command":"x","terminalId":"t",${member}}}`;

const hello = '{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1}}';
const opened = '{"jsonrpc":"2.0","id":1,"result":{"sessionId":"s"}}';

/** The lines before, and the one that holds the value. */
const places: Readonly<Record<string, (value: string) => readonly string[]>> = {
  'the hello': (v) => [`{"jsonrpc":"2.0","id":0,"result":${v}}`],
  'the version': (v) => [`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":${v}}}`],
  'its name': (v) => [
    `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"agentInfo":{"name":${v},"version":${v}}}}`,
    opened,
  ],
  'ways to log in': (v) => [
    `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"authMethods":${v},"agentCapabilities":${v}}}`,
    opened,
  ],
  'an error': (v) => [hello, `{"jsonrpc":"2.0","id":1,"error":${v}}`],
  'an error’s code': (v) => [hello, `{"jsonrpc":"2.0","id":1,${error(`"code":${v}`)}}`],
  'an error’s words': (v) => [hello, `{"jsonrpc":"2.0","id":1,${error(`"message":${v}`)}}`],
  'an error’s data': (v) => [hello, `{"jsonrpc":"2.0","id":1,${error(`"data":${v}`)}}`],
  'an error’s details': (v) => [hello, `{"jsonrpc":"2.0","id":1,${error(`"data":{"details":${v}}`)}}`],
  'a log-in that is wanted': (v) => [
    hello,
    `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":${v},"data":{"details":${v}}}}`,
  ],
  'the session': (v) => [
    hello,
    `{"jsonrpc":"2.0","id":1,"result":{"sessionId":${v},"modes":${v},"models":${v},"configOptions":${v}}}`,
  ],
  modes: (v) => [
    hello,
    `{"jsonrpc":"2.0","id":1,"result":{"sessionId":"s","modes":{"currentModeId":${v},"availableModes":[{"id":${v},"name":${v}}]},"configOptions":[{"id":${v},"options":${v}}]}}`,
  ],
  'the end': (v) => [hello, opened, `{"jsonrpc":"2.0","id":2,"result":{"stopReason":${v},"_meta":${v}}}`],
  'an update': (v) => [
    hello,
    opened,
    `{"jsonrpc":"2.0","method":"session/update","params":${v}}`,
    `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":${v}}}`,
  ],
  'a call': (v) => [
    hello,
    opened,
    ...['title', 'kind', 'status', 'content', 'rawInput', 'rawOutput', 'locations', 'toolCallId'].map((name) =>
      update(`"${name}":${v}`),
    ),
  ],
  words: (v) => [
    hello,
    opened,
    ...['agent_message_chunk', 'agent_thought_chunk', 'plan', 'usage_update', 'current_mode_update'].map((kind) =>
      update(
        `"sessionUpdate":"${kind}","content":${v},"entries":${v},"used":${v},"size":${v},"cost":${v},"_meta":${v}`,
      ),
    ),
  ],
  'a question': (v) => [
    hello,
    opened,
    ...['title', 'kind', 'rawInput', 'locations', 'content'].map((name) =>
      ask('session/request_permission', `"toolCall":{"toolCallId":"a","${name}":${v}}`).replace('"q"', `"${name}"`),
    ),
    ask('session/request_permission', `"options":${v}`),
  ],
  'a file': (v) => [
    hello,
    opened,
    ...['path', 'content', 'line', 'limit'].map((name) =>
      ask('fs/read_text_file', `"${name}":${v}`).replace('"q"', `"${name}"`),
    ),
    ask('fs/write_text_file', `"content":${v}`),
  ],
  'a terminal': (v) => [
    hello,
    opened,
    ...['command', 'args', 'env', 'cwd', 'outputByteLimit'].map((name) =>
      ask('terminal/create', `"${name}":${v}`).replace('"q"', `"${name}"`),
    ),
    ask('terminal/output', `"terminalId":${v}`),
  ],
};

interface Scene {
  readonly talk: Conversation;
  /** Resolves when the request with this number was written, or the conversation is over. */
  asked(id: number): Promise<unknown>;
}

function converse(): Scene {
  const stdin = new PassThrough();
  let written = '';
  stdin.on('data', (piece) => {
    written += piece;
  });
  const talk = new Conversation(stdin, {
    prompt: ['do it'],
    cwd: '/workspace',
    service: async () => ({ permitted: true, done: async () => {} }),
    bench: {
      guest: { exec: async () => Promise.reject(new Error('nothing runs here')) },
      env: {},
      signal: new AbortController().signal,
    },
    offer: { read: true, write: true, terminal: true },
    session: { mcp: [], plan: null, mustAsk: false, note() {} },
    onPrompt: () => {},
    onStep: () => {},
    onOther: () => {},
    permission: async (_asked, answer) => answer(true),
  });
  let over = false;
  void talk.done.then(() => {
    over = true;
  });
  const asked = (id: number) => expect.poll(() => over || written.includes(`"id":${id},`), { interval: 1 }).toBe(true);
  return { talk, asked };
}

test.each(Object.keys(places))(
  '%s',
  async (place) => {
    for (const value of VALUES) {
      const { talk, asked } = converse();
      for (const line of places[place]?.(value) ?? []) {
        const [, id] = /^\{"jsonrpc":"2.0","id":(\d),/.exec(line) ?? [];
        if (id !== undefined) await asked(Number(id));
        await talk.feed(Buffer.from(`${line}\n`));
      }
      // Until the last of them has come to something: what follows it is answered.
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      await talk.close();
      expect(await talk.done).toMatchObject({ ok: expect.any(Boolean) });
      await new Promise((resolve) => setImmediate(resolve));
      expect([place, value.slice(0, 60), ...errors]).toHaveLength(2);
    }
  },
  60_000,
);
