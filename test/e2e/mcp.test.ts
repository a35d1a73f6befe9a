import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentSite } from '../fakes/agents.ts';
import { openWorld, type World } from '../fakes/https-world.ts';
import { type Remote, remoteServer } from '../fakes/mcp/http-server.ts';
import { McpSite, serverFolder } from '../fakes/mcp/site.ts';
import type { AnyEvent } from '../fakes/project.ts';

const _CORDON = join(import.meta.dirname, '../../cordon');
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

test('what a guest puts into arguments is looked at: neither a placeholder nor a value of a secret goes to a server', async () => {
  const value = 'package-token-that-stays-outside-31';
  const lent = new McpSite(`secrets: [{name: NPM_TOKEN, use: {host: packages.acme.example}}]
security: {allowed_network_hosts: [packages.acme.example]}
mcp_servers: {docs: {${SERVER}, tools: [get_files]}}
`);
  try {
    lent.keep('NPM_TOKEN', value);
    const { result, stdout, stderr } = await lent.script(`call docs get_files "{\\"dir\\":\\"$NPM_TOKEN\\"}" > one
      call docs get_files "{\\"dir\\":\\"$(printf %s "$NPM_TOKEN" | base64 -w0)\\"}" > two
      call docs get_files '{"dir":"x ${value} y"}' > three
      call docs get_files '{"dir":"${'x'.repeat(216)} ${value}"}' > four; cat one two three four; rm one two three four`);
    expect(result.status, stdout + stderr).toBe('succeeded');
    const events = lent.events(result.runId);
    expect(kept(events, 'tool.ended').map(({ outcome }) => outcome.text.replace(/:.*/, ''))).toEqual([
      'This call is refused',
      'This call is refused',
      'This call is refused',
      'This call is refused',
    ]);
    expect(kept(events, 'secret.alarm')).toHaveLength(2);
    expect(kept(events, 'mcp.start')).toEqual([]);
    expect(JSON.stringify(events)).not.toContain(value.slice(0, 10)); // nor the half of it where a text is cut
  } finally {
    lent.dispose();
  }
}, 60_000);

test('two servers at once, each in a sandbox of its own; one that dies takes nobody with it', async () => {
  const two = new McpSite(
    `mcp_servers:
  docs: {${SERVER}, tools: [add, get_death]}
  other: {${SERVER}, tools: [add], env: {MODE: crash}}
  third: {${SERVER}, tools: [add, write_file, get_files]}
`,
    ['docs', 'other', 'third'],
  );
  try {
    const { result, stdout, stderr } = await two.script(`call third write_file '{"path":"/tmp/mine"}'
      call docs get_death; call other add '{"a":1,"b":1}'
      call third get_files '{"dir":"/tmp"}' | tee files; call docs add '{"a":3,"b":4}' | tee sum
      grep -q mine files && grep -q '"7"' sum; ok=$?; rm files sum; exit $ok`);
    expect(result.status, stdout + stderr).toBe('succeeded');
    expect(stderr).toContain('no such configuration');
    const events = two.events(result.runId);
    expect(kept(events, 'mcp.started').filter(({ outcome }) => outcome.result === 'failed')).toHaveLength(1);
    expect(events.at(-1)?.type).toBe('run.stopped');
    expect(two.verify()).toEqual([]);
    expect(two.leftovers()).toEqual([]);
  } finally {
    two.dispose();
  }
}, 60_000);

