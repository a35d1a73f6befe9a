import { expect, test } from 'vitest';
import type { EffectivePolicy } from '../policy/index.ts';
import { checkModel } from './model-choice.ts';
import type { System } from './system.ts';

const settings = [
  { name: 'azure', models: [{ name: 'gpt-5' }, { name: 'gpt-dear', price: { input: 1, output: 2 } }] },
  { name: 'other', models: [{ name: 'qwen' }] },
];
const aliases = new Map([
  ['fast', 'azure/gpt-5'],
  ['team/fast', 'gpt-5'],
  ['cheap', 'other/qwen'],
  ['lost', 'azure/gpt-4'],
]);
const system = {
  models: async () => ({ providers: settings.map((one) => ({ settings: one, by: 'user' })), aliases }),
} as unknown as System;
const free = { usd: null, tokens: null, requests: null };
const policyOf = (llm: object) =>
  ({
    llm: { providers: ['azure'], budget: free, budgets: [], ...llm },
    grantFile: 'policy.yaml',
  }) as unknown as EffectivePolicy;
const check = (asked: string, llm = {}) => checkModel(system, asked, policyOf(llm));

test.each(['azure/gpt-5', 'azure/fast', 'team/fast'])('--model %s is one that the policy names', async (asked) => {
  await expect(check(asked)).resolves.toBeUndefined();
});

test.each([
  ['azure/gpt-6', 'usage', 'the provider azure has no model gpt-6', /did you mean azure\/gpt-5\?/],
  ['azrue/fast', 'usage', 'there is no provider azrue', /azure\/gpt-5/],
  ['azure/lost', 'usage', 'azure/lost is an alias of azure/gpt-4, which no provider has', /there are azure\/gpt-5/],
  ['azure/cheap', 'policy_denied', 'the policy does not name the provider other', /\[other\], models: \["qwen"\]/],
])('--model %s is %s: %s', async (asked, code, message, remedy) => {
  await expect(check(asked)).rejects.toMatchObject({ code, message, remedy: expect.stringMatching(remedy) });
});

test.each([
  ['of the run', { budget: { ...free, usd: 1 } }],
  ['that runs share', { budgets: [{ ...free, usd: 1, scope: 'requester', period: 'day' }] }],
])('a budget of money %s takes no model without a price, and says so before there is a run', async (_, llm) => {
  await expect(check('azure/gpt-dear', llm)).resolves.toBeUndefined();
  await expect(check('azure/fast', llm)).rejects.toMatchObject({
    code: 'policy_denied',
    message: expect.stringContaining('azure/gpt-5 has no price'),
    remedy: expect.stringContaining('--price'),
  });
  await expect(check('azure/fast', { budget: { ...free, tokens: 1 } })).resolves.toBeUndefined();
});
