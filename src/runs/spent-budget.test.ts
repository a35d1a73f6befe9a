import { expect, test } from 'vitest';
import { AgentFailedError, CancelledError, type CordonError } from '../base/errors.ts';
import { SpentBudget } from './spent-budget.ts';

const REFUSAL = { code: 'budget_exceeded', message: 'the budget of this run is 1 requests', remedy: 'raise it' };
const SHARED = { ...REFUSAL, message: 'the budget of alice for this day is 9 tokens; 9 are spent or reserved' };
const UNPRICED = { ...REFUSAL, code: 'model_unpriced', message: 'claude/small-1 has no price' };
const NEVER = { ...REFUSAL, never: true };
const ENDED = { code: 'limit_exceeded', limit: 'models', message: REFUSAL.message, remedy: 'raise it' };

function scene() {
  const stopped: CordonError[] = [];
  const work = { commands: 0 };
  const spent = new SpentBudget({
    stop: (why) => stopped.push(why),
    activity: () => work.commands,
    shared: ['alice for this day'],
  });
  let token = 0;
  const begin = (requestDigest = 'one', operation: 'generate' | 'count' = 'generate') => {
    spent.requested(++token, { operation, requestDigest });
    return token;
  };
  const ask = (result: 'budget' | 'completed' | 'failed', digest?: string, refusal = REFUSAL) => {
    spent.answered(begin(digest), { result, reason: result === 'budget' ? refusal.message : null });
    if (result === 'budget') spent.refused(refusal);
  };
  const count = () => spent.answered(begin('a count', 'count'), { result: 'completed', reason: null });
  return { stopped, work, spent, ask, begin, count };
}

test('an agent that asks the same again and again, and does nothing else, is ended with the budget and what to do', () => {
  const { stopped, ask } = scene();
  ask('budget');
  ask('budget', 'another');
  ask('budget');
  expect(stopped).toEqual([]);
  ask('budget');
  expect(stopped).toMatchObject([ENDED]);
});

test('an answer, a program or a request under way: it goes on', () => {
  const { stopped, work, begin, ask } = scene();
  for (let i = 0; i < 9; i++) ask(i % 3 === 2 ? 'completed' : 'budget');
  for (let i = 0; i < 9; i++) {
    work.commands++;
    ask('budget');
  }
  begin();
  for (let i = 0; i < 9; i++) ask('budget');
  expect(stopped).toEqual([]);
});

test('the answer to what was asked before the refusal takes nothing back; one to what was asked after it does', () => {
  const { spent, begin, ask } = scene();
  const title = begin('a title');
  ask('budget');
  spent.answered(title, { result: 'completed', reason: null });
  expect(spent.explained(new AgentFailedError(REFUSAL.message))).toMatchObject(ENDED);
  ask('completed');
  const own = new AgentFailedError(REFUSAL.message);
  expect(spent.explained(own)).toBe(own);
});

test('several requests that are too large, each asked once: a smaller one may fit', () => {
  const { stopped, ask } = scene();
  for (const digest of ['a', 'b', 'c', 'd']) ask('budget', digest);
  ask('completed', 'small');
  expect(stopped).toEqual([]);
});

test('requests that are more than the whole budget end nothing: it is not used up; but they explain', () => {
  const { stopped, spent, ask } = scene();
  for (let i = 0; i < 9; i++) ask('budget', 'one', NEVER);
  expect(stopped).toEqual([]);
  expect(spent.explained(new AgentFailedError(REFUSAL.message))).toMatchObject(ENDED);
});

test('a budget that others take from may have room again, and a model without a price is no budget', () => {
  const { stopped, spent, ask } = scene();
  for (let i = 0; i < 5; i++) ask('budget', 'free', UNPRICED);
  expect(spent.last).toBeNull();
  for (let i = 0; i < 5; i++) ask('budget', 'one', SHARED);
  expect(spent.last).toEqual(SHARED);
  expect(stopped).toEqual([]);
});

test('tokens that are counted spend none: what is used up stays so', () => {
  const { stopped, spent, ask, count } = scene();
  for (let i = 0; i < 3; i++) {
    ask('budget');
    count();
  }
  expect(spent.last).toEqual(REFUSAL);
  expect(stopped).toMatchObject([ENDED]);
});

test('it explains an agent’s own failure, with what the agent said, and nothing else', () => {
  const { spent, ask } = scene();
  const failed = new AgentFailedError('Codex CLI: Quota exceeded');
  expect(spent.explained(failed)).toBe(failed);
  ask('budget');
  ask('failed');
  const message = `${REFUSAL.message}; the agent’s end: Codex CLI: Quota exceeded`;
  expect(spent.explained(failed)).toMatchObject({ ...ENDED, message, cause: failed });
  expect(spent.explained(new AgentFailedError(`qwen: ${REFUSAL.message}`))).toMatchObject(ENDED);
  for (const other of [
    new CancelledError('cancelled'),
    new AgentFailedError('the sandbox ended under qwen: killed', { ownEnd: false }),
  ])
    expect(spent.explained(other)).toBe(other);
  ask('completed');
  expect(spent.explained(failed)).toBe(failed);
});
