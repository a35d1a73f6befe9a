import { expect, test } from 'vitest';
import { AgentFailedError, CancelledError, type CordonError } from '../base/errors.ts';
import { SpentBudget } from './spent-budget.ts';

const REFUSAL = { message: 'the budget of this run is 1 requests', remedy: 'raise it' };

function scene() {
  const stopped: CordonError[] = [];
  const work = { commands: 0 };
  const spent = new SpentBudget(
    (why) => stopped.push(why),
    () => work.commands,
  );
  const ask = (result: 'refused' | 'never' | 'completed' | 'failed') => {
    spent.asked();
    spent.answered(result === 'completed');
    if (result === 'refused' || result === 'never') spent.refused({ ...REFUSAL, never: result === 'never' });
  };
  return { stopped, work, spent, ask };
}

test('an agent that asks again and again, and does nothing else, is ended with the budget and what to do', () => {
  const { stopped, ask } = scene();
  ask('refused');
  ask('refused');
  expect(stopped).toEqual([]);
  ask('refused');
  expect(stopped).toMatchObject([{ code: 'limit_exceeded', limit: 'models', ...REFUSAL }]);
});

test('an answer, a program or a request under way: it goes on', () => {
  const { stopped, work, spent, ask } = scene();
  for (let i = 0; i < 9; i++) ask(i % 3 === 2 ? 'completed' : 'refused');
  for (let i = 0; i < 9; i++) {
    work.commands++;
    ask('refused');
  }
  spent.asked();
  for (let i = 0; i < 9; i++) ask('refused');
  expect(stopped).toEqual([]);
});

test('requests that are more than the whole budget end nothing: it is not used up; but they explain', () => {
  const { stopped, spent, ask } = scene();
  for (let i = 0; i < 9; i++) ask('never');
  expect(stopped).toEqual([]);
  expect(spent.explained(new AgentFailedError('no'))).toMatchObject({
    code: 'limit_exceeded',
    message: REFUSAL.message,
  });
});

test('it explains the failure of an agent, and nothing else', () => {
  const { spent, ask } = scene();
  const failed = new AgentFailedError('Codex CLI: Quota exceeded');
  expect(spent.explained(failed)).toBe(failed);
  ask('refused');
  ask('failed');
  expect(spent.explained(failed)).toMatchObject({ code: 'limit_exceeded', ...REFUSAL });
  const cancelled = new CancelledError('cancelled');
  expect(spent.explained(cancelled)).toBe(cancelled);
  ask('completed');
  expect(spent.explained(failed)).toBe(failed);
});
