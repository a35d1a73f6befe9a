/** What a hostile guest tries at the MCP gateway, and a hostile server through it. */
import { connect } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterEach, describe, expect, test } from 'vitest';
import { defaultMcpLimits } from '../../src/gateways/mcp/limits.ts';
import { readListing } from '../../src/gateways/mcp/tools.ts';
import { McpScene, type SceneOptions } from '../fakes/mcp/scene.ts';

const closing: McpScene[] = [];
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

async function scene(options?: SceneOptions): Promise<McpScene> {
  const open = await McpScene.open(options);
  closing.push(open);
  return open;
}

const LIST = { method: 'tools/list', params: {} };

test('the official client speaks with the gateway as with any server', async () => {
  const { port, token } = await scene();
  const client = new Client({ name: 'peer', version: '1' });
  const url = new URL(`http://127.0.0.1:${port}/docs`);
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { Authorization: `Bearer ${token}` } },
  });
  await client.connect(transport as unknown as Transport);
  expect(client.getServerCapabilities()).toEqual({ tools: {} });
  expect((await client.listTools()).tools.map(({ name }) => name)).not.toContain('forbidden');
  expect(await client.callTool({ name: 'add', arguments: { a: 20, b: 22 } })).toMatchObject({
    content: [{ type: 'text', text: '42' }],
  });
  await expect(client.listResources()).rejects.toThrow(/resources/);
  await client.close();
});

describe('who may ask', () => {
  test.each([
    ['no token', { authorization: null }, 401],
    ['another run’s', { authorization: 'Bearer cordon-run-of-another' }, 401],
    ['another scheme', { authorization: 'Basic x' }, 401],
    ['a page in a browser', { origin: 'http://127.0.0.1' }, 403],
    ['a name made to point here', { host: 'evil.example:4142' }, 421],
    ['no JSON', { 'content-type': 'text/plain' }, 415],
    ['a compressed body', { 'content-encoding': 'gzip' }, 415],
  ])('%s', async (_what, headers, status) => {
    const one = await scene();
    expect((await one.post(LIST, headers)).status).toBe(status);
    expect(one.starts).toBe(0);
    expect(one.told).toHaveLength(1);
  });

  test('a token beside another, lengths that differ, a request within a request', async () => {
    const one = await scene();
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...LIST });
    const head = (...more: string[]) =>
      [`POST /docs HTTP/1.1`, `Host: 127.0.0.1:${one.port}`, 'Content-Type: application/json', ...more, '', ''].join(
        '\r\n',
      );
    const token = `Authorization: Bearer ${one.token}`;
    const length = `Content-Length: ${body.length}`;
    expect(await one.raw(head(token, 'Authorization: Bearer other', length) + body)).toMatch(/^HTTP\/1.1 401/);
    expect(await one.raw(head(token, length, 'Transfer-Encoding: chunked') + body)).toMatch(/^HTTP\/1.1 400/);
    expect(await one.raw(head(token, length, 'Content-Length: 3') + body)).toMatch(/^HTTP\/1.1 400/);
    expect(await one.raw(head(token, length, 'Host: evil.example') + body)).toMatch(/^HTTP\/1.1 4(00|21)/);
    // What is behind a refused request is not another one.
    const two = await one.raw(head('Authorization: Bearer x', length) + body + head(token, length) + body);
    expect(two.match(/HTTP\/1.1/g)).toHaveLength(1);
    expect(one.starts).toBe(0);
  });

  test('a stream asked for by GET is not offered, and what follows on that connection is answered', async () => {
    const one = await scene();
    const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    const head = (method: string, ...more: string[]) =>
      [`${method} /docs HTTP/1.1`, `Host: 127.0.0.1:${one.port}`, `Authorization: Bearer ${one.token}`, ...more].join(
        '\r\n',
      );
    const json = 'Content-Type: application/json';
    const last = `${head('POST', json, `Content-Length: ${ping.length}`, 'Connection: close')}\r\n\r\n${ping}`;
    expect(await one.raw(`${head('GET')}\r\n\r\n${last}`)).toMatch(/^HTTP\/1.1 405[\s\S]*HTTP\/1.1 200/);
    // With a body of its own it ends the connection as every refusal does.
    const bodied = await one.raw(`${head('GET', 'Content-Length: 2')}\r\n\r\n{}${last}`);
    expect(bodied.match(/HTTP\/1.1/g)).toHaveLength(1);
  });

  test('a connection outlasts the minutes that an agent thinks between two calls', async () => {
    const one = await scene();
    const headers = { authorization: `Bearer ${one.token}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    const answer = await fetch(`http://127.0.0.1:${one.port}/docs`, { method: 'POST', headers, body });
    expect(answer.headers.get('keep-alive')).toBe('timeout=1800');
  });

  test.each(['/', '/Docs', '/docs/', '/docs?x', '/other', '/%64ocs', '//docs', '/docs/../docs', '/__proto__'])(
    'there is nothing at %s',
    async (path) => {
      const one = await scene();
      expect((await one.post(LIST, {}, path)).status).toBe(404);
    },
  );
});

