/** Real agents that are talked with, from npm, in a sandbox without network: a scripted model has each of them change a repository. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Replayed } from '../../src/runs/replay.ts';
import { AgentSite, SKILLS_IN_ANY_ORDER, unexplained, writesTheAnswer } from '../fakes/agents.ts';

/** `loose`: what may differ in a replay, since these end, or are ended, while something of their own is still under way. */
const AGENTS: readonly { agent: string; provider: string; loose?: RegExp }[] = [
  { agent: 'gemini', provider: 'gemini', loose: SKILLS_IN_ANY_ORDER },
  { agent: 'opencode', provider: 'chat' },
  { agent: 'claude-code-acp', provider: 'claude' },
  { agent: 'codex-acp', provider: 'openai' },
];

const site = new AgentSite();
beforeAll(async () => {
  site.useCache();
  await site.open();
});
afterAll(() => site.close());

/** Why there are no agents here; one failure is enough to know. */
let missing: string | null = null;

function talk(agent: string, provider: string, ...more: string[]) {
  site.upstream.heard.length = 0;
  // Where it may only read, Codex asks for what its model says needs more.
  const escalation = { sandbox_permissions: 'require_escalated', justification: 'to write the answer' };
  site.script = (heard) => {
    const turn = writesTheAnswer(heard);
    if (agent === 'codex-acp' && more.includes('--policy') && turn.tools?.[0] !== undefined)
      Object.assign(turn.tools[0].arguments as object, escalation);
    return turn;
  };
  const model = ['--model', `${provider}/small-1`];
  const options = ['--json', '-w', site.project.dir, '--agent', 'acp', ...model, ...more];
  return site.type('run', ...options, 'fix the typo in greeting.txt', '--', agent).done;
}

async function isReplayed(run: string, loose: RegExp | undefined): Promise<void> {
  site.upstream.heard.length = 0;
  const again = await site.type('runs', 'replay', run, '--json').done;
  expect(site.upstream.heard).toEqual([]);
  const { verdict, divergences } = JSON.parse(again.stdout) as Replayed;
  expect(unexplained(divergences, loose), again.stderr).toEqual([]);
  expect(verdict).toBe(divergences.length === 0 ? 'exact' : 'tree-equal');
}

function policy(rules: string): string {
  const file = join(site.root, `policy-${Math.random()}.yaml`);
  const models = 'llm_policy: {allowed_providers: [claude, openai, chat, gemini], models: ["small-1"]}';
  writeFileSync(file, `version: 1\n${models}\nlimits: {memory: 4g, wall_clock: 2m}\n${rules}`);
  return file;
}

describe.each(AGENTS)('$agent', ({ agent, provider, loose }) => {
  beforeAll(async () => {
    missing ??= await site.install(agent);
  }, 300_000);

  test('changes a repository, its words beside what really ran', async (context) => {
    if (missing !== null) return context.skip(missing);
    const { status, stderr, result } = await talk(agent, provider);
    expect(status, stderr).toBe(0);
    expect(site.project.git('show', `${result.branch}:answer.txt`)).toBe('Hello, world');
    const events = site.events(result.runId);
    const of = (type: string) => events.filter((event) => event.type === type).map(({ resource }) => resource);
    expect(of('agent.prepared')).toMatchObject([{ agent, source: 'installed', model: 'small-1' }]);
    expect(of('agent.ended')).toMatchObject([{ ok: true, reason: null }]);
    expect(of('command.started').map(({ argv }) => argv)).toContainEqual(['sed', 's/wrold/world/', 'greeting.txt']);
    expect(site.verify()).toEqual([]);
    await isReplayed(result.runId, loose);
  }, 300_000);

  test('asks where the policy has rules, and hears the answer', async (context) => {
    if (missing !== null) return context.skip(missing);
    const forbid =
      'forbid (principal, action == Action::"tool.call", resource) when { context.server == "acp" && context.tool like "execute*" };';
    const { result, stderr } = await talk(
      agent,
      provider,
      '--policy',
      policy(`rules: |\n  ${forbid}\n`),
      '--deliver',
      'none',
    );
    const events = site.events(result.runId);
    const asked = events.filter(({ type }) => type === 'tool.asked');
    expect(asked, stderr).toMatchObject([{ resource: { server: 'acp' }, decision: { effect: 'deny' } }]);
    expect(asked[0].resource.tool).toMatch(/^execute: /);
    expect(events.filter(({ type }) => type === 'agent.ended')).toHaveLength(1);
    expect(events.filter(({ type }) => type === 'tool.answered')).toMatchObject([
      { outcome: { result: 'reject_once' } },
    ]);
    expect(events.filter(({ type }) => type === 'file.changed')).toEqual([]);
  }, 300_000);
});
