/** ACP adapters from npm under a policy that lists its programs: each starts a second one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentSite, writesTheAnswer } from '../fakes/agents.ts';

const site = new AgentSite(`security:
  allowed_commands: [/bin/sh, /bin/bash, /usr/bin/sed, /usr/bin/git, /usr/bin/env, /usr/bin/cat, /usr/bin/awk, /usr/bin/grep]
`);
beforeAll(async () => {
  site.useCache();
  await site.open();
});
afterAll(() => site.close());

test.for([
  ['claude-code-acp', 'claude', /claude-agent-sdk-linux-\w+\/claude /],
  ['codex-acp', 'openai', /bin\/codex /],
] as const)('%s names both, and works with both', { timeout: 300_000 }, async ([agent, provider, second], context) => {
  const missing = await site.install(agent);
  if (missing !== null) return context.skip(missing);
  site.script = writesTheAnswer;
  const model = ['--model', `${provider}/small-1`];
  const run = (...more: string[]) =>
    site.type('run', '--json', '-w', site.project.dir, '--agent', 'acp', ...model, ...more, 'fix it', '--', agent).done;
  const refused = await run();
  expect([refused.status, refused.stderr]).toEqual([3, expect.stringMatching(second)]);
  const grants = [...refused.stderr.matchAll(/--allow-command (\S+)/g)].map(([, path]) => path ?? '');
  expect(grants).toHaveLength(2);
  const { status: code, stderr: told, result } = await run(...grants.flatMap((path) => ['--allow-command', path]));
  expect(code, told).toBe(0);
  expect(site.project.git('show', `${result.branch}:answer.txt`)).toBe('Hello, world');
  expect(site.verify()).toEqual([]);
});
