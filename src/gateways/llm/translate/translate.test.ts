import Anthropic from '@anthropic-ai/sdk';
import fc from 'fast-check';
import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import { modelScene } from '../../../../test/fakes/model-scene.ts';
import { chat } from '../../../../test/fakes/models/chat.ts';
import { gemini } from '../../../../test/fakes/models/gemini.ts';
import { messages } from '../../../../test/fakes/models/messages.ts';
import { responses } from '../../../../test/fakes/models/responses.ts';
import type { Encoder, Turn } from '../../../../test/fakes/models/turn.ts';
import { SseReader } from '../../../base/sse.ts';
import { wires } from '../wire/index.ts';
import type { JsonObject, WireName } from '../wire/wire.ts';
import { callers, translate, upstreams } from './index.ts';
import type { Part, Prompt, Turn as Said } from './neutral.ts';
import type { TranslationSet } from './translation.ts';

const encoders: Readonly<Record<WireName, Encoder>> = { chat, responses, messages, gemini };
const all: readonly WireName[] = ['chat', 'responses', 'messages', 'gemini'];
const pairs = all.flatMap((from) => all.filter((to) => to !== from).map((to) => [from, to] as const));

const forms = { chat: 'effort', responses: 'effort', messages: 'adaptive', gemini: 'budget' } as const;
const set = (to: WireName, more: Partial<TranslationSet> = {}): TranslationSet => ({
  stream: false,
  wantsUsage: true,
  maxOutput: 1000,
  reasoning: forms[to],
  id: 'req_1',
  at: 1_700_000_000,
  ...more,
});

