/**
 * The agents themselves, from npm, run again from their recordings: the scripted model is asked nothing more. `test/e2e/agents-real.test.ts`
 * says where they come from.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { profileNames } from '../../src/agents/profiles/index.ts';
import type { Replayed } from '../../src/runs/replay.ts';
import { AgentSite, SKILLS_IN_ANY_ORDER, unexplained, usesTheShell, writesTheAnswer } from '../fakes/agents.ts';

const AGENTS: readonly { agent: string; provider: string; loose?: RegExp }[] = [
  { agent: 'claude-code', provider: 'claude' },
  { agent: 'codex', provider: 'openai' },
  { agent: 'opencode', provider: 'chat' },
  { agent: 'gemini', provider: 'gemini', loose: SKILLS_IN_ANY_ORDER },
  { agent: 'pi', provider: 'chat' },
  { agent: 'qwen', provider: 'chat' },
];

const site = new AgentSite();
/** Why there are no agents here; one failure is enough to know. */
let missing: string | null = null;
beforeAll(async () => {
  site.useCache();
  await site.open();
});
afterAll(() => site.close());

async function installed(agent: string): Promise<void> {
  missing ??= await site.install(agent);
}

async function replayed(run: string) {
  const before = site.upstream.heard.length;
  const { status, stdout, stderr } = await site.type('runs', 'replay', run, '--json').done;
  expect(site.upstream.heard.length, 'a replay asks nobody').toBe(before);
  expect(stdout, stderr).not.toBe('');
  return { status, verdict: JSON.parse(stdout) as Replayed };
}

test('every profile is tried here', () => {
  expect(AGENTS.map(({ agent }) => agent).sort()).toEqual([...profileNames].sort());
});

describe.each(AGENTS)('$agent', ({ agent, provider, loose }) => {
  beforeAll(() => installed(agent), 300_000);

  test('is replayed exactly', async (context) => {
    if (missing !== null) return context.skip(missing);
    const { status, stderr, result } = await site.runAgent(agent, provider, writesTheAnswer);
    expect(status, stderr).toBe(0);
    const again = await replayed(result.runId);
    expect(unexplained(again.verdict.divergences, loose)).toEqual([]);
    expect(again).toMatchObject({ status: 0, verdict: { status: 'succeeded' } });
    expect(again.verdict.verdict).toBe(again.verdict.divergences.length === 0 ? 'exact' : 'tree-equal');
    const { asked, exact, like } = again.verdict.steps;
    expect(asked).toBeGreaterThan(1);
    const otherwise = again.verdict.divergences.filter(({ at }) => at.startsWith('request ')); // as it may
    expect(exact + like + otherwise.length).toBe(asked);
    expect(site.verify()).toEqual([]);
  }, 240_000);
});

describe('a replay of a real agent says where it parts from the run', () => {
  beforeAll(() => installed('pi'), 300_000);

  test('a command that does something else: the step, what was expected and what came, the file', async (context) => {
    if (missing !== null) return context.skip(missing);
    const random = usesTheShell('tr -dc a-z < /dev/urandom | head -c 12 | tee answer.txt');
    const { status, stderr, result } = await site.runAgent('pi', 'chat', random);
    expect(status, stderr).toBe(0);
    const { verdict, status: code } = await replayed(result.runId);
    expect(code).toBe(1);
    expect(verdict.verdict).toBe('diverged');
    const [first, ...rest] = verdict.divergences;
    expect(first).toMatchObject({
      ...{ class: 'agent', at: expect.stringMatching(/^request 2 to the model, message \d+, content/) },
      ...{ expected: expect.stringMatching(/^[a-z]{12}/), actual: expect.stringMatching(/^[a-z]{12}/) },
    });
    expect(first?.expected).not.toBe(first?.actual);
    expect(rest).toMatchObject(
      [{ class: 'agent', at: 'file answer.txt', expected: /^added /, actual: /^added / }].map(
        ({ expected, actual, ...same }) => ({
          ...{ ...same, expected: expect.stringMatching(expected), actual: expect.stringMatching(actual) },
        }),
      ),
    );
  }, 240_000);
});
