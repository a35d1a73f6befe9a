/** Trust for stock git, as it is typed: handed out, revoked, rotated. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Installation, Project } from '../../test/fakes/project.ts';
import { gitEnv } from '../../test/fakes/push-scene.ts';

const site = new Installation();
afterAll(() => site.dispose());

test('the lines and the list make git believe a run, until it is revoked', () => {
  expect(site.cordon('attest', 'signers')).toMatchObject({ status: 2, stdout: '' });
  const user = new Project(join(site.root, 'repository')).write('a', 'one\n').commit('first');
  const { status, result, stderr } = site.run(user, 'echo two > a; git commit -qam two');
  expect({ status, stderr }).toMatchObject({ status: 0 });

  const [lines, list] = [join(site.root, 'signers'), join(site.root, 'krl')];
  const handOut = () => {
    const { stdout, stderr, status } = site.cordon('attest', 'signers', '--revoked', list);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    writeFileSync(lines, stdout);
    return stdout.trim().split('\n');
  };
  const good = () => {
    const config = ['-c', `gpg.ssh.allowedSignersFile=${lines}`, '-c', `gpg.ssh.revocationFile=${list}`];
    const args = ['-C', user.dir, ...config, 'verify-commit', result.branch as string];
    return spawnSync('git', args, { env: gitEnv }).status === 0;
  };
  expect(handOut()).toEqual([expect.stringMatching(/^\* cert-authority,namespaces="git" ssh-ed25519 \S+ cordon$/)]);
  expect(good()).toBe(true);

  expect(site.cordon('attest', 'rotate', '--authority', '--revoked-from', '1')).toMatchObject({ status: 2 });
  expect(site.cordon('attest', 'rotate', '--authority', '--overlap', '1h')).toMatchObject({ status: 0 });
  expect(handOut()).toHaveLength(2);
  expect(good()).toBe(true);

  expect(site.cordon('attest', 'revoke', result.runId)).toMatchObject({ status: 0 });
  expect(good()).toBe(true); // whoever has the old list does not know yet
  handOut();
  expect(existsSync(list)).toBe(true);
  expect(good()).toBe(false);
  const shown = JSON.parse(site.cordon('attest', 'signers', '--json').stdout) as { revoked: { run: string }[] };
  expect(shown.revoked).toMatchObject([{ run: result.runId }]);
  expect(site.verify()).toEqual([]);
});