describe('requests', () => {
  const word = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' });
  const name = fc.constantFrom('shell', 'read_file', 'apply-patch');
  const text = fc.record({ kind: fc.constant('text' as const), text: word });
  const image = fc.constant({ kind: 'image', type: 'image/png', base64: 'aGVsbG8=', name: null } as const);
  const input = fc.dictionary(fc.constantFrom('cmd', 'path', 'n'), fc.oneof(word, fc.integer(), fc.boolean()));
  const called = fc.array(fc.record({ name, input, result: word }), { minLength: 1, maxLength: 3 });
  const step = fc.record({ text: fc.option(text, { nil: null }), called, more: fc.array(fc.oneof(text, image)) });
  const prompt = fc
    .record({
      system: fc.option(word, { nil: null }),
      first: fc.array(fc.oneof(text, image), { minLength: 1, maxLength: 3 }),
      steps: fc.array(step, { maxLength: 4 }),
      tools: fc.uniqueArray(name, { minLength: 1 }),
      choice: fc.constantFrom(null, 'auto', 'none', 'any', 'tool'),
      temperature: fc.constantFrom(null, 0, 0.5, 1),
      topP: fc.constantFrom(null, 0.9),
      effort: fc.constantFrom(null, 'low', 'medium', 'high'),
      schema: fc.boolean(),
    })
    .map(({ system, first, steps, tools, choice, temperature, topP, effort, schema }): Prompt => {
      let count = 0;
      const turns: Said[] = system === null ? [] : [{ role: 'system', parts: [{ kind: 'text', text: system }] }];
      turns.push({ role: 'user', parts: first });
      for (const { text, called, more } of steps) {
        const ids = called.map(() => `call_${count++}`);
        const calls = called.map((one, i): Part => {
          return { kind: 'call', id: ids[i] as string, name: one.name, input: JSON.stringify(one.input), free: false };
        });
        const results = called.map((one, i): Part => {
          return { kind: 'result', id: ids[i] as string, parts: [{ kind: 'text', text: one.result }], failed: false };
        });
        turns.push({ role: 'assistant', parts: [...(text === null ? [] : [text]), ...calls] });
        turns.push({ role: 'user', parts: [...results, ...more] });
      }
      return {
        turns,
        tools: tools.map((one) => ({
          name: one,
          description: `runs ${one}`,
          schema: { type: 'object', properties: { type: { type: 'string' } } },
          strict: null,
        })),
        choice:
          choice === null ? null : choice === 'tool' ? { kind: 'tool', name: tools[0] as string } : { kind: choice },
        parallel: null,
        maxOutput: 500,
        temperature,
        topP,
        topK: null,
        stop: [],
        effort: effort as Prompt['effort'],
        format: schema
          ? { kind: 'schema', name: 'answer', schema: { type: 'object', properties: {} }, strict: null }
          : null,
      };
    });

  /** Gemini has no ids, and some protocols say by default what others leave out. */
  const meaning = (one: Prompt) => {
    const ids = new Map<string, string>();
    const idOf = (id: string) => ids.get(id) ?? (ids.set(id, `id${ids.size}`).get(id) as string);
    const part = (p: Part): unknown =>
      p.kind === 'call'
        ? { ...p, id: idOf(p.id), input: JSON.parse(p.input) }
        : p.kind === 'result'
          ? { ...p, id: idOf(p.id) }
          : p;
    return {
      ...one,
      turns: one.turns.map(({ role, parts }) => ({ role, parts: parts.map(part) })),
      tools: one.tools.map((tool) => ({ ...tool, strict: tool.strict ?? false })),
      format: one.format?.kind === 'schema' ? { ...one.format, name: '', strict: null } : one.format,
    };
  };

  test.each(pairs)('%s → %s → back keeps the meaning', (a, b) => {
    fc.assert(
      fc.property(prompt, (said) => {
        const there = upstreams[a](set(a)).write(said);
        const back = translate(b, a, set(a)).request(translate(a, b, set(b)).request(there));
        expect(meaning(callers[a](set(a)).read(back))).toEqual(meaning(said));
      }),
      { numRuns: 60 },
    );
  });

  const chatBody = (more: JsonObject): JsonObject => ({ messages: [{ role: 'user', content: 'hi' }], ...more });
  test.each<[string, WireName, WireName, JsonObject]>([
    ['several answers', 'chat', 'messages', chatBody({ n: 2 })],
    ['likelihoods', 'chat', 'messages', chatBody({ logprobs: true })],
    ['penalties', 'chat', 'responses', chatBody({ presence_penalty: 1 })],
    ['great heat', 'chat', 'messages', chatBody({ temperature: 1.5 })],
    ['a text that ends the answer', 'chat', 'responses', chatBody({ stop: ['x'] })],
    [
      'a picture by URL',
      'chat',
      'messages',
      {
        messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://x.example/' } }] }],
      },
    ],
    [
      'an answer that is begun',
      'messages',
      'chat',
      {
        messages: [
          { role: 'user', content: 'hi' },
          { role: 'assistant', content: '{' },
        ],
      },
    ],
    [
      'a tool of the provider’s',
      'messages',
      'chat',
      {
        messages: [],
        tools: [{ type: 'web_search_20250305', name: 'web_search' }],
      },
    ],
    [
      'a tool without a schema',
      'messages',
      'responses',
      { messages: [], tools: [{ type: 'bash_20250124', name: 'bash' }] },
    ],
    ['an earlier answer that is stored', 'responses', 'messages', { input: 'x', previous_response_id: 'resp_1' }],
    ['a search that was made', 'responses', 'messages', { input: [{ type: 'web_search_call', id: 'ws_1' }] }],
    [
      'a choice of several tools',
      'responses',
      'chat',
      { input: 'x', tool_choice: { type: 'allowed_tools', tools: [] } },
    ],
    [
      'arguments that are no object',
      'chat',
      'messages',
      {
        messages: [
          { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '[1' } }] },
          { role: 'tool', tool_call_id: 'c', content: 'x' },
        ],
      },
    ],
  ])('what has no equal is an error: %s', (_, from, to, body) => {
    expect(() => translate(from, to, set(to)).request(body)).toThrow(/equal|no JSON object/);
  });

  test('thoughts of another model stay out of the history', () => {
    const body = {
      messages: [
        { role: 'user', content: 'hi' },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'private', signature: 'c2ln' },
            { type: 'redacted_thinking', data: 'cHJpdmF0ZQ==' },
            { type: 'text', text: 'hello' },
          ],
        },
        { role: 'user', content: 'and?' },
      ],
    };
    const sent = JSON.stringify(translate('messages', 'responses', set('responses')).request(body));
    expect(sent).toContain('hello');
    expect(sent).not.toMatch(/private|c2ln|cHJpdmF0ZQ/);
    const items = [
      { type: 'reasoning', id: 'rs_1', encrypted_content: 'gAAA', summary: [] },
      { type: 'message', role: 'user', content: 'hi' },
    ];
    expect(JSON.stringify(translate('responses', 'messages', set('messages')).request({ input: items }))).not.toContain(
      'gAAA',
    );
  });

  test('an instruction in the middle is told apart, and ids that a protocol does not take are made ones that it does', () => {
    const sent = translate('chat', 'messages', set('messages')).request({
      messages: [
        { role: 'user', content: 'hi' },
        {
          role: 'assistant',
          tool_calls: [{ id: 'functions.sh:0', type: 'function', function: { name: 'sh', arguments: '' } }],
        },
        { role: 'tool', tool_call_id: 'functions.sh:0', content: 'ok' },
        { role: 'system', content: 'be brief' },
      ],
    });
    const [, asked, answered] = sent.messages as { content: { id?: string; tool_use_id?: string; text?: string }[] }[];
    expect(asked?.content[0]?.id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
    expect(answered?.content[0]?.tool_use_id).toBe(asked?.content[0]?.id);
    expect(answered?.content[1]?.text).toBe('<system-reminder>\nbe brief\n</system-reminder>');
  });

  test('a failed tool and a picture of a tool’s are said in words where there is no place for them', () => {
    const result = {
      type: 'tool_result',
      tool_use_id: 'c1',
      is_error: true,
      content: [
        { type: 'text', text: 'no such file' },
        { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'aGk=' } },
      ],
    };
    const body = {
      messages: [
        { role: 'assistant', content: [{ type: 'tool_use', id: 'c1', name: 'read', input: {} }] },
        { role: 'user', content: [result] },
      ],
    };
    const { messages } = translate('messages', 'chat', set('chat')).request(body) as { messages: JsonObject[] };
    expect(messages[1]).toEqual({ role: 'tool', tool_call_id: 'c1', content: 'The tool failed:\nno such file' });
    expect(JSON.stringify(messages[2])).toContain('data:image/png;base64,aGk=');
  });
});

