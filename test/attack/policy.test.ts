/** An agent that wants another policy than the one at its base commit. Judged by what arrives, and by the exit code. */
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { type Finished, Installation, Project } from '../fakes/project.ts';

const installation = new Installation();
afterAll(() => installation.dispose());

const POLICY = `version: 1
security:
  allowed_commands: [/bin/sh, /usr/bin/git, /usr/bin/cp, /usr/bin/ln, /usr/bin/chmod, /usr/bin/mkdir, /usr/bin/rm]
filesystem:
  protect: ["locked/**", ".cordon/**"]
git:
  push:
    branches: ["cordon/**"]
`;
const OPEN = 'version: 1\\ngit:\\n  push:\\n    branches: ["**"]\\n    force: permit\\n';

let project: Project;
let count = 0;

beforeEach(() => {
  project = new Project(join(installation.root, `project-${++count}`))
    .write('.cordon/policy.yaml', POLICY)
    .write('locked/file', 'as it was\n')
    .write('free/file', 'as it was\n')
    .commit();
});

const branches = () => project.git('for-each-ref', '--format=%(refname)', 'refs/heads', 'refs/tags').split('\n');
const run = (script: string): Finished => installation.run(project, script, '--approvals', 'deny');

test('the control: a change that the policy allows is delivered', () => {
  const { status, result } = run('echo changed > free/file');
  expect(status).toBe(0);
  expect(project.git('show', `${result.branch}:free/file`)).toBe('changed');
});

describe('the policy at the base stands', () => {
  const attacks: Record<string, string> = {
    'a protected file changed': 'echo pwned > locked/file',
    'the policy rewritten, then a protected file changed': `printf '${OPEN}' > .cordon/policy.yaml; echo pwned > locked/file`,
    'the policy rewritten and committed first, in a commit of its own': `printf '${OPEN}' > .cordon/policy.yaml; git -c user.name=a -c user.email=a@b.example commit -qam policy; echo pwned > locked/file; git -c user.name=a -c user.email=a@b.example commit -qam change`,
    'the policy removed': 'rm -r .cordon; echo pwned > locked/file',
    'the policy alone rewritten': `printf '${OPEN}' > .cordon/policy.yaml`,
    'the policy as a link to another file': `printf '${OPEN}' > free/open.yaml; rm .cordon/policy.yaml; ln -s ../free/open.yaml .cordon/policy.yaml`,
    'a protected file renamed away': 'mkdir free/locked; git mv locked/file free/locked/file',
    'a protected folder made a link': 'rm -r locked; ln -s free locked',
    'a protected name in other letters beside it': 'mkdir -p LOCKED; rm locked/file',
    'changed in one commit and back in the next':
      'c="git -c user.name=a -c user.email=a@b.example commit -qam x"; echo pwned > locked/file; $c; git show HEAD~:locked/file > locked/file; $c',
    'a replace reference that hides the change':
      'c="git -c user.name=a -c user.email=a@b.example commit -qam x"; echo pwned > locked/file; $c; git replace HEAD HEAD~',
  };
  for (const [name, script] of Object.entries(attacks)) {
    test(name, () => {
      const before = branches();
      const { status, result } = run(script);
      expect([3, 4], JSON.stringify(result)).toContain(status);
      expect(branches()).toEqual(before);
      expect(project.git('show', 'HEAD:locked/file')).toBe('as it was');
    });
  }

  test('a list of commands widened by the agent widens nothing', () => {
    const { status } = run(`printf 'version: 1\\n' > .cordon/policy.yaml; /usr/bin/seq 3 && exit 0; exit 9`);
    expect(status).toBe(1);
  });

  test('another branch than the allowed one, pushed from inside', () => {
    const before = branches();
    const author = '-c user.name=a -c user.email=a@b.example';
    run(
      `git ${author} commit -q --allow-empty -m x; for r in refs/heads/main refs/tags/v1 refs/replace/x refs/notes/n refs/heads/other; do git push -q -f origin HEAD:$r; done; git push -q origin :refs/heads/main; true`,
    );
    expect(branches().filter((name) => !name.startsWith('refs/heads/cordon/'))).toEqual(before);
  });

  test('hooks, configuration and programs planted in the repository run nowhere outside', () => {
    const canary = join(installation.root, `planted-${count}`);
    const plant = `touch ${canary}`;
    run(`mkdir -p .git/hooks .githooks; for h in pre-push post-commit post-checkout reference-transaction pre-receive update post-receive; do printf '#!/bin/sh\\n${plant}\\n' > .git/hooks/$h; chmod 755 .git/hooks/$h; done
      git config core.fsmonitor '${plant}'; git config core.sshCommand '${plant}'; git config core.pager '${plant}'; git config filter.x.smudge '${plant}'; git config filter.x.clean '${plant}'; git config uploadpack.packObjectsHook '${plant}'
      echo '* filter=x' > .gitattributes; echo changed > free/file`);
    project.git('status');
    expect(project.git('ls-files', '--others')).toBe('');
    expect(() => project.git('rev-parse', '--verify', '-q', canary)).toThrow();
    expect(installation.cordon('runs', 'list', '--json').status).toBe(0);
    expect(existsSync(canary)).toBe(false);
  });
});

test('a link in the place of the policy at the base is not followed', () => {
  const elsewhere = join(installation.root, 'elsewhere.yaml');
  const linked = new Project(join(installation.root, `linked-${count}`))
    .write('a', 'x\n')
    .write('.cordon/other.yaml', 'version: 1\n');
  symlinkSync(elsewhere, join(linked.dir, '.cordon/policy.yaml'));
  linked.commit();
  const { status, stderr } = installation.run(linked, 'true');
  expect({ status, stderr }).toMatchObject({ status: 2 });
});

test('a policy in the working tree that is not committed says nothing', () => {
  project.write('.cordon/policy.yaml', 'version: 1\n');
  const { status } = run('echo pwned > locked/file');
  expect([3, 4]).toContain(status);
});
