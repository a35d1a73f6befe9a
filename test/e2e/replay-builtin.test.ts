import { once } from 'node:events';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { deleteRunContent } from '../../src/audit/retention.ts';
import { composeSystem } from '../../src/compose.ts';
import { executeRun } from '../../src/runs/pipeline.ts';
import { type Replayed, replayRun } from '../../src/runs/replay.ts';
import type { RunRequest } from '../../src/runs/request.ts';
import type { RunIo, System } from '../../src/runs/system.ts';
import { ModelServer } from '../fakes/models/server.ts';
import type { Turn } from '../fakes/models/turn.ts';
import { Installation, Project } from '../fakes/project.ts';

const HOST = '127.0.0.2';
const site = new Installation();
const hits: string[] = [];
const host = createServer((request, response) => {
  hits.push(`${request.method} ${request.url}`);
  response.end(`page ${request.url}\n`);
});
let upstream: ModelServer;
let project: Project;
let turns: readonly Turn[] = [];

/** Asks a host through the proxy. */
const PAGE = `use strict; use IO::Socket::INET;
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 3128) or die $!;
my ($host) = $ARGV[0] =~ m{//([^/]+)};
print $socket "GET $ARGV[0] HTTP/1.1\\r\\nHost: $host\\r\\nConnection: close\\r\\n\\r\\n"; print <$socket>;
`;
const tool = (name: string, input: Record<string, unknown>): Turn => ({
  tools: [{ id: `call_${JSON.stringify(input).length}`, name, arguments: input }],
});
const shell = (command: string) => tool('shell', { command });
const finish = tool('finish', { summary: 'done', success: true });
const page = (path: string) =>
  `perl page.pl http://${HOST}:${(host.address() as AddressInfo).port}/${path} | sed '1,/^.$/d'`;
const push = 'git push -q origin "HEAD:refs/heads/cordon/$CORDON_RUN_ID" 2>&1';

beforeAll(async () => {
  host.listen(0, HOST);
  await once(host, 'listening');
  upstream = await new ModelServer((_heard, i) => turns[i] ?? finish).start();
  project = new Project(join(site.root, 'repository'));
  project.write('page.pl', PAGE).write('sum.sh', 'echo $(($1 - $2))\n').write('.cordon/policy.yaml', policy());
  project.commit('first');
  site.keep('KEY', 'sk-1234567');
  const at = ['--base-url', `${upstream.url}/v1`, '--key', 'KEY', '--model', 'm-1'];
  const { status, stderr } = site.cordon('providers', 'add', 'acme', '--driver', 'openai-compatible', ...at);
  expect(status, stderr).toBe(0);
}, 60_000);
afterAll(async () => {
  host.close();
  await upstream.close();
  site.dispose();
});
beforeEach(() => {
  hits.length = 0;
  upstream.heard.length = 0;
});

function policy(more = ''): string {
  const { port } = host.address() as AddressInfo;
  return `version: 1
security: {allowed_network_hosts: [{host: ${HOST}, port: ${port}, private: true, methods: [GET], paths: ["/**"]}]}
llm_policy: {allowed_providers: [acme], models: ["m-*"]}
secrets: [{name: KEY, use: {env: TOKEN}}]
${more}`;
}

async function run(...script: Turn[]) {
  turns = script;
  upstream.heard.length = 0;
  const typed = ['run', '--json', '-w', project.dir, '--model', 'acme/m-1', 'do it'];
  const { status, stderr, result } = await site.type(...typed).done;
  expect(status, stderr).toBe(0);
  return result;
}

async function replayed(id: string) {
  const before = [hits.length, upstream.heard.length];
  const { status, stdout, stderr } = await site.type('runs', 'replay', id, '--json').done;
  expect([hits.length, upstream.heard.length], 'a replay goes nowhere').toEqual(before);
  return { status, stderr, verdict: JSON.parse(stdout || '{}') as Replayed };
}

const EVERYTHING = [
  shell('ls -la; date; date +%s; mktemp -d'),
  tool('edit', { path: 'sum.sh', old: '$1 - $2', new: '$1 + $2' }),
  tool('read', { path: 'sum.sh' }),
] as const;

/** Its policy's other kinds of questions as well. */
const everyKind = () => [
  ...EVERYTHING,
  shell(
    `${page('a')} > page.txt; git add -A; git commit -m one; git log -1; git clone -q http://127.0.0.1:9418/origin /tmp/clone && echo cloned; ${push}`,
  ),
];