/** Text, calls, several at once, cached tokens; in every protocol's own events. */
const turns: readonly Turn[] = [
  { text: 'once upon a time', pieces: 4, usage: { input: 20, output: 6, cached: 8 } },
  {
    text: 'look: ',
    tools: [
      { id: 'call_a', name: 'shell', arguments: { cmd: 'ls "a b"', n: 1 } },
      { id: 'call_b', name: 'read', arguments: {} },
    ],
  },
  { tools: [{ id: 'call_c', name: 'shell', arguments: { deep: [{ a: null }] } }] },
  { text: '' },
];

/** A stream in the upstream's protocol, cut at these places → the caller's events. */
function through(from: WireName, to: WireName, turn: Turn, cuts: readonly number[] = []): string {
  const translation = translate(from, to, set(to, { stream: true }));
  const bytes = Buffer.from(encoders[to].events(turn, 'm').join(''));
  const reader = new SseReader();
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((x, y) => x - y);
  return [...ends, bytes.length]
    .flatMap((end, i) => reader.push(bytes.subarray(ends[i - 1] ?? 0, end)))
    .map(({ type, data }) => translation.event(type, data))
    .join('');
}

describe('streams', () => {
  test.each(pairs)('%s from %s: the same, however it is cut', (from, to) => {
    fc.assert(
      fc.property(fc.constantFrom(...turns), fc.array(fc.nat(), { maxLength: 40 }), (turn, cuts) => {
        expect(through(from, to, turn, cuts)).toBe(through(from, to, turn));
      }),
      { numRuns: 40 },
    );
  });

  test.each(pairs)('%s from %s: the caller’s own meter reads it to its end', (from, to) => {
    for (const turn of turns) {
      const meter = wires[from].meter({
        model: 'm',
        stream: true,
        maxOutput: null,
        answers: 1,
        wants: [],
        wantsUsage: true,
      });
      for (const { type, data } of new SseReader().push(Buffer.from(through(from, to, turn)))) meter.event(type, data);
      expect(meter).toMatchObject({ complete: true, failure: null });
      expect(meter.usage).toMatchObject({ input: 10, output: 5, cached: 0, ...turn.usage });
      expect(meter.finish).toMatch(
        turn.tools === undefined ? /^(stop|end_turn|completed|STOP)$/ : /^(tool_calls|tool_use|completed|STOP)$/,
      );
    }
  });

  test('calls that an upstream interleaves come one after the other', () => {
    const translation = translate('messages', 'chat', set('chat', { stream: true }));
    const delta = (index: number, more: JsonObject, name?: string) =>
      JSON.stringify({
        choices: [
          {
            delta: { tool_calls: [{ index, ...(name && { id: name }), function: { ...(name && { name }), ...more } }] },
          },
        ],
      });
    const text = [
      delta(0, { arguments: '{"a"' }, 'one'),
      delta(1, { arguments: '{"b"' }, 'two'),
      delta(0, { arguments: ':1}' }),
      delta(1, { arguments: ':2}' }),
      '[DONE]',
    ]
      .map((data) => translation.event(null, data))
      .join('');
    const order = [...text.matchAll(/"type":"(content_block_\w+)"|partial_json":"([^}]*\}?)"/g)].map(
      ([, type, json]) => type ?? json,
    );
    expect(order.filter((one) => one?.startsWith('content_block_st'))).toEqual([
      'content_block_start',
      'content_block_stop',
      'content_block_start',
      'content_block_stop',
    ]);
    expect(text).toContain('"stop_reason":"tool_use"');
  });

  test.each(pairs)('%s from %s: an error in the middle is an error of the caller’s protocol', (from, to) => {
    const error: Readonly<Record<WireName, string>> = {
      chat: '{"error":{"message":"overloaded"}}',
      responses: '{"type":"error","message":"overloaded"}',
      messages: '{"type":"error","error":{"type":"overloaded_error","message":"overloaded"}}',
      gemini: '{"error":{"code":503,"message":"overloaded"}}',
    };
    const translation = translate(from, to, set(to, { stream: true }));
    const [first = ''] = encoders[to].events(turns[0] as Turn, 'm');
    for (const { type, data } of new SseReader().push(Buffer.from(first))) translation.event(type, data);
    const told = translation.event('error', error[to]);
    const meter = wires[from].meter({
      model: 'm',
      stream: true,
      maxOutput: null,
      answers: 1,
      wants: [],
      wantsUsage: true,
    });
    for (const { type, data } of new SseReader().push(Buffer.from(told))) meter.event(type, data);
    expect(meter.failure).toBe('overloaded');
    expect(translation.event(null, error[to])).toBe('');
  });
});

