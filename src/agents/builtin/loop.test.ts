/** The loop with a scripted model, in a real sandbox. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Cage, guestEnv, SandboxScene } from '../../../test/fakes/sandbox-scene.ts';
import { systemClock } from '../../base/clock.ts';
import { sandboxDrivers } from '../../sandbox/index.ts';
import type { ChatRequest } from './conversation.ts';
import { type LoopOptions, type Outcome, runLoop } from './loop.ts';
import { type Answer, ModelError } from './model.ts';

type Said = Partial<Answer> | ModelError;

const scene = new SandboxScene(sandboxDrivers.bubblewrap());
let cage: Cage;
beforeAll(async () => {
  cage = await scene.over({ 'a.txt': 'one\n' });
}, 60_000);
afterAll(async () => {
  await scene.close();
  scene.dispose();
});

interface Heard {
  readonly request: ChatRequest;
}
let heard: Heard[];
let journal: string[];
let pauses: number[];
beforeEach(() => {
  heard = [];
  journal = [];
  pauses = [];
});

const call = (name: string, input: object | string, id = '') => ({
  id,
  name,
  arguments: typeof input === 'string' ? input : JSON.stringify(input),
});
const calls = (...made: ReturnType<typeof call>[]): Said => ({ calls: made, finish: 'tool_calls' });
const done = calls(call('finish', { summary: 'it is done' }));

function run(script: readonly Said[] | ((index: number) => Said), more: Partial<LoopOptions> = {}): Promise<Outcome> {
  return runLoop({
    model: {
      async ask(request) {
        // As it was then: the loop goes on with the same list.
        const index = heard.push(structuredClone({ request })) - 1;
        const said = (typeof script === 'function' ? script(index) : script[index]) ?? done;
        if (said instanceof ModelError) throw said;
        return { text: '', calls: [], finish: 'stop', used: null, ...said };
      },
    },
    guest: cage.sandbox,
    env: guestEnv,
    task: 'do it',
    context: null,
    maxOutput: null,
    maxSteps: 50,
    signal: new AbortController().signal,
    clock: systemClock,
    sleep: async (ms) => void pauses.push(ms),
    beforeToolCall: async ({ tool, brief }) => {
      journal.push(`may ${tool} ${brief}`);
      return { permitted: true, done: async ({ ok }) => void journal.push(`did ${tool} ${ok}`) };
    },
    journal: {
      answered: async (step) => void journal.push(`answer ${step}`),
      told: async (_step, text) => void journal.push(`told ${text.slice(0, 60)}`),
      unreadable: async (_step, _call, why) => void journal.push(`unreadable ${why}`),
      shown: () => {},
    },
    ...more,
  });
}

// biome-ignore lint/suspicious/noExplicitAny: what a provider would get
const messages = (index: number): any[] => heard[index]?.request.messages as any[];
const last = (index: number) => messages(index).at(-1);

test('calls are made in order, recorded before and after, and their results go back', async () => {
  const outcome = await run([
    calls(call('shell', { command: 'cat a.txt' }, 'x'), call('read', { path: 'a.txt' }, 'y')),
    done,
  ]);
  expect(outcome).toEqual({ end: 'finished', success: true, summary: 'it is done', steps: 2, toolCalls: 3 });
  expect(journal).toEqual([
    'answer 1',
    'may shell cat a.txt',
    'did shell true',
    'may read a.txt',
    'did read true',
    'answer 2',
    'may finish done',
    'did finish true',
  ]);
  expect(messages(1).slice(-3)).toMatchObject([
    { role: 'assistant', tool_calls: [{ id: 'x' }, { id: 'y' }] },
    { role: 'tool', tool_call_id: 'x', content: 'one\n[exit code 0]' },
    { role: 'tool', tool_call_id: 'y', content: '1\tone' },
  ]);
  expect(messages(0)).toMatchObject([{ role: 'system' }, { role: 'user', content: 'do it' }]);
  expect(heard[0]?.request.tools).toHaveLength(6);
});

test('an agent that says it failed has failed', async () => {
  expect(await run([calls(call('finish', { summary: 'no', success: false }))])).toMatchObject({ success: false });
});

test('a call that is not permitted is answered with the reason, and nothing is done', async () => {
  await run([calls(call('shell', { command: 'touch /tmp/denied' })), done], {
    beforeToolCall: async ({ tool }) =>
      tool === 'shell'
        ? { permitted: false, reason: 'the policy forbids it' }
        : { permitted: true, done: async () => {} },
  });
  expect(last(1)).toMatchObject({ role: 'tool', content: 'This call is not permitted: the policy forbids it' });
  expect(await cage.bash('ls /tmp')).not.toContain('denied');
});

describe('what models get wrong', () => {
  test.each([
    ['an unknown tool', call('bash', { command: 'ls' }), 'there is no tool bash: there are shell, read'],
    ['no JSON', call('shell', '{"command": '), 'the arguments of shell are no JSON'],
    [
      'nested without end',
      call('read', `{"path": ${'['.repeat(5_000)}${']'.repeat(5_000)}}`),
      'the arguments of read are nested deeper than 100 levels',
    ],
    ['a field too many', call('read', { path: 'a', lines: 3 }), 'the arguments of read are wrong'],
    ['a wrong type', call('shell', { command: 3 }), 'command:'],
    ['a NUL', call('shell', { command: 'echo \0' }), 'must not contain a NUL character'],
  ])('%s is said, and the work goes on', async (_what, made, expected) => {
    expect(await run([calls(made), done])).toMatchObject({ end: 'finished' });
    expect(last(1).content).toContain(expected);
    // What goes back to a provider can be read by it.
    for (const one of messages(1)) for (const { function: f } of one.tool_calls ?? []) JSON.parse(f.arguments);
    expect(journal.some((one) => one.startsWith('unreadable'))).toBe(true);
  });

  test('ids that come twice are told apart', async () => {
    await run([
      calls(call('plan', { steps: [{ step: 'a' }] }, 'c1')),
      calls(call('read', { path: 'a.txt' }, 'c1')),
      done,
    ]);
    const ids = messages(2).flatMap((one) => one.tool_calls?.map(({ id }: { id: string }) => id) ?? []);
    expect(new Set(ids).size).toBe(2);
    expect(last(2).tool_call_id).toBe(ids[1]);
  });

  test('words without a call are answered twice, and then taken for its end', async () => {
    const outcome = await run([{ text: 'I will' }, { text: 'I would' }, { text: 'All is done.' }]);
    expect(outcome).toMatchObject({ end: 'words', success: true, summary: 'All is done.', steps: 3 });
    expect(last(1)).toMatchObject({ role: 'user', content: expect.stringContaining('You called no tool') });
  });

  test('reminders start anew after a call', async () => {
    const script = [
      { text: 'a' },
      { text: 'b' },
      calls(call('read', { path: 'a.txt' })),
      { text: 'c' },
      { text: 'd' },
      done,
    ];
    expect(await run(script)).toMatchObject({ end: 'finished', steps: 6 });
  });

  test('empty answers end in a failure', async () => {
    expect(await run([{}, {}, {}])).toMatchObject({ end: 'silent', success: false, steps: 3 });
  });

  test('calls that are written into the text are made, and answered in words', async () => {
    const outcome = await run([
      { text: 'Let me look.\n```json\n{"tool": "shell", "arguments": {"command": "cat a.txt"}}\n```' },
      { text: '<tool_call>{"name": "finish", "arguments": {"summary": "seen"}}</tool_call>' },
    ]);
    expect(outcome).toMatchObject({ end: 'finished', summary: 'seen' });
    expect(heard[1]?.request.tools).toEqual([]);
    expect(messages(1)[0].content).toContain('# Tools');
    expect(messages(1).slice(-2)).toMatchObject([
      { role: 'assistant', content: expect.stringContaining('"tool":"shell"') },
      { role: 'user', content: expect.stringContaining('Result of shell:\none') },
    ]);
  });

  test('a model that refuses tools is told of them in words', async () => {
    const outcome = await run([
      new ModelError('tools', 'this model does not support tools'),
      { text: '{"name": "finish", "parameters": {"summary": "so be it"}}' },
    ]);
    expect(outcome).toMatchObject({ summary: 'so be it', steps: 1 });
    expect(heard[1]?.request.tools).toEqual([]);
  });

  test('JSON that is no call is text', async () => {
    const text = '```json\n{"tool": "hammer", "arguments": {}}\n```\n```json\n{"name": "shell"}\n```';
    expect(await run([{ text }, { text }, { text }])).toMatchObject({ end: 'words', toolCalls: 0 });
  });
});

describe('circles', () => {
  test('the same call with the same result is told at the third time, and ends the work at the fourth', async () => {
    const outcome = await run(() => calls(call('shell', { command: 'cat a.txt' })));
    expect(outcome).toMatchObject({ end: 'stuck', success: false, steps: 4 });
    expect(outcome.summary).toContain('shell was called 4 times in the same way');
    expect(messages(2).some((one) => /was called 3 times/.test(one.content ?? ''))).toBe(false);
    expect(last(3).content).toContain('was called 3 times');
  });

  test('two calls by turns are a circle too', async () => {
    const outcome = await run((i) => calls(call('shell', { command: i % 2 ? 'echo a' : 'echo b' })));
    expect(outcome).toMatchObject({ end: 'stuck', steps: 7 });
  });

  test('an edit to and fro is a circle, and new ones are progress', async () => {
    const flip = await run((i) =>
      calls(
        call(
          'edit',
          i % 2 ? { path: 'flip', old: 'b', new: 'a' } : { path: 'flip', old: i === 0 ? '' : 'a', new: 'b' },
        ),
      ),
    );
    expect(flip.end).toBe('stuck');
    heard = [];
    const steady = await run((i) =>
      i === 20
        ? done
        : calls(
            call('edit', { path: `new-${i}`, old: '', new: 'x' }),
            call('shell', { command: 'echo the same; false' }),
          ),
    );
    expect(steady.end).toBe('finished');
  });

  test('a result that changes is no circle', async () => {
    const outcome = await run((i) =>
      i === 8 ? done : calls(call('shell', { command: 'echo x >> /tmp/log; wc -l < /tmp/log' })),
    );
    expect(outcome.end).toBe('finished');
  });

  test('sixteen failures one after the other end it', async () => {
    const outcome = await run((i) => calls(call('read', { path: `nothing-${i}` })));
    expect(outcome).toMatchObject({ end: 'stuck', steps: 16 });
    expect(messages(8).some((one) => /8 calls failed/.test(one.content ?? ''))).toBe(true);
  });

  test('steps end', async () => {
    const outcome = await run((i) => calls(call('shell', { command: `echo ${i}` })), { maxSteps: 5 });
    expect(outcome).toMatchObject({ end: 'steps', success: false, steps: 5 });
    expect(heard).toHaveLength(5);
  });
});

describe('a model that cannot be asked', () => {
  test('is waited for, as long as it says, within bounds', async () => {
    const busy = (after: number | null) => new ModelError('busy', 'try later', after);
    expect(await run([busy(null), busy(7_000), busy(9_999_999), done])).toMatchObject({ end: 'finished', steps: 1 });
    expect(pauses).toEqual([1_000, 7_000, 60_000]);
    pauses = [];
    await expect(run(() => busy(null))).rejects.toThrow('try later');
    expect(pauses).toHaveLength(5);
  });

  test('a budget that is spent, and a denial, end it at once', async () => {
    for (const fault of ['budget', 'denied', 'failed'] as const) {
      heard = [];
      await expect(run(() => new ModelError(fault, 'that was it'))).rejects.toMatchObject({ fault });
      expect(heard).toHaveLength(1);
    }
  });

  test('an answer that broke off is asked for again, twice', async () => {
    const broken = new ModelError('broken', 'cut');
    expect(await run([broken, broken, done])).toMatchObject({ end: 'finished' });
    await expect(run(() => broken)).rejects.toMatchObject({ fault: 'broken' });
  });
});

describe('the window', () => {
  const noisy = (i: number) =>
    calls(call('shell', { command: `echo ${i}; head -c 3000 /dev/zero | tr "\\0" x` }, `c${i}`));
  const size = (index: number) => JSON.stringify(heard[index]?.request).length;

  /** Every result follows the call it belongs to, as providers insist. */
  function wellFormed(index: number): void {
    let open: string[] = [];
    for (const one of messages(index)) {
      if (one.role === 'tool') {
        expect(open).toContain(one.tool_call_id);
        open = open.filter((id) => id !== one.tool_call_id);
        continue;
      }
      expect(open).toEqual([]);
      open = one.tool_calls?.map(({ id }: { id: string }) => id) ?? [];
    }
    expect(open).toEqual([]);
  }

  test('old results go first, older turns are summarised, the task stays, and the plan', async () => {
    const summaries: number[] = [];
    const outcome = await runLoopWithSummaries(summaries);
    expect(outcome.end).toBe('finished');
    expect(summaries.length).toBeGreaterThan(0);
    const work = heard.map((_, i) => i).filter((i) => !summaries.includes(i));
    for (const i of work) {
      wellFormed(i);
      expect(size(i)).toBeLessThan(8_000 * 4.5);
      expect(messages(i)[1]).toMatchObject({ role: 'user', content: 'do it' });
    }
    const after = messages((summaries.at(-1) ?? 0) + 1);
    expect(after[2].content).toContain('WHAT WAS DONE');
    expect(after[2].content).toContain('keep this in view');
  });

  test('where dropping old results makes room enough, no model is asked for a summary', async () => {
    await run((i) => (i < 20 ? noisy(i) : done), { context: 24_000 });
    const final = JSON.stringify(messages(heard.length - 1));
    expect(final.match(/was dropped to make room/g)?.length).toBeGreaterThan(4);
    expect(final.match(/x{2000}/g)?.length).toBeGreaterThanOrEqual(6);
    expect(heard.every((_, i) => !/You summarise/.test(messages(i)[0].content))).toBe(true);
    wellFormed(heard.length - 1);
  });

  async function runLoopWithSummaries(summaries: number[]): Promise<Outcome> {
    let turn = 0;
    return run(
      (index) => {
        if (/You summarise/.test(messages(index)[0].content)) {
          summaries.push(index);
          return { text: 'WHAT WAS DONE' };
        }
        if (turn++ === 0) return calls(call('plan', { steps: [{ step: 'keep this in view' }] }));
        return turn < 45 ? { ...noisy(turn), text: 'thinking '.repeat(40) } : done;
      },
      { context: 8_000 },
    );
  }

  test('a provider that says it is too long is asked again with less, and not for ever', async () => {
    let refused = 0;
    const outcome = await run((i) => {
      if (i < 6) return noisy(i);
      if (size(i) > 12_000 && refused++ < 2) return new ModelError('context', 'maximum context length is …');
      return done;
    });
    expect(outcome.end).toBe('finished');
    expect(size(heard.length - 1)).toBeLessThan(size(6));
    heard = [];
    await expect(run(() => new ModelError('context', 'too long'))).rejects.toMatchObject({ fault: 'context' });
    expect(heard.length).toBeLessThan(6);
  });

  test('one result that is larger than the window is cut, not the work', async () => {
    const outcome = await run(
      [
        calls(...Array.from({ length: 10 }, (_, i) => call('shell', { command: `echo ${i}; seq 1 5000` }, `c${i}`))),
        done,
      ],
      { context: 4_000 },
    );
    expect(outcome.end).toBe('finished');
    wellFormed(heard.length - 1);
    expect(size(heard.length - 1)).toBeLessThan(4_000 * 4.5);
  });
});

test('an interruption ends it at once, with its reason, and the open call has an end', async () => {
  const stop = new AbortController();
  const running = run([calls(call('shell', { command: 'echo begun; sleep 999' }))], { signal: stop.signal });
  await expect.poll(() => journal).toContain('may shell echo begun; sleep 999');
  stop.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
  expect(journal.at(-1)).toBe('did shell false');
});

test('what cannot be recorded is not done', async () => {
  const failing = {
    answered: async () => {
      throw new Error('the log is full');
    },
    told: async () => {},
    unreadable: async () => {},
    shown: () => {},
  };
  await expect(run([calls(call('shell', { command: 'touch /tmp/unrecorded' }))], { journal: failing })).rejects.toThrow(
    'the log is full',
  );
  expect(await cage.bash('ls /tmp')).not.toContain('unrecorded');
});