describe('what is asked', () => {
  test.each([
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]'],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"tools/list"}'],
    ['an id of null', '{"jsonrpc":"2.0","id":null,"method":"tools/list"}'],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"tools/list"}'],
    ['a method twice', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}'],
    ['params that are a list', '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}'],
    ['a member of its own', '{"jsonrpc":"2.0","id":1,"method":"ping","tool":"x"}'],
    ['an answer', '{"jsonrpc":"2.0","id":1,"result":{}}'],
    ['no JSON', '{"jsonrpc":"2.0"'],
    ['a tower', `{"jsonrpc":"2.0","id":1,"method":"ping","params":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}`],
    ['an inexact number', '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}'],
  ])('%s is refused', async (_what, body) => {
    const one = await scene();
    const { status, body: answer } = await one.post(body);
    expect([status, typeof answer.error.code]).toEqual([400, 'number']);
    expect(one.starts).toBe(0);
  });

  test('more than a message may have is refused, told or not', async () => {
    const one = await scene({ limits: { request: 10_000 } });
    const big = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping', params: { a: 'x'.repeat(20_000) } });
    expect((await one.post(big)).status).toBe(413);
    const chunked = `POST /docs HTTP/1.1\r\nHost: 127.0.0.1:${one.port}\r\nAuthorization: Bearer ${one.token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${big.length.toString(16)}\r\n${big}\r\n0\r\n\r\n`;
    expect(await one.raw(chunked)).toMatch(/^HTTP\/1.1 413/);
  });

  test.each([
    'resources/list',
    'resources/read',
    'prompts/list',
    'completion/complete',
    'logging/setLevel',
    'sampling/createMessage',
  ])('%s is not offered', async (method) => {
    const one = await scene();
    const { body } = await one.post({ method, params: {} });
    expect(body.error).toMatchObject({ code: -32601 });
    expect(one.starts).toBe(0);
  });

  test('revisions: the stateless one, those with a handshake, and no others; headers say what the message says', async () => {
    const one = await scene();
    const modern = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } };
    const discovered = (await one.post({ method: 'server/discover', params: modern })).body.result;
    expect(discovered).toMatchObject({ resultType: 'complete', capabilities: { tools: {} } });
    const unknown = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2031-01-01' } };
    expect(await one.post({ method: 'ping', params: unknown })).toMatchObject({
      status: 400,
      body: { error: { code: -32022 } },
    });
    expect((await one.post(LIST, { 'mcp-protocol-version': '1999-01-01' })).status).toBe(400);
    const mismatch = { method: 'tools/call', params: { name: 'get_env', arguments: {} } };
    expect((await one.post(mismatch, { 'mcp-name': 'add' })).body.error.code).toBe(-32020);
    expect((await one.post(mismatch, { 'mcp-method': 'ping' })).body.error.code).toBe(-32020);
    expect(one.judged).toEqual([]);
  });
});

