import { expect, test } from 'vitest';
import type { EffectivePolicy } from '../policy/index.ts';
import { checkModel } from './model-choice.ts';
import type { System } from './system.ts';

const settings = [
  { name: 'azure', models: [{ name: 'gpt-5' }] },
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
const policy = { llm: { providers: ['azure'] }, grantFile: 'policy.yaml' } as unknown as EffectivePolicy;
const check = (asked: string) => checkModel(system, asked, policy);

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
