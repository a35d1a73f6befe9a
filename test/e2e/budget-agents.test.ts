/** Agents from npm whose budget for language models is used up: what their user is told at the end. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Replayed } from '../../src/runs/replay.ts';
import { AgentSite, usesTheShell } from '../fakes/agents.ts';

const site = new AgentSite();
const own = join(site.root, 'own.yaml');
const shared = join(site.root, 'shared.yaml');
const policy = (budget: string) =>
  `version: 1
llm_policy: {allowed_providers: [claude, openai, chat, gemini], models: [small-1], ${budget}}
limits: {memory: 4g, wall_clock: 4m}
`;

let missing: string | null = null;
beforeAll(async () => {
  site.useCache();
  await site.open();
  writeFileSync(own, policy('budget: {requests: 1}'));
  writeFileSync(shared, policy('budgets: [{scope: repository, period: month, requests: 1}]'));
});
afterAll(() => site.close());

// Claude Code and pi end at once and say why, Codex calls it a plan with its provider; the others ask again for minutes.
test.for([
  ['claude-code', 'claude'],
  ['codex', 'openai'],
  ['opencode', 'chat'],
  ['gemini', 'gemini'],
  ['pi', 'chat'],
  ['qwen', 'chat'],
  ['claude-code-acp', 'claude'],
] as const)('%s: the budget is named, and what to do', { timeout: 300_000 }, async ([agent, provider], context) => {
  missing ??= await site.install(agent);
  if (missing !== null) return context.skip(missing);
  site.script = usesTheShell('true');
  const model = ['--model', `${provider}/small-1`, '--policy', own, '--deliver', 'none'];
  const talks = agent.endsWith('-acp');
  const typed = ['run', '--json', '-w', site.project.dir, ...model, '--agent', talks ? 'acp' : agent, 'do it'];
  const { status, stderr, result } = await site.type(...typed, ...(talks ? ['--', agent] : [])).done;
  expect(status, stderr).toBe(5);
  expect(result).toMatchObject({
    status: 'limit',
    stopReason: expect.stringMatching(/^the budget of this run is 1 requests; 1 are spent or reserved/),
    remedy: 'raise llm_policy.budget in the policy, or make the task smaller',
  });
  expect(site.verify()).toEqual([]);
  // Claude Code ends by itself, and may ask once more in one of the two before it does.
  if (agent.startsWith('claude-code')) return;
  const again = await site.type('runs', 'replay', result.runId, '--json').done;
  const { status: end, divergences } = JSON.parse(again.stdout || '{}') as Replayed;
  expect(end, again.stderr).toBe('limit');
  expect(divergences.filter((one) => one.class === 'recording missing' || one.at === 'end')).toEqual([]);
});

test('one that is shared is named with its period', async (context) => {
  if (missing !== null) return context.skip(missing);
  const run = () => site.runAgent('claude-code', 'claude', usesTheShell('true'), '--policy', shared);
  const first = await run();
  expect(first.status, first.stderr).toBe(5);
  const { status, stderr, result } = await run();
  expect(status, stderr).toBe(5);
  expect(result.usage.models.requests).toBe(1);
  expect(result).toMatchObject({
    stopReason: expect.stringMatching(/^the budget of .*repository for this month is 1 requests/),
    remedy: expect.stringContaining('wait for the next month (of UTC), or raise the repository’s budget'),
  });
}, 300_000);
