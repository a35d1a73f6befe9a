import { expect, test } from 'vitest';
import type { AgentParser, AgentStep } from './agent.ts';
import { isProfile, profileNames, profiles } from './profiles/index.ts';
import { AgentStream } from './stream.ts';
import { transcript } from './transcript.ts';

function read(parser: AgentParser, ...chunks: (string | Buffer)[]) {
  const steps: AgentStep[] = [];
  const others: string[] = [];
  const stream = new AgentStream(parser, { onStep: (step) => steps.push(step), onOther: (line) => others.push(line) });
  for (const chunk of chunks) stream.write(Buffer.from(chunk));
  stream.end();
  return { steps, others, unread: stream.unread };
}

const echo: AgentParser = { line: (value) => [{ kind: 'message', text: String((value as { t: unknown }).t) }] };
const said = (text: string): AgentStep => ({ kind: 'message', text });

test('lines are found wherever the chunks end, in the middle of a character too', () => {
  const bytes = Buffer.from('{"t":"grün"}\n{"t":2}\r\n\n{"t":3}');
  for (let at = 0; at <= bytes.length; at++)
    expect(read(echo, bytes.subarray(0, at), bytes.subarray(at)).steps).toEqual([said('grün'), said('2'), said('3')]);
});

test('what is no JSON object is shown, counted, and means nothing', () => {
  const { steps, others, unread } = read(echo, 'Warning: x\n[1]\n{"t":\n{"t":1}\n');
  expect(steps).toEqual([said('1')]);
  expect(others).toEqual(['Warning: x', '[1]', '{"t":']);
  expect(unread).toBe(3);
});

test('a line without an end costs no more than its limit, and the next one is read', () => {
  const piece = Buffer.alloc(1 << 20, 'x');
  const { steps, others, unread } = read(echo, '{"t":"', ...Array.from({ length: 20 }, () => piece), '"}\n{"t":1}\n');
  expect(steps).toEqual([said('1')]);
  expect(others).toEqual([]);
  expect(unread).toBe(1);
});

test('a step’s text goes on only so far', () => {
  const [step] = read(echo, `{"t":"${'y'.repeat(1 << 20)}"}\n`).steps;
  expect((step as { text: string }).text).toHaveLength(64 << 10);
});

const HOSTILE: unknown[] = [
  null,
  1,
  'x',
  [],
  {},
  { type: 1 },
  { type: 'assistant' },
  { type: 'assistant', message: null },
  { type: 'assistant', message: { content: [null, 1, { type: 'text', text: { a: 1 } }] } },
  { type: 'user', message: { content: 'x' } },
  { type: 'result' },
  { type: 'item.completed' },
  { type: 'item.completed', item: { type: '__proto__' } },
  { type: 'item.completed', item: { type: 'constructor' } },
  { type: 'tool_use', part: { state: 7 } },
  { type: 'message_end', message: { role: 'assistant', content: { length: 1e9 } } },
  { type: 'message', role: 'assistant', content: 5 },
  { type: 'step_finish', part: { tokens: { input: -1, output: 'many' } } },
];

test.each(profileNames)('%s: no value is too much for its parser', async (name) => {
  const parser = (await profiles[name]()).parser();
  for (const value of HOSTILE) {
    for (const step of parser.line(value)) {
      if (step.kind === 'usage') expect(step.input).toBeGreaterThanOrEqual(0);
      expect(transcript(step).every((line) => typeof line === 'string')).toBe(true);
      expect(step.kind === 'end' && step.ok, `${JSON.stringify(value)} is no success`).toBe(false);
    }
  }
});

test('only what is in the table is a profile', () => {
  expect(isProfile('codex')).toBe(true);
  for (const name of ['constructor', '__proto__', 'command', '']) expect(isProfile(name)).toBe(false);
});

test.each(profileNames)('%s: prompt and extra arguments cannot become other options', async (name) => {
  const profile = await profiles[name]();
  expect(profile.name).toBe(name);
  const prompt = '--help; "x" $(id)\n-p';
  const { argv, env, home } = profile.plan({
    launcher: ['/run/cordon/agent/it'],
    prompt: `Task, from user:ada:\n\n${prompt}`,
    model: 'm"1',
    gateway: { url: 'http://127.0.0.1:4141', token: 'cordon-run-x' },
    mcp: [],
    home: '/home/agent',
    extra: ['--extra'],
  });
  expect(argv[0]).toBe('/run/cordon/agent/it');
  expect(argv.filter((word) => word.includes(prompt))).toEqual([`Task, from user:ada:\n\n${prompt}`]);
  expect(argv).toContain('--extra');
  const told = JSON.stringify([argv, env, home]);
  expect(told).toContain('http://127.0.0.1:4141');
  expect(told).toContain('cordon-run-x');
  for (const [path, content] of Object.entries(home)) {
    expect(path).toMatch(/^\.[a-z]/);
    if (path.endsWith('.json')) expect(() => JSON.parse(content)).not.toThrow();
    else expect(content).toContain('"m\\"1"');
  }
});
