import { PassThrough, Readable, Writable } from 'node:stream';
import { type AgentApp, agent, ndJsonStream } from '@agentclientprotocol/sdk';
import { afterEach, describe, expect, test } from 'vitest';
import type { AgentStep } from '../agent.ts';
import { type AcpHost, Conversation } from './conversation.ts';
import { LONGEST_MESSAGE } from './wire.ts';

const open: Conversation[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** A sandbox in which nothing runs. */
const nowhere: Pick<AcpHost, 'service' | 'bench' | 'offer' | 'session'> = {
  service: async () => ({ permitted: false, reason: 'not here' }),
  bench: {
    guest: {
      exec: async () => {
        throw new Error('nothing runs here');
      },
    },
    env: {},
    signal: new AbortController().signal,
  },
  offer: { read: false, write: false, terminal: false },
  session: { mcp: [], plan: null, mustAsk: false, note() {} },
};

interface Scene {
  readonly talk: Conversation;
  readonly steps: AgentStep[];
  readonly other: string[];
  readonly asked: string[];
  /** What Cordon wrote. */
  readonly stdin: PassThrough;
}

function scene(options: Partial<AcpHost> = {}): Scene {
  const stdin = new PassThrough();
  const [steps, other, asked] = [[] as AgentStep[], [] as string[], [] as string[]];
  const talk = new Conversation(stdin, {
    prompt: ['do it', 'data'],
    ...nowhere,
    cwd: '/workspace',
    onPrompt: () => {},
    onStep: (step) => steps.push(step),
    onOther: (line) => other.push(line),
    permission: async ({ tool }, answer) => {
      asked.push(tool);
      return answer(!tool.includes('rm'));
    },
    ...options,
  });
  open.push(talk);
  return { talk, steps, other, asked, stdin };
}

/** The SDK's own agent side at the other end. */
async function meet(app: AgentApp, options: Partial<AcpHost> = {}): Promise<Scene & { verdict: unknown }> {
  const made = scene(options);
  const out = new PassThrough();
  const stream = ndJsonStream(
    Writable.toWeb(out) as WritableStream<Uint8Array>,
    Readable.toWeb(made.stdin) as ReadableStream<Uint8Array>,
  );
  const connection = app.connect(stream);
  out.on('data', (chunk: Buffer) => made.talk.feed(chunk));
  const verdict = await made.talk.done;
  made.talk.close();
  connection.close();
  return { ...made, verdict };
}

const basic = () =>
  agent({ name: 'test' })
    .onRequest('initialize', ({ params }) => ({ protocolVersion: params.protocolVersion, agentCapabilities: {} }))
    .onRequest('session/new', () => ({ sessionId: 's' }));

const options = [
  { optionId: 'n', kind: 'reject_once', name: 'No' },
  { optionId: 'y', kind: 'allow_once', name: 'Yes' },
] as const;

/** An agent's lines by hand, each fed when the request of that id was read. */
async function byHand(made: Scene, lines: readonly string[]): Promise<void> {
  for (const line of lines) await made.talk.feed(Buffer.from(`${line}\n`));
}
const initialized = '{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1}}';
const opened = '{"jsonrpc":"2.0","id":1,"result":{"sessionId":"s"}}';
const answered = '{"jsonrpc":"2.0","id":2,"result":{"stopReason":"end_turn"}}';

/** Until Cordon has written so many lines. */
async function written(made: Scene, count: number): Promise<Record<string, unknown>[]> {
  let text = '';
  for (;;) {
    text += made.stdin.read()?.toString() ?? '';
    const lines = text.split('\n').slice(0, -1);
    if (lines.length >= count) return lines.map((line) => JSON.parse(line));
    await new Promise((resolve) => made.stdin.once('readable', resolve));
  }
}

describe('a turn', () => {
  test('is told part by part, offers nothing of the client’s, and ends as the agent says', async () => {
    const heard: unknown[] = [];
    const app = agent({ name: 'test' })
      .onRequest('initialize', ({ params }) => {
        heard.push(params.clientCapabilities);
        return { protocolVersion: 1 };
      })
      .onRequest('session/new', ({ params }) => {
        heard.push(params);
        return { sessionId: 's' };
      })
      .onRequest('session/prompt', async ({ params, client }) => {
        heard.push(params.prompt);
        await client.notify('session/update', {
          sessionId: 's',
          update: { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: 'hi' } },
        });
        return { stopReason: 'end_turn' };
      });
    const { verdict, steps } = await meet(app);
    expect(verdict).toEqual({ ok: true });
    expect(heard).toMatchObject([
      { fs: { readTextFile: false, writeTextFile: false }, terminal: false },
      { cwd: '/workspace', mcpServers: [] },
      [
        { type: 'text', text: 'do it' },
        { type: 'text', text: 'data' },
      ],
    ]);
    expect(steps).toEqual([
      { kind: 'message', text: 'hi' },
      { kind: 'usage', input: 0, output: 0 },
    ]);
  });

  test('asks for leave under a name that it told before, and is answered by kind', async () => {
    const said: unknown[] = [];
    const app = basic().onRequest('session/prompt', async ({ client }) => {
      await client.notify('session/update', {
        sessionId: 's',
        update: { sessionUpdate: 'tool_call', toolCallId: 'a', title: 'rm -rf /', kind: 'execute' },
      });
      const ask = (toolCall: { toolCallId: string; title?: string }) =>
        client.request('session/request_permission', { sessionId: 's', toolCall, options: [...options] });
      said.push(await ask({ toolCallId: 'a' }), await ask({ toolCallId: 'b', title: 'ls' }));
      return { stopReason: 'end_turn' };
    });
    const { asked } = await meet(app);
    expect(asked).toEqual(['execute: rm -rf /', 'other: ls']);
    expect(said).toMatchObject([{ outcome: { optionId: 'n' } }, { outcome: { optionId: 'y' } }]);
  });

  test.each([
    ['fs/read_text_file', { sessionId: 's', path: '/etc/passwd' }],
    ['fs/write_text_file', { sessionId: 's', path: '/workspace/../../etc/passwd', content: 'x' }],
    ['terminal/create', { sessionId: 's', command: 'sh' }],
    ['elicitation/create', {}],
    ['__proto__', {}],
  ])('%s of the client is not there', async (method, params) => {
    const codes: unknown[] = [];
    const app = basic().onRequest('session/prompt', async ({ client }) => {
      await client.request(method as string, params).catch((error) => codes.push(error.code));
      return { stopReason: 'end_turn' };
    });
    expect((await meet(app)).verdict).toEqual({ ok: true });
    expect(codes).toEqual([-32601]);
  });

  test.each(['max_tokens', 'max_turn_requests', 'refusal', 'cancelled'] as const)(
    'that ends with %s is a failure',
    async (stopReason) => {
      const { verdict } = await meet(basic().onRequest('session/prompt', () => ({ stopReason })));
      expect(verdict).toMatchObject({ ok: false, reason: expect.stringMatching(/^it /) });
    },
  );

  test('errors, a login and another version are told', async () => {
    const { RequestError } = await import('@agentclientprotocol/sdk');
    const failing = basic().onRequest('session/prompt', () => {
      throw new RequestError(-32603, 'Internal error', { details: 'no model' });
    });
    expect((await meet(failing)).verdict).toEqual({
      ok: false,
      reason: 'it answered with an error: Internal error: no model',
    });
    const locked = agent({ name: 'x' })
      .onRequest('initialize', () => ({ protocolVersion: 1 }))
      .onRequest('session/new', () => {
        throw RequestError.authRequired();
      });
    expect((await meet(locked)).verdict).toMatchObject({
      reason: expect.stringContaining('it wants somebody to log in'),
    });
    const old = agent({ name: 'x' }).onRequest('initialize', () => ({ protocolVersion: 99 }));
    expect((await meet(old)).verdict).toMatchObject({ reason: expect.stringContaining('version 99') });
  });

  test('one that says nothing is not waited for without end', async () => {
    expect(await scene({ setup: 20 }).talk.done).toEqual({
      ok: false,
      reason: 'it did not answer initialize within 20 ms',
    });
  });

  test('cancelling asks the agent, and waits for it in bounds', async () => {
    const made = scene();
    await written(made, 1);
    await byHand(made, [initialized]);
    await written(made, 1);
    await byHand(made, [opened]);
    await written(made, 1);
    await made.talk.cancel(1);
    expect(await written(made, 1)).toMatchObject([{ method: 'session/cancel', params: { sessionId: 's' } }]);
    const stopping = made.talk.cancel(60_000);
    await byHand(made, ['{"jsonrpc":"2.0","id":2,"result":{"stopReason":"cancelled"}}']);
    await stopping;
    expect(await made.talk.done).toMatchObject({ ok: false, reason: 'it was cancelled' });
  });
});

