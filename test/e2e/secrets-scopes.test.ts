import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { composeSystem } from '../../src/compose.ts';
import { executeRun } from '../../src/runs/pipeline.ts';
import type { RunRequest, RunResult } from '../../src/runs/request.ts';
import { Installation, Project } from '../fakes/project.ts';

const site = new Installation();
let number = 0;
afterAll(() => site.dispose());

function set(name: string, ...scopes: string[]): string {
  return site.keep(name, `the-value-of-${name}-4711`, ...scopes);
}

function project(policy: string): Project {
  const made = new Project(join(site.root, `repository-${++number}`));
  return made.write('.cordon/policy.yaml', `version: 1\n${policy}`).commit('first');
}

const HEADER = 'use: {host: packages.acme.example, header: "Authorization: Bearer {}"}';
const ENV = 'use: {env: OPEN}';

describe('scopes of a secret', () => {
  test.each([
    ['its repository', ['--repository', '**/repository-*'], HEADER],
    ['its agent', ['--agent', 'comm*'], HEADER],
    ['its host', ['--host', '*.acme.example'], HEADER],
    [
      'all of them',
      ['--repository', '**/repository-*', '--agent', 'command', '--host', 'packages.acme.example'],
      HEADER,
    ],
    ['no scope', [], ENV],
  ])('within %s it is lent', (_, scopes, use) => {
    set('SCOPED', '--anywhere', ...scopes);
    const run = site.run(project(`secrets: [{name: SCOPED, ${use}}]\n`), 'env');
    expect(run.status, run.stderr).toBe(0);
    expect(site.events(run.result.runId).filter(({ type }) => type === 'secret.granted')).toHaveLength(1);
  });

  test.each([
    ['repository', ['--repository', 'srv/**'], HEADER, 'is not for the repository '],
    ['agent', ['--agent', 'claude-*'], HEADER, 'is not for the agent command'],
    ['host', ['--host', 'other.acme.example'], HEADER, 'is not for the host packages.acme.example'],
    ['host, and a use inside', ['--host', 'packages.acme.example'], ENV, 'is not for use inside the sandbox'],
    ['workflow', ['--workflow', 'nightly'], HEADER, 'is not for a run of no workflow'],
    ['environment', ['--environment', 'production'], HEADER, 'is not for a run of no environment'],
  ])('of another %s it is not, and the agent does not start', (kind, scopes, use, why) => {
    const said = set('SCOPED', '--anywhere', ...scopes);
    expect(said.includes('no run has it')).toBe(/^(workflow|environment)$/.test(kind));
    const run = site.run(project(`secrets: [{name: SCOPED, ${use}}]\n`), 'echo started');
    expect(run.status).toBe(3);
    expect(run.result.stopReason).toContain(why);
    expect(run.stderr).not.toContain('│ started');
    const seen = site.events(run.result.runId);
    expect(seen.find(({ type }) => type === 'secret.refused')?.resource.reason).toContain(why);
    expect(seen.some(({ type }) => type === 'secret.granted' || type === 'secret.used')).toBe(false);
    expect(site.cordon('runs', 'show', run.result.runId).stdout).toMatch(/credentials +SCOPED \(refused\)/);
  });
});

describe('the policy', () => {
  beforeAll(() => void set('FREE'));

  test('a rule that forbids the use stands above the list', () => {
    const run = site.run(
      project(`secrets: [{name: FREE, ${ENV}}]
rules: |
  forbid (principal, action == Action::"secret.use", resource) when { context.host == "sandbox" };
`),
      'echo started',
    );
    expect(run.status).toBe(3);
    expect(run.result.stopReason).toContain('FREE is not lent');
    expect(site.events(run.result.runId).find(({ type }) => type === 'secret.refused')?.decision?.effect).toBe('deny');
    expect(site.cordon('runs', 'show', run.result.runId).stdout).toMatch(/✗ secret\.use FREE for the sandbox as OPEN/);
  });

  test('a use that it asks about is not had where nobody answers', () => {
    const run = site.run(
      project(`secrets: [{name: FREE, ${ENV}}]\napprovals: [{when: secret.use, approvers: ["role:security"]}]\n`),
      'echo started',
      '--approvals',
      'deny',
    );
    expect(run.status).toBe(4);
    expect(run.stderr).not.toContain('│ started');
    expect(site.events(run.result.runId).filter(({ type }) => type.startsWith('approval.'))).toHaveLength(2);
  });

  test('what is in no document is not lent, though it was asked for', () => {
    const run = site.run(project('{}\n'.replace('{}', '')), 'true', '--secret', 'FREE');
    expect(run.status).toBe(3);
    expect(run.stdout).toContain('no document says where FREE may be used');
  });

  test('two for one place are an error, not a guess', () => {
    set('OTHER');
    for (const use of [HEADER, ENV, 'use: {file: /run/secrets/a}']) {
      const run = site.run(project(`secrets:\n  - {name: FREE, ${use}}\n  - {name: OTHER, ${use}}\n`), 'echo started');
      expect(run.status, run.stdout).not.toBe(0);
      expect(run.result.stopReason).toContain('FREE and OTHER would both stand in');
    }
  });
});

describe('under an organisation', () => {
  beforeAll(() => {
    set('LENT');
    set('OWN');
  });

  /** The organisation's file has one fixed place, which is this machine's and not the test's: it is given straight to the run. */
  async function run(organisation: string, repository: Project, secrets: string[]): Promise<RunResult> {
    const system = await composeSystem({ home: site.home });
    const request: RunRequest = {
      requester: { id: 'user:ann', kind: 'user' },
      workspace: repository.dir,
      repo: null,
      base: 'HEAD',
      branch: null,
      paths: [],
      agent: { kind: 'command', argv: ['true'] },
      task: null,
      model: null,
      policyFile: null,
      grants: { net: [], commands: [], secrets },
      approvals: 'deny',
      deliver: 'none',
      readOnly: true,
      limits: {},
      record: false,
    };
    const io = { signal: new AbortController().signal, onProgress: () => {}, notes: false, onOutput: () => {} };
    try {
      const ceiling = { file: '/etc/cordon/policy.yaml', text: `version: 1\n${organisation}` };
      return await executeRun({ ...system, organisation: ceiling }, request, io);
    } finally {
      await system.close();
    }
  }

  const names = ({ credentials }: RunResult) => credentials.map(({ name }) => name);
  const lends = `secrets: [{name: LENT, ${HEADER}}]\n`;

  test('what it names and lets requesters ask for is lent to who asks, and to nobody else', async () => {
    const may = `${lends}requests: {may_grant: [secrets]}\n`;
    expect(names(await run(may, project(''), ['LENT']))).toEqual(['LENT']);
    expect(names(await run(may, project(''), []))).toEqual([]);
  });

  test('what requesters may not ask for, or it does not name, is refused', async () => {
    await expect(run(lends, project(''), ['LENT'])).rejects.toMatchObject({ exitCode: 3 });
    await expect(run(`${lends}requests: {may_grant: [secrets]}\n`, project(''), ['OWN'])).rejects.toMatchObject({
      exitCode: 3,
    });
  });

  test('a repository’s document lends only what the organisation names, in that way', async () => {
    expect(names(await run(lends, project(lends), []))).toEqual(['LENT']);
    for (const above of [`{name: OWN, ${HEADER}}`, `{name: LENT, ${ENV}}`]) {
      const { status, credentials } = await run(lends, project(`secrets: [${above}]\n`), []);
      expect([status, credentials]).toEqual(['denied', []]);
    }
  });
});
