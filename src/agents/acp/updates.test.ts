import { expect, test } from 'vitest';
import { Updates } from './updates.ts';

const read = (updates: Updates, update: object) => updates.read({ sessionId: 's', update });
const chunk = (text: string, sessionUpdate = 'agent_message_chunk') => ({
  sessionUpdate,
  content: { type: 'text', text },
});

test('pieces of a message are one, told when something else follows', () => {
  const updates = new Updates();
  expect(read(updates, chunk('hel'))).toEqual([]);
  expect(read(updates, chunk('lo'))).toEqual([]);
  expect(read(updates, chunk('hm', 'agent_thought_chunk'))).toEqual([{ kind: 'message', text: 'hello' }]);
  const plan = {
    sessionUpdate: 'plan',
    entries: [
      { content: 'a', status: 'completed' },
      { content: 'b', status: 'in_progress' },
      { content: 'c', status: 'pending' },
    ],
  };
  expect(read(updates, plan)).toEqual([
    { kind: 'reasoning', text: 'hm' },
    { kind: 'plan', text: '[x] a\n[>] b\n[ ] c' },
  ]);
  expect(read(updates, chunk('end'))).toEqual([]);
  expect(read(updates, { sessionUpdate: 'usage_update', used: 7, size: 9 })).toEqual([]);
  expect(updates.end()).toEqual([
    { kind: 'message', text: 'end' },
    { kind: 'usage', input: 7, output: 0 },
  ]);
});

test('a tool call is told once, and so is its end', () => {
  const updates = new Updates();
  const call = { sessionUpdate: 'tool_call', toolCallId: 'a', title: 'ls', kind: 'execute', status: 'pending' };
  const over = {
    sessionUpdate: 'tool_call_update',
    toolCallId: 'a',
    status: 'failed',
    content: [
      { type: 'content', content: { type: 'text', text: 'no' } },
      { type: 'diff', path: '/workspace/a' },
    ],
  };
  expect(read(updates, call)).toEqual([{ kind: 'tool_call', id: 'a', tool: 'execute', input: 'ls' }]);
  expect(read(updates, call)).toEqual([]);
  expect(updates.known('a')).toMatchObject({ kind: 'execute', title: 'ls' });
  expect(read(updates, over)).toEqual([{ kind: 'tool_result', id: 'a', ok: false, text: 'no\nchanges /workspace/a' }]);
  expect(read(updates, over)).toEqual([]);
  expect(read(updates, { ...over, toolCallId: 'b', status: 'completed', title: 'x' })).toHaveLength(2);
});

test('what is not as it should be is nothing', () => {
  const updates = new Updates();
  for (const params of [
    null,
    1,
    'x',
    [],
    {},
    { update: null },
    { update: { sessionUpdate: 1 } },
    { update: { sessionUpdate: '__proto__' } },
    { update: { sessionUpdate: 'constructor', content: { text: 'x' } } },
  ])
    expect(updates.read(params)).toEqual([]);
  const odd = JSON.parse(
    '{"sessionUpdate":"tool_call","toolCallId":{"a":1},"title":[],"kind":7,"__proto__":{"polluted":1},"content":[{"__proto__":{"polluted":1}}]}',
  );
  expect(read(updates, odd)).toEqual([{ kind: 'tool_call', id: '', tool: 'other', input: '' }]);
  const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`);
  expect(read(updates, { sessionUpdate: 'tool_call', toolCallId: 'd', rawInput: deep })).toMatchObject([
    { kind: 'tool_call' },
  ]);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test('calls and messages without end are held in bounds', () => {
  const updates = new Updates();
  for (let i = 0; i < 5_000; i++)
    read(updates, { sessionUpdate: 'tool_call', toolCallId: `${i}`, title: 'x', kind: 'read' });
  expect(updates.known('0').title).toBe('');
  expect(updates.known('4999').title).toBe('x');
  for (let i = 0; i < 100; i++) read(updates, chunk('y'.repeat(10_000)));
  expect(JSON.stringify(updates.end()).length).toBeLessThan(100_000);
});
