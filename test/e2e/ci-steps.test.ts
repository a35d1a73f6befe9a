/** The CI steps that docs/attestation.md gives, run as they stand there in a clone of a forge's repository. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type FakeForge, forgeRepository, forgeSettings, startForge } from '../fakes/forge.ts';
import { Installation } from '../fakes/project.ts';
import { GitFolder, userRepository } from '../fakes/push-scene.ts';

const root = join(import.meta.dirname, '../..');
const site = new Installation();
const served = join(site.root, 'served');
const bin = join(site.root, 'bin');
let forge: FakeForge;
let clone: GitFolder;
let base: string;
let branch: string;

/** What the documents hand to a shell, in their order, with the variables that each step sets. */
interface Step {
  readonly script: string;
  readonly env: Readonly<Record<string, string>>;
}

const blocks = [...readFileSync(join(root, 'docs/attestation.md'), 'utf8').matchAll(/```yaml\n(.*?)```/gs)].map(
  ([, text = '']) => parse(text),
);

beforeAll(async () => {
  mkdirSync(served);
  forge = await startForge(served);
  const settings = join(site.root, 'settings');
  site.env.XDG_CONFIG_HOME = settings;
  forgeSettings(settings, forge);
  const user = userRepository(join(site.root, 'user'));
  const bare = forgeRepository(served, 'acme/app.git', user);
  const run = async (script: string) => {
    const options = ['run', '--json', '--repo', forge.url('acme/app'), '--', 'sh', '-c', script];
    const { status, stderr, result } = await site.type(...options).done;
    expect({ status, stderr }).toMatchObject({ status: 0 });
    return result;
  };
  await run('echo first > first.txt'); // with it come the keys
  mkdirSync(join(user.dir, '.cordon'));
  expect(site.cordon('attest', 'key', '-o', join(user.dir, '.cordon/trust.json'))).toMatchObject({ status: 0 });
  base = user.commit('whom we trust');
  user.git('push', '-q', bare.dir, 'main');
  const result = await run('echo 3 >> README.md; git -c user.email=bot@agents.acme.example commit -qam three');
  branch = result.branch ?? '';
  new GitFolder(site.root).git('clone', '-q', bare.dir, 'clone');
  clone = new GitFolder(join(site.root, 'clone'));
  clone.git('checkout', '-q', '--detach', `origin/${branch}`);
  // `npx cordon …` of the package that is tested.
  mkdirSync(bin);
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\n[ "$1" = cordon ] && shift && exec ${root}/cordon "$@"\n`, {
    mode: 0o755,
  });
});
afterAll(async () => {
  await forge.close();
  site.dispose();
});

/** Ends at the first step that fails, as runners do. */
function runSteps(steps: readonly Step[], env: Record<string, string>): { status: number | null; text: string } {
  let text = '';
  for (const step of steps) {
    const set = { PATH: `${bin}:${process.env.PATH}`, HOME: '/nonexistent', ...env, ...step.env };
    const done = spawnSync('bash', ['-e', '-c', step.script], { cwd: clone.dir, env: set, encoding: 'utf8' });
    text += done.stdout + done.stderr;
    if (done.status !== 0) return { status: done.status, text };
  }
  return { status: 0, text };
}

function github(): { status: number | null; text: string } {
  const job = blocks.find((block) => block?.jobs?.authorised !== undefined)?.jobs.authorised;
  const values: Record<string, string> = { '${{ github.event.pull_request.base.sha }}': base };
  const steps: Step[] = job.steps
    .filter((step: { run?: string }) => step.run !== undefined)
    .map(({ run, env = {} }: { run: string; env?: Record<string, string> }) => ({
      script: run,
      env: Object.fromEntries(Object.entries(env).map(([name, text]) => [name, values[text] ?? text])),
    }));
  expect(steps.length).toBeGreaterThan(2);
  return runSteps(steps, {
    GITHUB_SERVER_URL: `https://${forge.host}`,
    GITHUB_REPOSITORY: 'acme/app',
    GITHUB_HEAD_REF: branch,
    RUNNER_TEMP: site.root,
  });
}

function gitlab(): { status: number | null; text: string } {
  const job = blocks.find((block) => block?.authorised !== undefined)?.authorised;
  expect(job.script.length).toBeGreaterThan(2);
  return runSteps(
    job.script.map((script: string) => ({ script, env: {} })),
    {
      CI_SERVER_HOST: forge.host,
      CI_PROJECT_PATH: 'acme/app',
      CI_MERGE_REQUEST_DIFF_BASE_SHA: base,
      CI_COMMIT_SHA: clone.git('rev-parse', 'HEAD'),
      CI_MERGE_REQUEST_SOURCE_BRANCH_NAME: branch,
    },
  );
}

describe.each([
  ['GitHub', github],
  ['GitLab', gitlab],
])('the step for %s', (_, step) => {
  test('passes the change of a run, and refuses what an agent put on top of it', () => {
    const tip = clone.git('rev-parse', 'HEAD');
    const passed = step();
    expect(passed).toMatchObject({ status: 0 });
    expect(passed.text).toContain(tip.slice(0, 12));
    clone.write('README.md', 'more\n');
    clone.git('-c', 'user.email=bot@agents.acme.example', 'add', '-A');
    const agent = { GIT_AUTHOR_EMAIL: 'bot@agents.acme.example', GIT_COMMITTER_EMAIL: 'bot@agents.acme.example' };
    const made = spawnSync('git', ['commit', '-qm', 'not a run'], {
      cwd: clone.dir,
      env: { PATH: process.env.PATH, HOME: '/nonexistent', GIT_AUTHOR_NAME: 'x', GIT_COMMITTER_NAME: 'x', ...agent },
    });
    expect(made.status).toBe(0);
    const refused = step();
    clone.git('checkout', '-q', '--detach', tip);
    expect(refused).toMatchObject({ status: 1, text: expect.stringContaining('is not proven') });
  });
});