describe('the makers’ own clients, through the gateway', () => {
  const tool = {
    name: 'shell',
    description: 'runs',
    schema: { type: 'object', properties: { cmd: { type: 'string' } } },
  };
  const wanted = [
    { id: 'call_a', name: 'shell', input: { cmd: 'ls' } },
    { id: 'call_b', name: 'shell', input: {} },
  ];
  const script = [
    {
      text: 'let me look',
      pieces: 3,
      tools: wanted.map(({ id, name, input }) => ({ id, name, arguments: input })),
      usage: { input: 30, output: 9, cached: 10 },
    },
  ];
  const models = { chat: 'm-chat', responses: 'm-responses', messages: 'm-claude', gemini: 'm-google' } as const;
  const cases = all.flatMap((to) => [true, false].map((stream) => [to, stream] as const));

  test.each(cases)('Anthropic’s, answered in %s, stream: %s', async (to, stream) => {
    const { url, models: open, close, answered } = await modelScene(script);
    const client = new Anthropic({ baseURL: url, apiKey: open.token, maxRetries: 0 });
    const body = {
      model: models[to],
      max_tokens: 100,
      system: 'be brief',
      messages: [{ role: 'user' as const, content: 'hi' }],
      tools: [{ name: tool.name, description: tool.description, input_schema: tool.schema as { type: 'object' } }],
    };
    const answer = stream ? await client.messages.stream(body).finalMessage() : await client.messages.create(body);
    await close();
    expect(answer.stop_reason).toBe('tool_use');
    expect(answer.usage).toMatchObject({ input_tokens: 20, cache_read_input_tokens: 10, output_tokens: 9 });
    expect(answer.content[0]).toMatchObject({ type: 'text', text: 'let me look' });
    expect(answer.content.slice(1)).toMatchObject(wanted.map(({ name, input }) => ({ type: 'tool_use', name, input })));
    expect(answered).toMatchObject([{ result: 'completed', usage: { input: 30, output: 9, cached: 10 } }]);
  });

  test.each(cases)('OpenAI’s chat, answered in %s, stream: %s', async (to, stream) => {
    const { url, models: open, close } = await modelScene(script);
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: open.token, maxRetries: 0 });
    const body = {
      model: models[to],
      messages: [{ role: 'user' as const, content: 'hi' }],
      tools: [{ type: 'function' as const, function: { name: tool.name, parameters: tool.schema } }],
    };
    const answer = stream
      ? await client.chat.completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion()
      : await client.chat.completions.create(body);
    await close();
    const [choice] = answer.choices;
    expect(choice).toMatchObject({
      finish_reason: 'tool_calls',
      message: { content: 'let me look' },
    });
    expect(
      choice?.message.tool_calls?.map((call) => call.type === 'function' && JSON.parse(call.function.arguments)),
    ).toEqual(wanted.map(({ input }) => input));
    expect(answer.usage).toMatchObject({
      prompt_tokens: 30,
      completion_tokens: 9,
      prompt_tokens_details: { cached_tokens: 10 },
    });
  });

  test.each(cases)('OpenAI’s responses, answered in %s, stream: %s', async (to, stream) => {
    const { url, models: open, close } = await modelScene(script);
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: open.token, maxRetries: 0 });
    const body = {
      model: models[to],
      input: 'hi',
      tools: [{ type: 'function' as const, name: tool.name, parameters: tool.schema, strict: false }],
    };
    const answer = stream ? await client.responses.stream(body).finalResponse() : await client.responses.create(body);
    await close();
    expect(answer.status).toBe('completed');
    expect(answer.output[0]).toMatchObject({ type: 'message', content: [{ text: 'let me look' }] });
    expect(answer.output.slice(1).map((item) => item.type === 'function_call' && JSON.parse(item.arguments))).toEqual(
      wanted.map(({ input }) => input),
    );
    expect(answer.usage).toMatchObject({
      input_tokens: 30,
      output_tokens: 9,
      input_tokens_details: { cached_tokens: 10 },
    });
  });
});