test('exact, though it looked at times, drew names and made commits', async () => {
  const { runId } = await run(...everyKind());
  const { status, stderr, verdict } = await replayed(runId);
  expect(verdict.divergences, stderr).toEqual([]);
  expect(verdict).toMatchObject({ verdict: 'exact', reordered: 0 });
  expect(status).toBe(0);
  const kinds = verdict.altered.map(({ kind }) => kind);
  expect(kinds).toEqual(expect.arrayContaining(['time', 'temporary name', 'hex']));
  const told = (await site.type('runs', 'replay', runId).done).stdout;
  expect(told).toContain('exact: the same commands, the same tree');
  expect(told).toMatch(/taken for the same: \d+ × time \(.+ → .+\)/);
  expect(site.verify()).toEqual([]);
}, 180_000);

describe('diverged', () => {
  test('at the step whose tool did something else, and in the file that it wrote', async () => {
    const { runId } = await run(shell('echo first; tr -dc a-z < /dev/urandom | head -c 12 | tee drawn.txt'), finish);
    const { status, verdict } = await replayed(runId);
    expect(status).toBe(1);
    expect(verdict.verdict).toBe('diverged');
    const [question, file] = verdict.divergences;
    expect(verdict.divergences).toHaveLength(2);
    expect(question).toMatchObject({
      class: 'agent',
      at: expect.stringMatching(/^request 2 to the model, message 4, content line \d+$/),
    });
    expect(file).toMatchObject({ class: 'agent', at: 'file drawn.txt' });
    for (const one of [question, file]) expect(one?.expected).not.toBe(one?.actual);
  }, 120_000);

  test('by another policy: the organisation has one now', async () => {
    const { runId } = await run(shell('echo x > a.txt'), finish);
    const verdict = await within(async (system) => {
      const organisation = { file: '/etc/cordon/policy.yaml', text: policy('limits: {pids: 99}\n') };
      return replay({ ...system, organisation }, runId);
    });
    expect(verdict.verdict).toBe('tree-equal');
    expect(verdict.divergences).toEqual([
      {
        class: 'policy',
        at: 'policy',
        expected: expect.stringMatching(/^sha256:/),
        actual: expect.stringMatching(/^sha256:/),
      },
    ]);
  }, 120_000);

  test('by what is not in the recording any more', async () => {
    const { runId } = await run(shell('echo x > a.txt'), finish);
    await within(async (system) => {
      const principal = { id: 'user:ada', kind: 'user' } as const;
      await deleteRunContent(system.log, system.content, { run: runId, principal, reason: 'retention' });
    });
    const { status, stderr } = await replayed(runId);
    expect(status).toBe(2);
    expect(stderr).toContain(`run ${runId} cannot be replayed (content deleted): retention has deleted its recording`);
  }, 120_000);

  test('by a recording in a form of another version', async () => {
    const { runId } = await run(shell('echo x > a.txt'), finish);
    await within(async (system) => {
      const content: System['content'] = Object.create(system.content, {
        read: {
          async *value() {
            yield Buffer.from('{"k":"start","documents":{"organisation":null,"repository":null},"branch":null}\n');
          },
        },
      });
      const why = `run ${runId} cannot be replayed (recording missing): the recording has the format 1`;
      await expect(replay({ ...system, content }, runId)).rejects.toThrow(why);
    });
  }, 120_000);
});

const nobody: RunIo = {
  signal: new AbortController().signal,
  onProgress: () => {},
  notes: false,
  onOutput: () => {},
  ask: () => Promise.reject(new Error('somebody was asked')),
};

async function within<T>(work: (system: System) => Promise<T>): Promise<T> {
  process.env.CORDON_HOME = site.home;
  const system = await composeSystem();
  try {
    return await work(system);
  } finally {
    await system.close();
    delete process.env.CORDON_HOME;
  }
}

async function replay(system: System, id: string): Promise<Replayed> {
  const [record] = await system.store.findRuns(id, 1);
  if (record === undefined) throw new Error(id);
  return replayRun(system, record, nobody);
}

