import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { actionNames, contexts, resourceTypes } from './cedar-schema.ts';
import { compilePolicy, testPolicy } from './compile.ts';

/** The user guide is held to what the code does: its examples load, their tests pass, its table is the schema. */
const [guide, agents] = ['policy', 'agents'].map((name) =>
  readFileSync(join(import.meta.dirname, `../../docs/${name}.md`), 'utf8'),
) as [string, string];
const examples = [...`${guide}\n${agents}`.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');

test.each(examples.map((text, i) => [i, text] as const))('example %i of the guide', async (_, text) => {
  const input = { repository: { file: 'docs/policy.md', text } };
  await compilePolicy(input);
  const results = await testPolicy(input);
  expect(results.length).toBeGreaterThan(0);
  expect(results.every((result) => result.passed)).toBe(true);
});

test('there are examples', () => {
  expect(examples.length).toBeGreaterThanOrEqual(2);
});

test.each(actionNames)('the table speaks of %s, its resource and every attribute', (action) => {
  const row = guide.split('\n').find((line) => line.startsWith('|') && line.split('|')[1]?.includes(`\`${action}\``));
  expect(row).toBeDefined();
  expect(row).toContain(`\`${resourceTypes[action]}\``);
  for (const attribute of Object.keys(contexts[action])) expect(row).toContain(`\`${attribute}\``);
});