describe('what only Responses has', () => {
  const tools = [
    {
      type: 'custom',
      name: 'apply_patch',
      description: 'edits',
      format: { type: 'grammar', syntax: 'lark', definition: 'start: x' },
    },
    {
      type: 'namespace',
      name: 'mcp__files',
      tools: [{ type: 'function', name: 'read', parameters: { type: 'object' } }],
    },
  ];

  test.each([true, false])(
    'tools that take text, and names within names, go there and come back; stream: %s',
    (stream) => {
      const translation = translate('responses', 'messages', set('messages', { stream }));
      const input = [
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
        { type: 'custom_tool_call', call_id: 'c0', name: 'apply_patch', input: '*** Begin' },
        { type: 'custom_tool_call_output', call_id: 'c0', output: 'done' },
      ];
      const sent = translation.request({ input, tools }) as {
        tools: JsonObject[];
        messages: { content: JsonObject[] }[];
      };
      expect(sent.tools.map(({ name }) => name)).toEqual(['apply_patch', 'mcp__files__read']);
      expect(sent.messages[1]?.content[0]).toMatchObject({ type: 'tool_use', input: { input: '*** Begin' } });
      const turn: Turn = {
        tools: [
          { id: 'c1', name: 'apply_patch', arguments: { input: '*** End "x"\n' } },
          { id: 'c2', name: 'mcp__files__read', arguments: { path: 'a' } },
        ],
      };
      let output: JsonObject[];
      if (stream) {
        const text = new SseReader()
          .push(Buffer.from(messages.events(turn, 'm').join('')))
          .map(({ type, data }) => translation.event(type, data))
          .join('');
        const last = new SseReader().push(Buffer.from(text)).at(-1);
        output = (JSON.parse(last?.data ?? '') as { response: { output: JsonObject[] } }).response.output;
      } else output = translation.whole(messages.whole(turn, 'm') as JsonObject).output as JsonObject[];
      expect(output).toMatchObject([
        { type: 'custom_tool_call', call_id: 'c1', name: 'apply_patch', input: '*** End "x"\n' },
        { type: 'function_call', call_id: 'c2', namespace: 'mcp__files', name: 'read', arguments: '{"path":"a"}' },
      ]);
    },
  );
});