test('what people answered is answered again; what they were not asked is denied, and nobody is asked', async () => {
  const file = join(site.root, 'asking.yaml');
  const rules = ['net.request', 'git.push'].map(
    (name) => `  @ask forbid (principal, action == Action::"${name}", resource);\n`,
  );
  writeFileSync(file, policy(`rules: |\n${rules.join('')}`));
  const random = '$(od -An -N6 -tx1 /dev/urandom | tr -d " \\n")';
  const script = `echo x > a.txt; git add -A; git commit -qm one; ${push} && echo pushed > pushed.txt
    ${page('no')} > no.txt; ${page('yes')} > yes.txt; ${page(`drawn-${random}`)} > drawn.txt; true`;
  const request: RunRequest = {
    ...{ requester: { id: 'user:ada', kind: 'user' }, workspace: project.dir, repo: null, base: 'HEAD', branch: null },
    ...{ paths: [], agent: { kind: 'command', argv: ['sh', '-c', script] }, task: null, model: null, policyFile: file },
    ...{ grants: { net: [], commands: [], secrets: [] }, approvals: 'prompt', deliver: 'branch', readOnly: false },
    ...{ limits: {}, record: true },
  };
  await within(async (system) => {
    const asked: string[] = [];
    const result = await executeRun(system, request, {
      ...nobody,
      ask: async ({ action }) => {
        asked.push(action);
        return !action.includes('/no');
      },
    });
    expect(asked, 'the push, three pages, and what was left uncommitted').toHaveLength(5);
    const verdict = await replay(system, result.runId);
    const answers = verdict.approvals.map(({ question, recorded, now }) => [
      question.replace(/.*\//, ''),
      recorded,
      now,
    ]);
    expect(answers).toEqual([
      ['<run>', 'approved', 'approved'],
      [expect.stringMatching(/^no/), 'denied', 'denied'],
      [expect.stringMatching(/^yes/), 'approved', 'approved'],
      [expect.stringMatching(/^drawn/), null, 'denied'],
      [expect.stringMatching(/^drawn/), 'approved', null],
      ['<run>', 'approved', null],
    ]);
    const places = verdict.divergences.map(({ class: kind, at }) => `${kind}: ${at}`);
    expect(places).toContainEqual(expect.stringMatching(/^recording missing: approval of .*drawn-/));
    expect(places.filter((place) => place.includes(': file '))).toEqual(['agent: file drawn.txt']);
  });
}, 180_000);

describe('--policy', () => {
  const KINDS = [
    ...['run.start', 'llm.request', 'secret.use', 'tool.call', 'command.execute', 'net.request'],
    ...['git.fetch', 'git.sign', 'git.push'],
  ];

  test('decides every kind of action again, each by itself; the policy of then changes nothing', async () => {
    const { runId } = await run(...everyKind());
    expect(JSON.stringify(upstream.heard.at(-1)?.body.messages), 'it has fetched').toContain('cloned');
    const runs = readdirSync(join(site.home, 'runs')).length;
    const under = async (more: string) => {
      const file = join(site.root, 'other.yaml');
      writeFileSync(file, policy(more));
      const { stdout, stderr, status } = await site.type('runs', 'replay', runId, '--policy', file, '--json').done;
      expect(stdout, stderr).not.toBe('');
      return { status, ...(JSON.parse(stdout) as { compared: number; changed: Record<string, string>[] }) };
    };
    const same = await under('');
    expect(same).toMatchObject({ status: 0, changed: [] });
    expect(same.compared).toBeGreaterThan(KINDS.length);
    for (const kind of KINDS) {
      const { status, changed } = await under(
        `rules: |\n  forbid (principal, action == Action::"${kind}", resource);\n`,
      );
      expect(status, kind).toBe(1);
      expect([...new Set(changed.map(({ action, before, after }) => `${action} ${before} ${after}`))], kind).toEqual([
        `${kind} permit deny`,
      ]);
      for (const { subject, reason } of changed) expect(subject && reason, kind).toBeTruthy();
    }
    const asks = await under('rules: |\n  @ask forbid (principal, action == Action::"git.push", resource);\n');
    expect(asks.changed).toMatchObject([{ action: 'git.push', before: 'permit', after: 'ask' }]);
    const listed = policy().replace('security: {', 'security: {allowed_commands: [/usr/bin/git, /usr/bin/dash], ');
    writeFileSync(join(site.root, 'listed.yaml'), listed);
    const fewer = await site.type('runs', 'replay', runId, '--policy', join(site.root, 'listed.yaml')).done;
    expect(fewer.stdout).toContain('command.execute of /usr/bin/perl: permit → deny');
    expect(fewer.stdout, 'git brings its own programs').not.toContain('git');
    const models = policy().replace('m-*', 'other-*');
    writeFileSync(join(site.root, 'models.yaml'), models);
    const told = await site.type('runs', 'replay', runId, '--policy', join(site.root, 'models.yaml')).done;
    expect(told.stdout).toMatch(/llm\.request .*m-1.*: permit → deny/);
    expect(readdirSync(join(site.home, 'runs')), 'nothing was run').toHaveLength(runs);
    expect(existsSync(join(site.home, 'runs', runId))).toBe(true);
  }, 240_000);
});