describe('which tools', () => {
  test.each([
    'forbidden',
    'write_file',
    'Add',
    'add ',
    'docs/add',
    '../add',
    'аdd',
    'add\u0000',
    'add\u200b',
    '__proto__',
    '',
  ])('%j is not called', async (name) => {
    const one = await scene();
    const { text, failed } = await one.call(name);
    expect(failed).toBe(true);
    expect(text).toMatch(/not permitted|no name of a tool/);
    expect(one.starts).toBe(0);
  });

  test('a permitted name that the server does not tell of is not called', async () => {
    const one = await scene();
    expect((await one.call('get_what_is_not_there')).text).toContain('has no tool');
  });

  test('secrets in arguments stay here', async () => {
    const one = await scene();
    expect((await one.call('add', { a: 1, b: 'hunter2' })).text).toContain('secret');
    expect(one.ended).toEqual(['failed']);
    expect(one.starts).toBe(0);
  });

  test('calls have a number, and a number at once', async () => {
    const one = await scene({ calls: 2, limits: { concurrent: 1 }, timeout: 60_000 });
    const first = one.call('get_nothing');
    await expect.poll(() => one.told.filter(({ what }) => what === 'listed').length, { timeout: 20_000 }).toBe(1);
    await expect
      .poll(async () => (await one.post({ method: 'tools/list', params: {} })).body.error?.message, { timeout: 20_000 })
      .toContain('at once');
    expect((await one.call('add', { a: 1, b: 1 })).text).toContain('at once');
    expect((await one.call('add', { a: 1, b: 1 })).text).toContain('more than 2 calls');
    await one.close();
    await first.catch(() => {});
  });

  test('a description that changes between two listings is noted', async () => {
    const one = await scene();
    await one.tools();
    expect((await one.call('get_rug')).text).toBe('pulled');
    await one.tools();
    const listed = one.told.filter(({ what }) => what === 'listed').map(({ detail }) => detail.split(' '));
    expect(listed.map(([, changed]) => changed)).toEqual(['', 'get_rug']);
    expect(listed[0]?.[0]).not.toBe(listed[1]?.[0]);
  });
});

