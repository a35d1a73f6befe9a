import { describe, expect, test } from 'vitest';
import type { DocumentError } from '../base/errors.ts';
import { explain } from './explain.ts';
import { compilePolicy, decide, hostFacts, policyOfServer, residualRisk } from './index.ts';

const source = (file: string, text: string) => ({ file, text: `version: 1\n${text}` });
const repository = (text: string) => source('.cordon/policy.yaml', text);
const organisation = (text: string) => source('/etc/cordon/policy.yaml', text);

const DOCS = `mcp_servers:
  docs:
    command: [/usr/bin/node, server.mjs]
    workspace: read
    hosts: [api.acme.example]
    env: {LOG_LEVEL: info}
    secrets: [DOCS_TOKEN]
    tools: [search, "get_*"]
    timeout: 10s
    calls: 5
`;
const TRACKER = `mcp_servers:
  tracker: {url: "https://mcp.acme.example/mcp?v=1", secret: TRACKER_TOKEN, tools: [list_issues]}
`;

const call = (server: string, tool: string) => ({ action: 'tool.call', server, tool }) as const;
const connect = (host: string) => ({ action: 'net.connect', host, port: 443 }) as const;

async function problemsOf(text: string): Promise<string> {
  try {
    await compilePolicy({ repository: repository(text) });
    return '';
  } catch (error) {
    return (error as DocumentError).problems.map(({ message }) => message).join('\n');
  }
}

describe('tools', () => {
  test('are permitted by name and pattern, of that server alone', async () => {
    const policy = await compilePolicy({ repository: repository(DOCS) });
    expect(decide(policy, call('docs', 'search')).effect).toBe('permit');
    expect(decide(policy, call('docs', 'get_page')).effect).toBe('permit');
    for (const tool of ['Search', 'search2', 'forget_page', 'search/get_x', '', 'ѕearch'])
      expect(decide(policy, call('docs', tool)).effect).toBe('deny');
    for (const server of ['Docs', 'docs2', 'docs/search', '']) {
      expect(decide(policy, call(server, 'search')).effect).toBe('deny');
    }
    expect(decide(policy, call('docs', 'search')).rules[0]?.line).toBe(9);
  });

  test('none are, where the list is empty or left out, and that is said', async () => {
    for (const tools of ['', ', tools: []']) {
      const policy = await compilePolicy({
        repository: repository(`mcp_servers: {docs: {command: [/usr/bin/node]${tools}}}`),
      });
      expect(decide(policy, call('docs', 'search')).effect).toBe('deny');
      expect(policy.warnings.map(({ message }) => message)).toEqual([
        'mcp_servers.docs names no tools: none of them may be called',
      ]);
    }
  });

  test('rules and approvals stand above the list', async () => {
    const policy = await compilePolicy({
      repository: repository(`${DOCS}rules: |
  forbid (principal, action == Action::"tool.call", resource) when { context.tool == "get_secret" };
approvals: [{when: tool.call, if: 'context.server == "docs" && context.tool like "get_*"', approvers: [role:lead]}]
tests:
  - {action: tool.call, server: docs, tool: get_page, expect: ask}
  - {action: tool.call, server: docs, tool: get_secret, expect: deny}
`),
    });
    expect(decide(policy, call('docs', 'search')).effect).toBe('permit');
  });

  test('what is missing is told with the line to write', async () => {
    const policy = await compilePolicy({ repository: repository(DOCS) });
    const { decision } = explain(policy, ['tool.call server=docs tool=delete']);
    expect(decision.remedy).toContain('mcp_servers: {docs: {tools: ["delete"]}}');
  });
});

describe('connections', () => {
  test('of a server are not the agent’s, nor another server’s', async () => {
    const policy = await compilePolicy({
      repository: repository(`${DOCS}  other: {command: [/usr/bin/node], tools: [x]}
security: {allowed_network_hosts: [agent.acme.example]}`),
    });
    const [docs, other] = policy.mcp.servers.map((server) => policyOfServer(policy, server));
    if (docs === undefined || other === undefined) throw new Error('no servers');
    expect(decide(policy, connect('api.acme.example')).effect).toBe('deny');
    expect(decide(policy, connect('agent.acme.example')).effect).toBe('permit');
    expect(decide(docs, connect('api.acme.example')).effect).toBe('permit');
    expect(decide(docs, connect('agent.acme.example')).effect).toBe('deny');
    expect(decide(other, connect('api.acme.example')).effect).toBe('deny');
  });

  test('a remote server is at its own address, and a forbid holds for it too', async () => {
    const rule = `rules: |
  forbid (principal, action == Action::"net.connect", resource) when { context.host like "mcp.*" };
`;
    for (const [more, effect] of [
      ['', 'permit'],
      [rule, 'deny'],
    ] as const) {
      const policy = await compilePolicy({ repository: repository(TRACKER + more) });
      const [server] = policy.mcp.servers;
      if (server === undefined) throw new Error('no server');
      expect(server.how).toMatchObject({ host: 'mcp.acme.example', port: 443, path: '/mcp?v=1' });
      const own = policyOfServer(policy, server);
      expect(decide(own, connect('mcp.acme.example')).effect).toBe(effect);
      expect(hostFacts(own, 'mcp.acme.example', 443).private).toBe(false);
      expect(decide(policy, connect('mcp.acme.example')).effect).toBe('deny');
    }
  });

  test('what tools can reach is a risk that is named', async () => {
    const policy = await compilePolicy({ repository: repository(DOCS) });
    const risk = residualRisk(policy).find(({ name }) => name === 'mcp.reach');
    expect(risk).toMatchObject({ severity: 'high' });
    expect(risk?.sentence).toContain('api.acme.example:443');
  });
});

