/** MCP servers that a policy names: real servers in sandboxes of their own, reached by a guest through the gateway. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnyEvent, McpSite } from '../fakes/mcp/site.ts';

const SERVER = 'command: [/usr/bin/node, /run/cordon/mcp/server.mjs]';
let site: McpSite;

beforeAll(() => {
  site = new McpSite(`mcp_servers:
  docs: {${SERVER}, tools: [add, "get_*"], env: {MODE: noisy}}
`);
});
afterAll(() => site.dispose());

const kept = (events: AnyEvent[], type: string) => events.filter((event) => event.type === type);

test('a guest lists the permitted tools and calls one; every step is in the log', async () => {
  const { result, stdout, stderr } = await site.script(`mcp docs tools/list > list; call docs add '{"a":2,"b":3}' > sum
    grep -q '"name":"add"' list && ! grep -q forbidden list && grep -q '"text":"5"' sum`);
  expect(result.status, stdout + stderr).toBe('succeeded');
  const events = site.events(result.runId);
  expect(kept(events, 'mcp.start')[0].resource).toMatchObject({ server: 'docs', how: 'command', attempt: 1 });
  expect(kept(events, 'mcp.started')[0].resource).toMatchObject({ name: 'fixture', version: '1.2.3' });
  expect(kept(events, 'mcp.tools')).toHaveLength(1);
  expect(kept(events, 'tool.requested')[0]).toMatchObject({
    resource: { server: 'docs', tool: 'add', input: '{"a":2,"b":3}', step: null },
    decision: { effect: 'permit' },
  });
  expect(kept(events, 'tool.ended')[0].outcome).toMatchObject({ result: 'done', text: '5' });
  expect(kept(events, 'mcp.command')[0].resource.argv.slice(0, 2)).toEqual([
    '/usr/bin/node',
    '/run/cordon/mcp/server.mjs',
  ]);
  expect(kept(events, 'mcp.stopped')[0]).toMatchObject({
    resource: { server: 'docs' },
    content: { mediaType: 'text/plain' },
  });
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
}, 60_000);
