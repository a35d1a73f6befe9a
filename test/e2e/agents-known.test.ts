/**
 * Agents behave otherwise for models whose names they know: other tools, other headers, thoughts, programs in place of calls. The agents
 * themselves, from npm, under such names, against a scripted model.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentSite, KNOWN, writesTheAnswer } from '../fakes/agents.ts';

const AGENTS = { claude: 'claude-code', openai: 'codex', gemini: 'gemini' } as const;

const site = new AgentSite();
const missing = new Map<string, string>();
beforeAll(async () => {
  site.useCache();
  await site.open();
  for (const agent of Object.values(AGENTS)) {
    const why = await site.install(agent);
    if (why !== null) missing.set(agent, why);
  }
}, 600_000);
afterAll(() => site.close());

describe.each(KNOWN)('%s/%s', (provider, model) => {
  test('the agent that knows it changes a repository', async (context) => {
    const agent = AGENTS[provider];
    const reason = missing.get(agent);
    if (reason !== undefined) return context.skip(reason);
    const { status, stderr, result } = await site.runAgent(agent, `${provider}/${model}`, writesTheAnswer);
    expect(status, stderr).toBe(0);
    expect(site.project.git('show', `${result.branch}:answer.txt`)).toBe('Hello, world');
    expect(new Set(site.upstream.heard.map((heard) => heard.model))).toEqual(new Set([model]));
    const events = site.events(result.runId);
    const of = (type: string) => events.filter((event) => event.type === type).map(({ resource }) => resource);
    // Nothing that the agent asks of such a model is refused, or left out.
    expect(of('llm.unjudged')).toEqual([]);
    expect(of('llm.request').flatMap(({ dropped }) => dropped)).toEqual([]);
    expect(of('llm.request').flatMap(({ features }) => features)).toEqual([]);
  }, 180_000);
});
