/** Secrets on their way to a provider, split and wrapped so that no single text holds them; judged by what the provider was sent. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type ModelScene, modelScenes, type SceneOptions } from '../fakes/model-scene.ts';

const { scene: opened } = modelScenes();

const SECRET = 'hunter2-Correct+horse/battery=Staple';
const b64 = (text: string) => Buffer.from(text).toString('base64');
const half = Math.floor(SECRET.length / 2);
const [FIRST, SECOND] = [SECRET.slice(0, half), SECRET.slice(half)];

async function scene(more: SceneOptions = {}): Promise<ModelScene> {
  const open = await opened(() => ({ text: 'ok' }), { llm: 'features: [images, files]', ...more });
  open.redactor.add('A_TOKEN', SECRET);
  return open;
}

const CHAT = '/v1/chat/completions';
const say = (content: unknown) => ({ model: 'm-chat', messages: [{ role: 'user', content }] });
const tool = (more: object) => ({ type: 'function', function: { name: 'f', parameters: { type: 'object' }, ...more } });

describe('in one text, whatever it is wrapped in', () => {
  const shift = (by: number) => b64(`${'x'.repeat(by)}${SECRET}yz`);
  test.each([
    ['base64, first alignment', say(shift(0))],
    ['base64, second alignment', say(shift(1))],
    ['base64, third alignment', say(shift(2))],
    ['base64 of base64', say(b64(b64(SECRET)))],
    ['base64 in lines', say(b64(`${'-'.repeat(60)}${SECRET}${'-'.repeat(60)}`).replace(/.{76}/g, '$&\n'))],
    ['hex in capitals', say(Buffer.from(SECRET).toString('hex').toUpperCase())],
    ['percent signs', say(encodeURIComponent(SECRET))],
    ['JSON in JSON', say(JSON.stringify(JSON.stringify({ a: SECRET })))],
    [
      'a picture',
      say([{ type: 'image_url', image_url: { url: `data:image/png;base64,${b64(`\u0001PNG${SECRET}`)}` } }]),
    ],
    [
      'a file',
      say([{ type: 'file', file: { filename: 'a', file_data: `data:text/plain;base64,${b64(`x ${SECRET}`)}` } }]),
    ],
    ['a name of a file', say([{ type: 'file', file: { filename: SECRET, file_data: 'data:text/plain;base64,AA==' } }])],
    ['a tool’s description', { ...say('x'), tools: [tool({ description: SECRET })] }],
    ['a tool’s choices', { ...say('x'), tools: [tool({ parameters: { type: 'string', enum: ['a', SECRET] } })] }],
    ['who asks', { ...say('x'), user: SECRET }],
    ['accounting', { ...say('x'), metadata: { note: SECRET } }],
    ['a key of a cache', { ...say('x'), prompt_cache_key: b64(SECRET) }],
    ['a stop sequence', { ...say('x'), stop: [SECRET] }],
    ['a bias', { ...say('x'), logit_bias: { [SECRET]: 1 } }],
    [
      'a name of a schema',
      { ...say('x'), response_format: { type: 'json_schema', json_schema: { name: SECRET, schema: {} } } },
    ],
  ])('%s', async (_, body) => {
    const open = await scene();
    const response = await open.post(CHAT, body);
    expect([200, 403]).toContain(response.status);
    for (const { bytes, headers, url } of open.upstream.heard) {
      const sent = `${url}${JSON.stringify(headers)}${bytes}`;
      for (const form of [
        SECRET,
        encodeURIComponent(SECRET),
        b64(SECRET).slice(4, 40),
        Buffer.from(SECRET).toString('hex'),
      ])
        expect(sent.toLowerCase()).not.toContain(form.toLowerCase());
      for (const [text] of sent.matchAll(/[A-Za-z0-9+/\n\\]{24,}=*/g))
        for (const skip of [0, 1, 2, 3])
          expect(Buffer.from(text.replaceAll('\\n', '').slice(skip), 'base64').toString('latin1')).not.toContain(
            SECRET,
          );
    }
  });

  test('a body in gzip, sent in pieces', async () => {
    const open = await scene();
    const packed = gzipSync(JSON.stringify(say(`it is ${SECRET}`)));
    const response = await fetch(open.url + CHAT, {
      method: 'POST',
      headers: { authorization: `Bearer ${open.models.token}`, 'content-encoding': 'gzip' },
      duplex: 'half',
      body: new ReadableStream({
        start(controller) {
          for (const byte of packed) controller.enqueue(new Uint8Array([byte]));
          controller.close();
        },
      }),
    } as RequestInit);
    expect(response.status).toBe(200);
    expect(open.upstream.heard[0]?.bytes.toString()).toContain('it is [secret:A_TOKEN]');
  });
});