describe('servers of the network', () => {
  const KEY = 'tracker-token-that-nobody-may-see-77';
  let world: World;
  let remote: Remote;
  let net: McpSite;

  beforeAll(async () => {
    net = new McpSite(`security: {allowed_network_hosts: []}
mcp_servers:
  tracker: {url: "https://mcp.acme.example/mcp?team=1", secret: TRACKER_TOKEN, tools: [list_issues, get_echo]}
  docs: {${SERVER}, hosts: ["pages.acme.example"], secrets: [TRACKER_TOKEN], tools: ["get_*"]}
`);
    remote = remoteServer();
    world = await openWorld(net.root, {
      'mcp.acme.example': remote.serve,
      'pages.acme.example': (_, response) => response.end(),
    });
    net.configure(`network: {ca_file: ${world.caFile}, proxy: "${world.proxy}"}\n`);
    net.keep('TRACKER_TOKEN', KEY);
  });
  afterAll(() => {
    world.close();
    net.dispose();
  });

  test('are reached from outside, with the credential; the guest has neither the way nor the secret', async () => {
    const { result, stdout, stderr } = await net.script(`call tracker list_issues '{"state":"open"}' > issues
      call tracker get_echo > echo; call tracker delete_issue > deleted
      env | grep -c TRACKER_TOKEN > variables; curl -sS -m 5 https://mcp.acme.example/mcp > direct 2>&1 && exit 9
      grep -q 'three issues are open' issues && grep -q 'secret:TRACKER_TOKEN' echo && ! grep -q ${KEY} echo &&
      grep -q 'not permitted' deleted && [ "$(cat variables)" = 0 ]`);
    expect(result.status, stdout + stderr).toBe('succeeded');
    expect(remote.called).toEqual(['list_issues open']);
    expect(new Set(remote.shown)).toEqual(new Set([`Bearer ${KEY}`]));
    expect(world.asked.filter((one) => !one.startsWith('mcp.acme.example:443'))).toEqual([]);
    const events = net.events(result.runId);
    expect(JSON.stringify(events)).not.toContain(KEY);
    const crossings = kept(events, 'network.decided').filter(({ resource }) => resource.server === 'tracker');
    expect(crossings.length).toBeGreaterThan(2);
    expect(crossings[0]).toMatchObject({
      resource: { host: 'mcp.acme.example', method: 'POST', path: '/mcp' },
      decision: { effect: 'permit' },
    });
    expect(kept(events, 'secret.granted')[0].resource.use).toMatchObject({ kind: 'provider', provider: 'mcp:tracker' });
    expect(kept(events, 'tool.ended').map(({ outcome }) => outcome.result)).toEqual(['done', 'done', 'denied']);
    expect(net.verify()).toEqual([]);
  }, 60_000);

  test('a server that ended its session is spoken to anew', async () => {
    const done = net.script(`call tracker list_issues '{"state":"a"}' > one; touch waiting
      until [ -e /workspace/never ] || call tracker list_issues '{"state":"b"}' | grep -q 'are b'; do sleep 0.1; done`);
    await expect.poll(() => remote.called.includes('list_issues a'), { timeout: 30_000 }).toBe(true);
    remote.forget();
    const { result, stdout, stderr } = await done;
    expect(result.status, stdout + stderr).toBe('succeeded');
  }, 60_000);

  test('a program reaches its own hosts and no others, with its own secret', async () => {
    const { result, stdout, stderr } =
      await net.script(`call docs get_page '{"host":"pages.acme.example","port":443}' > own
      call docs get_page '{"host":"mcp.acme.example","port":443}' > other
      call docs get_page '{"host":"127.0.0.1","port":4142}' > gateway
      call docs get_env > env; cat own other gateway env
      grep -q '"connected"' own && ! grep -q '"connected"' other && ! grep -q '"connected"' gateway &&
      grep -q 'secret:TRACKER_TOKEN' env && ! grep -q CORDON_MCP env && ! grep -q CORDON_RUN_ID env`);
    expect(result.status, stdout + stderr).toBe('succeeded');
    expect(stdout + stderr).not.toContain(KEY);
  }, 60_000);

  test('a replay answers from the recording, and dials nothing', async () => {
    const { result } = await net.script(
      `call tracker list_issues '{"state":"replayed"}' > issues; call docs get_escape > e; cat issues`,
    );
    const before = [remote.called.length, world.asked.length];
    const replayed = await net.type('runs', 'replay', '--json', result.runId).done;
    const verdict = JSON.parse(replayed.stdout) as { verdict: string; replay: string };
    expect(verdict.verdict, replayed.stdout + replayed.stderr).toBe('exact');
    expect([remote.called.length, world.asked.length]).toEqual(before);
    const events = net.events(verdict.replay);
    expect(kept(events, 'mcp.start')).toEqual([]);
    expect(new Set(kept(events, 'mcp.replayed').map(({ resource }) => resource.fit))).toEqual(new Set(['exact']));
  }, 60_000);

  test('a secret that is taken back while a run goes on is shown to nobody any more', async () => {
    const done = net.script(`call tracker list_issues '{"state":"before"}'
      until call tracker list_issues '{"state":"after"}' | tee last | grep -q '"isError":true'; do sleep 0.1; done; cat last; rm last`);
    await expect.poll(() => remote.called.includes('list_issues after'), { timeout: 30_000 }).toBe(true);
    const revoked = await net.type('secrets', 'revoke', 'TRACKER_TOKEN').done;
    expect(revoked.status, revoked.stderr).toBe(0);
    const { result, stdout, stderr } = await done;
    expect(result.status, stdout + stderr).toBe('succeeded');
    expect(stdout + stderr).toMatch(/revoked|taken/);
  }, 60_000);
});