describe('what a hostile agent sends', () => {
  async function started(extra: Partial<AcpHost> = {}): Promise<Scene> {
    const made = scene(extra);
    await written(made, 1);
    await byHand(made, [initialized]);
    await written(made, 1);
    await byHand(made, [opened]);
    await written(made, 1);
    return made;
  }

  test('garbage, other protocols, answers nobody asked for and answers again are counted, and mean nothing', async () => {
    const made = await started();
    const nonsense = [
      'garbage',
      '[]',
      '[{"jsonrpc":"2.0","id":2,"result":{}}]',
      'null',
      '{"jsonrpc":"1.0","id":2,"result":{"stopReason":"refusal"}}',
      '{"id":2}',
    ];
    const strangers = [
      opened,
      initialized,
      '{"jsonrpc":"2.0","id":"2","result":{"stopReason":"refusal"}}',
      '{"jsonrpc":"2.0","id":99,"result":{}}',
      '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
      '{"jsonrpc":"2.0","id":{"a":1},"method":"x"}',
      `{"jsonrpc":"2.0","id":1,"method":"${'m'.repeat(300)}"}`,
      '{"jsonrpc":"2.0","id":1e400,"method":"x"}',
    ];
    await byHand(made, [...nonsense, ...strangers, '{"jsonrpc":"2.0","method":"evil/notification","params":{}}']);
    expect(made.talk.unread).toBe(nonsense.length + strangers.length);
    expect(made.other).toHaveLength(nonsense.length);
    await byHand(made, [answered, answered]);
    expect(await made.talk.done).toEqual({ ok: true });
    expect(made.talk.unread).toBe(nonsense.length + strangers.length + 1);
  });

  test('a message without end ends the conversation, and no more than it is held', async () => {
    const made = await started();
    const piece = Buffer.alloc(1 << 20, 'x');
    for (let sent = 0; sent <= LONGEST_MESSAGE; sent += piece.length) await made.talk.feed(piece);
    expect(await made.talk.done).toEqual({ ok: false, reason: 'it sent a message of more than 16 MiB' });
    await made.talk.feed(Buffer.from(`\n${answered}\n`));
  });

  test('requests without end are read no faster than their answers are', async () => {
    const stdin = new Writable({ write() {} }); // nobody reads it: no write ever ends
    const made = scene();
    const silent = new Conversation(stdin, {
      ...nowhere,
      prompt: [],
      cwd: '/',
      onPrompt() {},
      onStep() {},
      onOther() {},
      permission: () => new Promise(() => {}),
    });
    open.push(silent);
    const flood = Array.from({ length: 10_000 }, (_, i) => `{"jsonrpc":"2.0","id":${i},"method":"x"}\n`).join('');
    let read = false;
    const feeding = silent.feed(Buffer.from(flood)).then(() => {
      read = true;
    });
    await made.talk.feed(Buffer.alloc(0));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(read).toBe(false);
    silent.close();
    await feeding;
  });

  test('the same id twice is one request; questions without end are an end', async () => {
    const made = await started();
    const question = (id: number, toolCall: string) =>
      `{"jsonrpc":"2.0","id":${id},"method":"session/request_permission","params":{"sessionId":"s","toolCall":${toolCall},"options":[]}}`;
    await byHand(made, [question(1, '{"toolCallId":"a"}'), question(1, '{"toolCallId":"a"}')]);
    expect(await written(made, 1)).toMatchObject([{ id: 1, result: { outcome: { outcome: 'cancelled' } } }]);
    expect(made.asked).toHaveLength(1);
    const reading = (async () => {
      for await (const _ of made.stdin);
    })();
    for (let id = 0; id < 2_100; id++) await byHand(made, [question(id, '{"toolCallId":"a"}')]);
    expect(await made.talk.done).toEqual({ ok: false, reason: 'it asked for leave more than 2000 times' });
    expect(made.asked.length).toBeLessThanOrEqual(2_000);
    made.talk.close();
    made.stdin.end();
    await reading;
  });

  test('a question that is none is refused, and decides nothing', async () => {
    const made = await started();
    const bodies = [
      'null',
      '[]',
      '{}',
      '{"sessionId":"s","toolCall":{"toolCallId":"a"},"options":{}}',
      '{"sessionId":"s","toolCall":{"toolCallId":["a"]},"options":[]}',
      '{"sessionId":"s","toolCall":{"toolCallId":"a"},"options":[{"optionId":"x","kind":"allow_everything","name":"x"}]}',
    ];
    await byHand(
      made,
      bodies.map(
        (params, id) => `{"jsonrpc":"2.0","id":${id},"method":"session/request_permission","params":${params}}`,
      ),
    );
    for (const answer of await written(made, bodies.length)) expect(answer).toHaveProperty('error.code', -32602);
    expect(made.asked).toEqual([]);
  });

  test('keys that mean something to JavaScript mean nothing', async () => {
    const made = await started();
    const evil = '"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}';
    await byHand(made, [
      `{"jsonrpc":"2.0","method":"session/update",${evil},"params":{${evil},"sessionId":"s","update":{${evil},"sessionUpdate":"plan","entries":[{${evil},"content":"a","status":"x"}]}}}`,
      `{"jsonrpc":"2.0","id":7,"method":"session/request_permission","params":{${evil},"sessionId":"s","toolCall":{"toolCallId":"__proto__","title":"x",${evil},"rawInput":{${evil}}},"options":[{"optionId":"__proto__","kind":"allow_once","name":"x","_meta":{${evil}}}]}}`,
    ]);
    expect(await written(made, 1)).toEqual([
      { jsonrpc: '2.0', id: 7, result: { outcome: { outcome: 'selected', optionId: '__proto__' } } },
    ]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(made.steps).toEqual([{ kind: 'plan', text: '[ ] a' }]);
  });
});