describe('a hostile server', () => {
  test('escape sequences and hidden characters do not arrive', async () => {
    const one = await scene();
    const tool = (await one.tools()).find(({ name }) => name === 'get_escape');
    expect(tool.description).toBe('Dresses[2J up');
    expect((await one.call('get_escape')).text).toBe(']0;title[2Jfirst line\nsecond');
  });

  test('words in characters that nobody sees, and addresses under names with such in them', () => {
    const selectors = [...'obey'].map((c) => String.fromCodePoint(0xe0100 + c.charCodeAt(0) - 16)).join('');
    const fillers = '\u3164\u115f\uffa0\u034f\ufe00\ufe0f\u{e0041}';
    const told = (inputSchema: object) => [
      { name: 'add', description: `Adds${selectors}${fillers} ❤\ufe0f`, inputSchema },
    ];
    const list = (inputSchema: object) => readListing(told(inputSchema), () => true, defaultMcpLimits).tools;
    expect(list({ type: 'object' })).toMatchObject([{ description: 'Adds ❤\ufe0f' }]);
    for (const name of ['$ref', '$re\u00adf', '\u{e0041}$ref', '$dynamic\ufe00Ref'])
      expect(list({ type: 'object', properties: { a: { [name]: 'https://far.example/schema' } } })).toEqual([]);
    expect(list({ type: 'object', properties: { a: { $ref: '#/$defs/a' } } })).toHaveLength(1);
  });

  test('huge output is cut; a flood ends the server, and the next call starts it anew', async () => {
    const one = await scene();
    const much = await one.call('get_much');
    expect(much.text.length).toBeLessThan(600_000);
    expect(much.text).toContain('more characters');
    const flood = await one.call('get_flood');
    expect(flood).toMatchObject({ failed: true });
    expect(flood.text).toContain('as one message');
    expect((await one.call('add', { a: 1, b: 1 })).text).toBe('2');
    expect(one.starts).toBe(2);
    expect(one.running).toBe(1);
  });

  test('it is not asked for ever: silence, death, and four starts', async () => {
    const silent = await scene({ timeout: 1_500 });
    expect((await silent.call('get_nothing')).text).toContain('did not answer within');
    const one = await scene({ timeout: 60_000 });
    for (let i = 0; i < 4; i++) expect((await one.call('get_death')).text).toContain('it ended with 7');
    expect((await one.call('add', { a: 1, b: 1 })).text).toContain('not started again');
    expect(one.starts).toBe(4);
    expect(one.running).toBe(0);
  });

  test('one that does not start, does not speak, or speaks nonsense is told of', async () => {
    expect((await (await scene({ mode: 'crash' })).call('add')).text).toContain('it ended with 3');
    const silent = await scene({ mode: 'silent', limits: { startTime: 1_000 } });
    expect((await silent.call('add')).text).toContain('did not answer');
    const garbage = await scene({ mode: 'garbage' });
    expect((await garbage.call('add')).text).toContain('no meaning');
    await expect.poll(() => silent.running + garbage.running).toBe(0);
  });

  test('what it asks of its client it does not get', async () => {
    const one = await scene();
    expect((await one.call('get_model')).text).toContain('refused');
    expect(one.told).toContainEqual({ what: 'asked', detail: 'sampling/createMessage' });
  });

  test('answers to nobody, two of one name, names and schemas that are none', async () => {
    const tool = (name: unknown, more = {}) => ({ name, description: 'x', inputSchema: { type: 'object' }, ...more });
    const tools = [
      tool('get_a', { description: 'first' }),
      tool('get_a', { description: 'second' }),
      tool('get_b/c'),
      tool('get_d', {
        inputSchema: {
          $ref: 'https://evil.example/schema',
          type: 'object',
          properties: { a: { $ref: 'file:///etc/passwd' } },
        },
      }),
      tool('get_e', { inputSchema: 'x' }),
      tool(7),
      tool('get_long', { description: 'y'.repeat(100_000) }),
      null,
    ];
    const program = `const say = (m) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...m }) + '\\n');
      say({ id: 999, result: { tools: [] } });
      require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        const { id, method } = JSON.parse(line);
        say({ id: String(id), result: { content: [] } });
        if (method === 'initialize') say({ id, result: { protocolVersion: '2025-06-18', capabilities: { tools: {} } } });
        if (method === 'tools/list') say({ id, result: { tools: ${JSON.stringify(tools)} } });
      });`;
    const one = await scene({ program });
    const told = await one.tools();
    expect(told.map(({ name }) => name)).toEqual(['get_a', 'get_long']);
    expect(told[0].description).toBe('first');
    expect(told[1].description.length).toBeLessThan(5_000);
    expect(one.told.filter(({ what }) => what === 'garbage').length).toBeGreaterThan(1);
  });

  test('an answer that cannot be read is one at once', async () => {
    const program = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        const { id } = JSON.parse(line);
        process.stdout.write('{"jsonrpc":"2.0","id":' + id + ',"result":{"a":1,"a":2}}\\n');
      });`;
    const one = await scene({ program });
    expect((await one.call('add')).text).toContain('cannot be read');
  });

  test('with the gateway it is gone, and nobody is answered any more', async () => {
    const one = await scene();
    await one.tools();
    const waiting = one.call('get_nothing').catch(() => null);
    await expect.poll(() => one.judged.length).toBe(1);
    await one.close();
    await waiting;
    expect(one.running).toBe(0);
    await expect(one.post(LIST)).rejects.toThrow();
  });
});

const ANSWERS = (
  more: string,
) => `const say = (m) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...m }) + '\\n');
  const tool = (name, description) => ({ name, description, inputSchema: { type: 'object' } });
  let n = 0;
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method } = JSON.parse(line);
    if (method === 'initialize') say({ id, result: { protocolVersion: '2025-06-18', capabilities: { tools: {} } } });
    ${more}
  });`;
const LISTS = `if (method === 'tools/list') say({ id, result: { tools: [tool('get_it', 'x')] } });`;
const redact = <T>(value: T): T => JSON.parse(JSON.stringify(value).replaceAll('hunter2', '[secret:A]'));

describe('what would be told or kept without end, or by halves', () => {
  test('an error of a listing comes without secrets, and none is cut in half', async () => {
    const said = `${'x'.repeat(995)}hunter2`;
    const error = `say({ id, error: { code: 1, message: ${JSON.stringify(said)} } })`;
    const lists = await scene({ program: ANSWERS(`if (method === 'tools/list') ${error};`), options: { redact } });
    const { body } = await lists.post(LIST);
    expect(body.error.message).toContain('xxx');
    expect(body.error.message).not.toContain('hunt');
    const text = `${'x'.repeat(17)}hunter2`;
    const result = `say({ id, result: { content: [{ type: 'text', text: ${JSON.stringify(text)} }] } })`;
    const program = ANSWERS(`${LISTS} if (method === 'tools/call') ${result};`);
    const calls = await scene({ program, options: { redact }, limits: { result: 20 } });
    const told = await calls.call('get_it');
    expect(told.text).toMatch(/^x{17}\[se/);
    expect(told.text).not.toContain('hun');
  });

  test('a server that asks and asks, and reads nothing, is ended', async () => {
    const flood = `process.stdin.pause();
      const ask = () => { while (process.stdout.write('{"jsonrpc":"2.0","id":' + ++n + ',"method":"ping"}\\n')); };
      process.stdout.on('drain', ask); ask();`;
    const program = ANSWERS(`${LISTS} if (method === 'tools/call') { ${flood} }`);
    const one = await scene({ program, limits: { message: 100_000 } });
    expect((await one.call('get_it')).text).toContain('does not read what it is sent');
    await expect.poll(() => one.running, { timeout: 20_000 }).toBe(0);
  });

  test('so is one that tells and tells', async () => {
    const flood = `const tell = () => { while (process.stdout.write('{"jsonrpc":"2.0","method":"notifications/message"}\\n')); };
      process.stdout.on('drain', tell); tell();`;
    const program = ANSWERS(`${LISTS} if (method === 'tools/call') { ${flood} }`);
    const one = await scene({ program, limits: { chatter: 1_000 } });
    expect((await one.call('get_it')).text).toContain('nobody asked for');
    await expect.poll(() => one.running, { timeout: 20_000 }).toBe(0);
  });

  test('answers that nobody reads count as open, and are dropped in the end', async () => {
    const big = `say({ id, result: { tools: Array.from({ length: 70 }, (_, i) => tool('get_' + i, 'x'.repeat(100_000))) } })`;
    const program = ANSWERS(`if (method === 'tools/list') ${big};`);
    const ask = async (one: McpScene) => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...LIST });
      const head = `POST /docs HTTP/1.1\r\nHost: 127.0.0.1:${one.port}\r\nAuthorization: Bearer ${one.token}\r\nContent-Type: application/json\r\n`;
      const socket = connect(one.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.pause();
      socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`.repeat(8));
      return { one, socket };
    };
    const status = async (one: McpScene) => (await one.post({ method: 'ping', params: {} })).status;
    const limits = { description: 100_000, open: 7 };
    const unhurried = await scene({ program, limits: { ...limits, unread: 600_000 } });
    await unhurried.tools();
    const patient = await ask(unhurried);
    await expect.poll(() => status(patient.one), { timeout: 20_000 }).toBe(429);
    patient.socket.destroy();
    await expect.poll(() => status(patient.one), { timeout: 20_000 }).toBe(200);
    const { socket } = await ask(await scene({ program, limits: { ...limits, unread: 500 } }));
    const isGone = () => {
      socket.write('\r\n'); // nothing, between two requests
      return socket.destroyed;
    };
    await expect.poll(isGone, { timeout: 20_000 }).toBe(true);
  }, 60_000);

  test('calls that are refused have a number, and arguments a size', async () => {
    const one = await scene({ calls: 1, limits: { refusals: 2 } });
    for (let i = 0; i < 3; i++) expect((await one.call('forbidden')).text).toContain('no rule permits it');
    expect((await one.call('forbidden')).text).toContain('more calls than are looked at');
    expect(one.judged).toHaveLength(3);
    const two = await scene({ limits: { arguments: 100 } });
    expect((await two.call('add', { a: 'x'.repeat(200) })).text).toContain('more calls than are looked at');
    expect(two.judged).toEqual([]);
  });

  test('what fails on this machine tells a guest no path of it', async () => {
    const open = async () => {
      throw Object.assign(new Error("ENOENT: no such file, mkdir '/home/somebody/state'"), {
        code: 'ENOENT',
        syscall: 'mkdir',
      });
    };
    const one = await scene({ options: { open } });
    const { body } = await one.post(LIST);
    expect(body.error.message).toContain('ENOENT');
    expect(body.error.message).not.toContain('somebody');
  });
});