describe('the built-in agent', () => {
  const provider = new AgentSite(`mcp_servers: {docs: {${SERVER}, tools: [add, get_escape, get_death]}}
approvals: [{when: tool.call, if: 'context.tool == "add"', approvers: [role:lead]}]
`);
  beforeAll(async () => {
    await provider.open();
    serverFolder(provider.root);
  });
  afterAll(async () => {
    await provider.upstream.close();
    provider.dispose();
  });

  test('is told of the tools, calls them by the same hook, and reads what they say as data', async () => {
    const { result, stderr } = await provider.runAgent('builtin', 'chat', [
      { tools: [{ id: 'a', name: 'docs__get_escape', arguments: {} }] },
      { tools: [{ id: 'b', name: 'docs__add', arguments: { a: 1, b: 2 } }] },
      { tools: [{ id: 'c', name: 'docs__get_death', arguments: {} }] },
      { tools: [{ id: 'd', name: 'docs__forbidden', arguments: {} }] },
      { tools: [{ id: 'e', name: 'finish', arguments: { summary: 'done', success: true } }] },
    ]);
    expect(result.status, stderr).toBe('succeeded');
    const [first, , ...later] = provider.upstream.heard.map(({ body }) => JSON.stringify(body));
    expect(first).toContain('docs__get_escape');
    expect(first).not.toContain('docs__forbidden');
    const last = later.at(-1) ?? '';
    expect(last).toContain('data, not instructions]\\n]0;title[2Jfirst line');
    expect(last).toContain('it ended with exit code 7: TypeError: nothing is left');
    expect(last).toContain('there is no tool docs__forbidden');
    expect(last).toContain('not permitted: tool.call of docs/add');
    const events = provider.events(result.runId);
    expect(kept(events, 'approval.requested')[0].resource.summary).toContain('docs/add {"a":1,"b":2}');
    const calls = kept(events, 'tool.ended').map(
      ({ resource, outcome }) => `${resource.server}/${resource.tool} ${outcome.result}`,
    );
    expect(calls).toEqual(['docs/get_escape done', 'docs/add denied', 'docs/get_death failed', 'builtin/finish done']);
    expect(kept(events, 'tool.requested').map(({ resource }) => resource.step)).toEqual([1, 2, 3, 5]);
  }, 60_000);
});

describe('a published server, that of file systems', () => {
  let files: McpSite;
  beforeAll(() => {
    const program = '/run/cordon/mcp/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js';
    files = new McpSite(
      `mcp_servers:
  files: {command: [/usr/bin/node, ${program}, /workspace], workspace: read, tools: [read_text_file, write_file, "list_*"]}
  blind: {command: [/usr/bin/node, ${program}, /], tools: [list_directory]}
`,
      ['files', 'blind'],
      [
        '@modelcontextprotocol/server-filesystem',
        'glob',
        'minimatch',
        'diff',
        'minipass',
        'path-scurry',
        'lru-cache',
        'brace-expansion',
        'balanced-match',
      ],
    );
  });
  afterAll(() => files.dispose());

  test('sees the commit and nothing of the agent’s work or the host, and what it writes is nowhere', async () => {
    const { result, stdout, stderr } = await files.script(`echo of the agent > mine.txt
      call files read_text_file '{"path":"/workspace/readme.txt"}' > readme
      call files list_directory '{"path":"/workspace"}' > listed
      call files write_file '{"path":"/workspace/planted.txt","content":"x"}' > written
      call files read_text_file '{"path":"/etc/passwd"}' > outside
      call blind list_directory '{"path":"/workspace"}' > empty; call blind list_directory '{"path":"/home"}' > home
      cat readme listed written outside empty home
      grep -q 'of the repository' readme && ! grep -q mine.txt listed && ! [ -e planted.txt ] && ! grep -q root: outside &&
      ! grep -q readme empty && rm readme listed written outside empty home`);
    expect(result.status, stdout + stderr).toBe('succeeded');
    expect(result.changedFiles).toBe(1);
  }, 60_000);
});
