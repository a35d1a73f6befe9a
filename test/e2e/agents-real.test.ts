/**
 * The agents themselves, from npm, in a sandbox without network: a scripted model has each of them change a real repository, and refuses
 * each of them once. They are fetched once into node_modules/.cache.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { profileNames } from '../../src/agents/profiles/index.ts';
import { AgentSite, writesTheAnswer } from '../fakes/agents.ts';
import { KEY } from '../fakes/models/site.ts';

/** What each speaks to the gateway, and what it still asks of hosts that no policy names. */
const AGENTS = [
  { agent: 'claude-code', provider: 'claude', wire: 'messages', asksFor: [] },
  { agent: 'codex', provider: 'openai', wire: 'responses', asksFor: [] },
  { agent: 'opencode', provider: 'chat', wire: 'chat', asksFor: ['registry'] },
  { agent: 'gemini', provider: 'gemini', wire: 'gemini', asksFor: [] },
  { agent: 'pi', provider: 'chat', wire: 'chat', asksFor: [] },
  { agent: 'qwen', provider: 'chat', wire: 'chat', asksFor: [] },
] as const;

const REFUSES = () => ({ error: { status: 400, message: 'this prompt is not to my liking' } });

const site = new AgentSite();
beforeAll(async () => {
  site.useCache();
  await site.open();
});
afterAll(() => site.close());

test('every profile is tried here', () => {
  expect(AGENTS.map(({ agent }) => agent).sort()).toEqual([...profileNames].sort());
});

/** Why there are no agents here; one failure is enough to know. */
let missing: string | null = null;

describe.each(AGENTS)('$agent', ({ agent, provider, wire, asksFor }) => {
  beforeAll(async () => {
    missing ??= await site.install(agent);
  }, 300_000);

  test('changes a repository, its words recorded beside what really ran', async (context) => {
    if (missing !== null) return context.skip(missing);
    const { status, stderr, result } = await site.runAgent(agent, provider, writesTheAnswer);
    expect(status, stderr).toBe(0);
    expect(site.project.git('show', `${result.branch}:answer.txt`)).toBe('Hello, world');
    const events = site.events(result.runId);
    const of = (type: string) => events.filter((event) => event.type === type).map(({ resource }) => resource);
    expect(of('agent.prepared')).toMatchObject([
      { agent, source: 'installed', model: 'small-1', prompt: [{ from: 'requester', bytes: 28 }] },
    ]);
    const told = of('agent.message').filter(({ kind }) => kind === 'message');
    expect(told.map(({ text }) => text.trim())).toEqual(['I will write it.', 'The answer is written.']);
    expect(of('agent.tool.called')).toMatchObject([{ input: expect.stringContaining('sed s/wrold/world/') }]);
    expect(of('agent.tool.returned')).toMatchObject([{ ok: true }]);
    expect(of('agent.ended')).toMatchObject([{ ok: true, reason: null, toolCalls: 1 }]);
    expect(of('command.started').map(({ argv }) => argv)).toContainEqual(['sed', 's/wrold/world/', 'greeting.txt']);
    for (const { host } of of('network.decided'))
      expect(
        asksFor.some((part) => host.includes(part)),
        host,
      ).toBe(true);
    // The provider got its own key and nothing of the run's, in the protocol that the agent speaks.
    for (const { protocol, headers, bytes } of site.upstream.heard) {
      expect(protocol).toBe(wire);
      expect(JSON.stringify(headers)).toContain(KEY);
      expect(JSON.stringify(headers) + bytes).not.toContain('cordon-run-');
    }
    expect(of('llm.unjudged')).toEqual([]);
    expect(of('llm.request').flatMap(({ dropped }) => dropped)).toEqual([]);
    expect(site.cordon('runs', 'logs', result.runId).stdout).toContain('I will write it.\n→ ');
    expect(site.verify()).toEqual([]);
  }, 120_000);

  test('is taken at its word when it says that it failed', async (context) => {
    if (missing !== null) return context.skip(missing);
    const { status, stderr, result } = await site.runAgent(agent, provider, REFUSES, '--timeout', '60s');
    expect(status, stderr).toBe(1);
    expect(result.branch).toBeNull();
    expect(site.events(result.runId).filter(({ type }) => type === 'agent.ended')).toMatchObject([
      { resource: { ok: false, reason: expect.any(String) } },
    ]);
  }, 120_000);
});