describe('split over texts that follow each other', () => {
  const user = (content: unknown) => ({ role: 'user', content });
  test.each([
    [
      'two parts of a message',
      CHAT,
      say([
        { type: 'text', text: FIRST },
        { type: 'text', text: SECOND },
      ]),
    ],
    ['two messages', CHAT, { model: 'm-chat', messages: [user(FIRST), user(SECOND)] }],
    [
      'two results of tools',
      CHAT,
      {
        model: 'm-chat',
        messages: [
          { role: 'tool', tool_call_id: 'a', content: FIRST },
          { role: 'tool', tool_call_id: 'b', content: SECOND },
        ],
      },
    ],
    [
      'two blocks',
      '/v1/messages',
      {
        model: 'm-claude',
        max_tokens: 9,
        messages: [
          user([
            { type: 'text', text: FIRST },
            { type: 'text', text: SECOND },
          ]),
        ],
      },
    ],
    ['two items', '/v1/responses', { model: 'm-responses', input: [user(FIRST), user(SECOND)] }],
    [
      'two parts',
      '/v1beta/models/m-google:generateContent',
      { contents: [{ role: 'user', parts: [{ text: FIRST }, { text: SECOND }] }] },
    ],
  ])('%s', async (_, path, body) => {
    const open = await scene();
    const response = await open.post(path, body);
    const sent = open.upstream.heard.map(({ bytes }) => bytes.toString()).join();
    expect(
      response.status === 403 || !(sent.includes(FIRST) && sent.includes(SECOND)),
      `${response.status} ${sent}`,
    ).toBe(true);
  });

  test('letter by letter, and in base64: its mark stands where it began, and the record counts it', async () => {
    const open = await scene();
    const messages = [...`it is ${SECRET}!`, ...b64(SECRET)].map((letter) => user(letter));
    expect((await open.post(CHAT, { model: 'm-chat', messages })).status).toBe(200);
    const said = open.upstream.heard[0]?.body.messages.map(({ content }: { content: string }) => content).join('');
    expect(said).toMatch(/^it is \[secret:A_TOKEN\]!\[secret:A_TOKEN\]/);
    expect(open.requested).toMatchObject([{ redacted: { A_TOKEN: 2 } }]);
  });

  test('where the policy refuses, it is refused', async () => {
    const open = await scene({ llm: 'secrets: refuse' });
    const response = await open.post(CHAT, { model: 'm-chat', messages: [user(FIRST), user(SECOND)] });
    expect([response.status, open.upstream.heard]).toEqual([403, []]);
    expect(await response.text()).toContain('A_TOKEN');
  });
});

test('one that a provider’s error repeats is taken out before the error is cut', async () => {
  const message = `${'x'.repeat(1_990)}${SECRET} is no key`;
  const { post, redactor } = await opened([{ error: { status: 400, message } }]);
  redactor.add('A_TOKEN', SECRET);
  const answer = await post(CHAT, say('hi'));
  expect(answer.status).toBe(400);
  expect(await answer.text()).not.toContain(SECRET.slice(0, 9));
});
