/** Models that are weak, and work that is long: the loop ends when the work does, and for no other reason. */
import { expect, test } from 'vitest';
import { systemClock } from '../../base/clock.ts';
import type { Guest } from './guest.ts';
import { type LoopOptions, type Outcome, runLoop } from './loop.ts';
import type { Answer } from './model.ts';
import { callsInText } from './text-calls.ts';

// biome-ignore lint/suspicious/noExplicitAny: what a provider would get
type Told = any[];

const guest: Guest = {
  exec() {
    throw new TypeError('no tool here needs a sandbox');
  },
};
const call = (name: string, input: object | string, id = '') => ({
  id,
  name,
  arguments: typeof input === 'string' ? input : JSON.stringify(input),
});
const plan = (step: string) => call('plan', { steps: [{ step }] });

function run(say: (index: number, told: Told) => Partial<Answer>, more: Partial<LoopOptions> = {}): Promise<Outcome> {
  let index = 0;
  return runLoop({
    model: {
      ask: async ({ messages }) => ({
        text: '',
        calls: [],
        finish: 'stop',
        used: null,
        ...say(index++, messages as Told),
      }),
    },
    guest,
    env: {},
    task: 'the task, word for word',
    context: null,
    maxOutput: null,
    maxSteps: 200,
    signal: new AbortController().signal,
    clock: systemClock,
    sleep: async () => {},
    beforeToolCall: async () => ({ permitted: true, done: async () => {} }),
    journal: { answered: async () => {}, told: async () => {}, unreadable: async () => {}, shown: () => {} },
    ...more,
  });
}

test('calls in text, broken arguments, unknown tools, several at once, empty answers: it gets there', async () => {
  const said: Partial<Answer>[] = [
    { text: '' },
    { text: 'I will plan.\n```json\n{"tool": "plan", "arguments": {"steps": [{"step": "a"}]}}\n```' },
    { calls: [call('plan', '{"steps": [')] },
    { calls: [call('run_terminal', { cmd: 'ls' })] },
    { text: '' },
    { calls: [plan('b'), plan('c'), call('plan', { steps: 'no list' }), plan('d')] },
    { text: '<tool_call>{"name": "plan", "arguments": "{\\"steps\\": [{\\"step\\": \\"e\\"}]}"}</tool_call>' },
    { text: 'thinking aloud', finish: 'length' },
    { text: '{"tool": "finish", "arguments": {"summary": "done"}}' },
  ];
  const outcome = await run((index) => said[index] ?? {});
  expect(outcome).toMatchObject({ end: 'finished', success: true, summary: 'done', steps: 9 });
});

test('two hundred steps in a small window: the task stays, calls keep their results, and the end is the work’s own', async () => {
  const steps = 199;
  let [most, summaries] = [0, 0];
  const problems: string[] = [];
  const outcome = await run(
    (_index, told) => {
      if (told[0].content.startsWith('You summarise')) {
        summaries++;
        return { text: 'what was done so far' };
      }
      const text = JSON.stringify(told);
      most = Math.max(most, text.length);
      if (!text.includes('the task, word for word')) problems.push('the task is gone');
      const asked = told.flatMap(({ tool_calls = [] }) => tool_calls.map(({ id }: { id: string }) => id));
      const answered = told.filter(({ role }) => role === 'tool').map(({ tool_call_id: id }) => id);
      if (JSON.stringify(asked) !== JSON.stringify(answered)) problems.push(`${asked} without ${answered}`);
      count++;
      return count > steps
        ? { calls: [call('finish', { summary: 'all of it' })] }
        : { calls: [plan(`${count} ${'x'.repeat(480)}`)] };
    },
    { context: 8_000 },
  );
  expect(outcome).toMatchObject({ end: 'finished', success: true, summary: 'all of it', steps: 200 });
  expect(problems).toEqual([]);
  expect(summaries).toBeGreaterThan(0);
  expect(most).toBeLessThan(8_000 * 5);
});
let count = 0;

test('arguments nested so deeply that they cannot be written again are none', () => {
  const text = `{"tool": "read", "arguments": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  expect(callsInText(text, new Set(['read']))).toEqual({ calls: [], rest: text });
});

// With an expression that goes to the end of the text for each of them, this took longer than a test may.
test('tags that are opened and never closed are read in one pass', () => {
  const one = '<tool_call>{"name": "read", "arguments": {"path": "a"}}</tool_call>';
  const text = `before ${one} between <function_call>no JSON</function_call>${'<tool_call>'.repeat(20_000)}${'</tool_cal>'.repeat(15_000)}`;
  const { calls, rest } = callsInText(text, new Set(['read']));
  expect(calls).toEqual([{ name: 'read', arguments: '{"path":"a"}' }]);
  expect(rest).toBe(text.replace(one, ''));
});