describe('secrets', () => {
  test('are permitted for that server alone', async () => {
    const policy = await compilePolicy({ repository: repository(DOCS) });
    const use = (name: string, host: string) => decide(policy, { action: 'secret.use', name, host }).effect;
    expect(use('DOCS_TOKEN', 'mcp-docs')).toBe('permit');
    expect(use('DOCS_TOKEN', 'sandbox')).toBe('deny');
    expect(use('DOCS_TOKEN', 'api.acme.example')).toBe('deny');
    const remote = await compilePolicy({ repository: repository(TRACKER) });
    expect(decide(remote, { action: 'secret.use', name: 'TRACKER_TOKEN', host: 'mcp.acme.example' }).effect).toBe(
      'permit',
    );
  });
});

describe('under an organisation', () => {
  const both = (above: string, below: string) =>
    compilePolicy({ organisation: organisation(above), repository: repository(below) });

  test('a server that it does not name is not there', async () => {
    const policy = await both('', DOCS);
    expect(policy.mcp.servers).toEqual([]);
    expect(decide(policy, call('docs', 'search')).effect).toBe('deny');
    expect(policy.warnings[0]?.message).toContain("the server docs is above the organisation's ceiling");
  });

  test('the narrower list of tools wins, and its numbers', async () => {
    const policy = await both(DOCS.replace('"get_*"', 'other').replace('calls: 5', 'calls: 3'), DOCS);
    expect(policy.mcp.servers[0]).toMatchObject({ timeout: 10_000, calls: 3 });
    expect(decide(policy, call('docs', 'search')).effect).toBe('permit');
    expect(decide(policy, call('docs', 'get_page')).effect).toBe('deny');
    expect(decide(policy, call('docs', 'other')).effect).toBe('deny');
  });

  test.each([
    ['another command', DOCS.replace('server.mjs', 'other.mjs')],
    ['the workspace', DOCS.replace('    workspace: read\n', '')],
    ['a secret', DOCS.replace('[DOCS_TOKEN]', '[]')],
    ['a variable', DOCS.replace('{LOG_LEVEL: info}', '{LOG_LEVEL: warn}')],
  ])('%s that it does not have puts the server out', async (_what, above) => {
    expect((await both(above, DOCS)).mcp.servers).toEqual([]);
  });

  test('its hosts are the most, in its general list or in the server', async () => {
    for (const [above, effect] of [
      [DOCS, 'permit'],
      [DOCS.replace('api.acme.example', 'other.acme.example'), 'deny'],
      [`${DOCS.replace('[api.acme.example]', '[]')}security: {allowed_network_hosts: ["*.acme.example"]}\n`, 'permit'],
    ] as const) {
      const policy = await both(above, DOCS);
      const [server] = policy.mcp.servers;
      if (server === undefined) throw new Error('no server');
      expect(decide(policyOfServer(policy, server), connect('api.acme.example')).effect).toBe(effect);
      expect(policy.warnings.length).toBe(effect === 'permit' ? 0 : 1);
    }
  });

  test('a repository may name a server that only the organisation describes', async () => {
    const policy = await both(TRACKER, 'mcp_servers: {tracker: {tools: [list_issues]}}');
    const [server] = policy.mcp.servers;
    expect(server?.how).toMatchObject({ kind: 'url', secret: 'TRACKER_TOKEN' });
    if (server === undefined) throw new Error('no server');
    expect(decide(policyOfServer(policy, server), connect('mcp.acme.example')).effect).toBe('permit');
    expect(decide(policy, { action: 'secret.use', name: 'TRACKER_TOKEN', host: 'mcp.acme.example' }).effect).toBe(
      'permit',
    );
    const none = await both(TRACKER, 'mcp_servers: {tracker: {}}');
    expect(decide(none, call('tracker', 'list_issues')).effect).toBe('deny');
  });
});

test('without a command and a url a server is nothing', async () => {
  const policy = await compilePolicy({ repository: repository('mcp_servers: {docs: {tools: [x]}}') });
  expect(policy.mcp.servers).toEqual([]);
  expect(policy.warnings[0]?.message).toContain('neither a command nor a url');
});

test('another document has another digest', async () => {
  const one = await compilePolicy({ repository: repository(DOCS) });
  const other = await compilePolicy({ repository: repository(DOCS.replace('calls: 5', 'calls: 6')) });
  expect(one.digest).not.toBe(other.digest);
});

test.each([
  ['{docs: {command: [node]}}', 'absolute path'],
  ['{docs: {command: []}}', 'absolute path'],
  ['{docs: {command: [/usr/bin/node], url: "https://a.example/"}}', 'not both'],
  ['{docs: {url: "http://a.example/"}}', 'not https'],
  ['{docs: {url: "https://user:pw@a.example/"}}', 'more than an address'],
  ['{docs: {url: "https://a.example/", workspace: read}}', 'workspace is for a server with a command'],
  ['{docs: {command: [/usr/bin/node], secret: TOKEN}}', 'secret is for a server with a url'],
  ['{docs: {command: [/usr/bin/node], tools: ["*"]}}', 'would take every tool'],
  ['{Docs: {command: [/usr/bin/node]}}', 'no name of a server'],
  ['{"a/b": {command: [/usr/bin/node]}}', 'no name of a server'],
  ['{builtin: {command: [/usr/bin/node]}}', 'Cordon calls tools of its own'],
  ['{acp: {command: [/usr/bin/node]}}', 'Cordon calls tools of its own'],
  ['{docs: {command: [/usr/bin/node], env: {path: x}}}', 'variables'],
  ['{docs: {comand: [/usr/bin/node]}}', 'did you mean `command`'],
  ['[docs]', 'servers by their names'],
])('%s is refused', async (text, why) => {
  expect(await problemsOf(`mcp_servers: ${text}`)).toContain(why);
});
