/**
 * What a hostile agent can put into a push. Every case first pushes an honest commit, which must be received, inspected
 * without a refusal and lead on to a delivery; then it tries its attack on top of that, which must be stopped: by git's
 * own fsck at the door, or by a finding that refuses.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PushInspection } from '../../src/gateways/git/checks.ts';
import { deliverBranch } from '../../src/runs/deliver.ts';
import { branch, type GitFolder, pushScene, type Scene } from '../fakes/push-scene.ts';

let scene: Scene;

const refusals = (inspection: PushInspection) => inspection.findings.filter((finding) => finding.severity === 'refuse');

beforeEach(async () => {
  scene = await pushScene({ depth: 2, maxPack: 64 * 1024 * 1024 });
  scene.guest.write('src/app.js', 'console.log(2);\n');
  scene.guest.commit('honest');
  expect(await scene.push()).toMatchObject({ ok: true });
  const inspection = await scene.inspect();
  expect(inspection.findings).toEqual([]);
  expect(inspection.facts).toMatchObject({ changedPaths: ['src/app.js'], changedLines: 2, commits: 1, kind: 'create' });
});
afterEach(() => scene.close());

describe('what git itself refuses at the door', () => {
  const blob = (guest: GitFolder) => guest.object('blob', 'x\n');
  const trees: Record<string, (guest: GitFolder) => string> = {
    '.git as a file': (guest) => guest.rawTree([['100644', '.git', blob(guest)]]),
    '.GIT as a folder with a hook': (guest) =>
      guest.rawTree([
        [
          '40000',
          '.GIT',
          guest.rawTree([['40000', 'hooks', guest.rawTree([['100755', 'post-checkout', blob(guest)]])]]),
        ],
      ]),
    '.git with an invisible character (HFS+)': (guest) => guest.rawTree([['100644', '.g\u200cit', blob(guest)]]),
    'git~1, the short name on NTFS': (guest) => guest.rawTree([['100644', 'git~1', blob(guest)]]),
    'a folder ..': (guest) => guest.rawTree([['40000', '..', guest.rawTree([['100644', 'x', blob(guest)]])]]),
    'a name with a slash': (guest) => guest.rawTree([['100644', '../../x', blob(guest)]]),
    'one name twice': (guest) =>
      guest.rawTree([
        ['100644', 'a', blob(guest)],
        ['100644', 'a', guest.object('blob', 'y')],
      ]),
    'a mode with a leading zero': (guest) => guest.rawTree([['0100644', 'a', blob(guest)]]),
    'an odd mode': (guest) => guest.rawTree([['100666', 'a', blob(guest)]]),
    '.gitmodules as a link': (guest) => guest.rawTree([['120000', '.gitmodules', blob(guest)]]),
    'a submodule address that is an option': (guest) =>
      guest.rawTree([
        [
          '100644',
          '.gitmodules',
          guest.object('blob', '[submodule "a"]\n\tpath = a\n\turl = --upload-pack=touch /tmp/x\n'),
        ],
      ]),
    'a submodule named ..': (guest) =>
      guest.rawTree([
        [
          '100644',
          '.gitmodules',
          guest.object('blob', '[submodule "../../x"]\n\tpath = a\n\turl = https://acme.example/a\n'),
        ],
      ]),
  };

  test.each(Object.keys(trees))('%s', async (name) => {
    scene.guest.commitTree((trees[name] as (guest: GitFolder) => string)(scene.guest));
    const before = await scene.quarantine.head(`refs/heads/${branch}`);
    const pushed = await scene.push();
    expect(pushed.ok).toBe(false);
    expect(await scene.quarantine.head(`refs/heads/${branch}`)).toBe(before);
  });

  test('a commit with two authors', async () => {
    const raw = scene.guest.bytes(['cat-file', 'commit', 'HEAD']).toString();
    const forged = scene.guest.object(
      'commit',
      raw.replace(/^author .*$/m, 'author A <a@x> 1 +0000\nauthor B <b@x> 1 +0000'),
    );
    scene.guest.git('update-ref', 'HEAD', forged);
    expect((await scene.push()).ok).toBe(false);
  });

  test('a history cut shorter than it was handed out', async () => {
    scene.guest.write('.git/shallow', `${scene.guest.git('rev-parse', 'HEAD')}\n`);
    scene.guest.commit('on top of a cut');
    expect((await scene.push()).ok).toBe(false);
  });

  test('a pack above the size limit', async () => {
    scene.guest.write('noise', randomBytes(66 * 1024 * 1024));
    scene.guest.commit('noise');
    expect((await scene.push()).ok).toBe(false);
  });
});

describe('what the inspection refuses', () => {
  const file = (guest: GitFolder) => guest.object('blob', 'x\n');
  const withEntry = (guest: GitFolder, mode: string, name: string | Buffer, oid: string) => {
    const root = guest
      .git('ls-tree', 'HEAD')
      .split('\n')
      .map((line) => /^0?(\d+) \w+ (\w+)\t(.*)$/.exec(line) ?? []);
    const entries = root.map(([, m, o, n]) => [m, n, o] as [string, string | Buffer, string]);
    const sortName = ([m, n]: readonly [string, string | Buffer, string]) =>
      Buffer.from(`${n.toString('latin1')}${m === '40000' ? '/' : ''}`, 'latin1');
    return guest.rawTree(
      [...entries, [mode, name, oid] as [string, string | Buffer, string]].sort((a, b) =>
        Buffer.compare(sortName(a), sortName(b)),
      ),
    );
  };
  const link = (guest: GitFolder, path: string, target: string) => {
    guest.git('update-index', '--add', '--cacheinfo', `120000,${guest.object('blob', target)},${path}`);
    guest.commitTree(guest.git('write-tree'));
  };

  const attacks: Record<string, { act: (guest: GitFolder) => void; why: RegExp }> = {
    'a link to an absolute path': { act: (guest) => link(guest, 'a', '/etc/passwd'), why: /absolute/ },
    'a link out of the repository': {
      act: (guest) => link(guest, 'docs/a', '../../secret'),
      why: /leaves the repository/,
    },
    'a link out of the repository on Windows': {
      act: (guest) => link(guest, 'a', '..\\..\\secret'),
      why: /leaves the repository/,
    },
    "a link into git's folder": { act: (guest) => link(guest, 'hooks', '.git/hooks'), why: /git's own folder/ },
    "a link into git's folder by another spelling": {
      act: (guest) => link(guest, 'hooks', './.GIT/hooks'),
      why: /git's own folder/,
    },
    'two links that leave together': {
      act: (guest) => {
        link(guest, 'src/lib/top', '../..');
        link(guest, 'out', 'src/lib/top/../secret');
      },
      why: /down and up again/,
    },
    'a link that was there for one commit only': {
      act: (guest) => {
        link(guest, 'a', '/etc/passwd');
        guest.git('rm', '-q', '--cached', 'a');
        guest.commitTree(guest.git('write-tree'));
      },
      why: /absolute/,
    },
    'a submodule link': {
      act: (guest) => guest.commitTree(withEntry(guest, '160000', 'vendor', guest.git('rev-parse', 'HEAD'))),
      why: /submodule link/,
    },
    'a well-formed .gitmodules': {
      act: (guest) => {
        guest.write('.gitmodules', '[submodule "a"]\n\tpath = a\n\turl = https://evil.example/a\n');
        guest.commit('modules');
      },
      why: /fetches from the addresses/,
    },
    'a name with a newline': {
      act: (guest) => guest.commitTree(withEntry(guest, '100644', 'z\nz', file(guest))),
      why: /control character/,
    },
    'a name with an escape sequence': {
      act: (guest) => guest.commitTree(withEntry(guest, '100644', 'z\x1b[2J', file(guest))),
      why: /control character/,
    },
    'a name that is not UTF-8': {
      act: (guest) => guest.commitTree(withEntry(guest, '100644', Buffer.from('z\xff', 'latin1'), file(guest))),
      why: /not UTF-8/,
    },
    'a name that reads right to left': {
      act: (guest) => guest.commitTree(withEntry(guest, '100644', 'z\u202egpj.exe', file(guest))),
      why: /invisible/,
    },
    'a link and a folder that are one name on macOS, which knows the long s': {
      act: (guest) => {
        link(guest, 'hook\u017f', 'docs');
        guest.git('update-index', '--add', '--cacheinfo', `100755,${file(guest)},hooks/post-checkout`);
        guest.commitTree(guest.git('write-tree'));
      },
      why: /one name on other systems/,
    },
    'a link and a folder that are one name on macOS': {
      act: (guest) => {
        link(guest, 'A', 'docs');
        guest.git('update-index', '--add', '--cacheinfo', `100755,${file(guest)},a/post-checkout`);
        guest.commitTree(guest.git('write-tree'));
      },
      why: /one name on other systems/,
    },
    'an unrelated history merged in': {
      act: (guest) => {
        const root = guest.git('commit-tree', guest.git('rev-parse', 'HEAD^{tree}'), '-m', 'root');
        guest.commitTree(guest.git('rev-parse', 'HEAD^{tree}'), [guest.git('rev-parse', 'HEAD'), root]);
      },
      why: /history of its own/,
    },
    'a branch without the base': {
      act: (guest) => {
        guest.git('reset', '-q', '--soft', `${scene.checkout.base}^`);
        guest.commit('beside the base');
      },
      why: /does not contain the base/,
    },
    'an author with a control character': {
      act: (guest) => {
        const raw = guest.bytes(['cat-file', 'commit', 'HEAD']).toString();
        guest.git('update-ref', 'HEAD', guest.object('commit', raw.replace(/^author Agent/m, 'author A\x1b[8mgent')));
      },
      why: /control characters/,
    },
    'an 800-byte pack of 10^10 paths': {
      act: (guest) => {
        let tree = guest.rawTree(Array.from({ length: 10 }, (_, i) => ['100644', `f${i}`, file(guest)]));
        for (let level = 0; level < 9; level++) {
          const below = tree;
          tree = guest.rawTree(Array.from({ length: 10 }, (_, i) => ['40000', `d${i}`, below]));
        }
        guest.commitTree(withEntry(guest, '40000', 'zz', tree));
      },
      why: /more than 100000 changed paths/,
    },
    'folders 5,000 deep': {
      act: (guest) => {
        let raw = guest.rawTree([['100644', 'f', file(guest)]]);
        for (let level = 0; level < 300; level++) raw = guest.rawTree([['40000', 'd', raw]]);
        guest.commitTree(withEntry(guest, '40000', 'zz', raw));
      },
      why: /deep/,
    },
    '300 MB of zeros in a small pack': {
      act: (guest) => {
        guest.write('zeros', Buffer.alloc(300 * 1024 * 1024));
        guest.commit('zeros');
      },
      why: /one blob of 300 MiB/,
    },
  };

  test.each(Object.keys(attacks))('%s', async (name) => {
    const { act, why } = attacks[name] as { act: (guest: GitFolder) => void; why: RegExp };
    act(scene.guest);
    expect(await scene.push()).toMatchObject({ ok: true });
    const found = refusals(await scene.inspect());
    expect(found.map((finding) => finding.message).join('\n')).toMatch(why);
    expect(found.every((finding) => !/\p{Cc}/u.test(`${finding.path}${finding.message}`))).toBe(true);
  });

  test('lines behind a NUL byte are counted', async () => {
    scene.guest.write('data', `\0${'line\n'.repeat(5000)}`);
    scene.guest.write('.gitattributes', '* -diff binary\n');
    scene.guest.commit('hidden lines');
    expect((await scene.push()).ok).toBe(true);
    expect((await scene.inspect()).facts?.changedLines).toBeGreaterThan(5000);
  });

  test('a path changed and changed back is still reported', async () => {
    scene.guest.write('.github/workflows/ci.yml', 'on: push\n');
    scene.guest.commit('in');
    scene.guest.git('rm', '-q', '.github/workflows/ci.yml');
    scene.guest.commit('out');
    expect((await scene.push()).ok).toBe(true);
    expect((await scene.inspect()).facts?.changedPaths).toEqual(['.github/workflows/ci.yml', 'src/app.js']);
  });

  test('a rename shows both of its paths', async () => {
    scene.guest.git('mv', 'docs/guide.md', 'docs/moved.md');
    scene.guest.commit('move');
    expect((await scene.push()).ok).toBe(true);
    expect((await scene.inspect()).facts?.changedPaths).toEqual(['docs/guide.md', 'docs/moved.md', 'src/app.js']);
  });

  test('a credential in an intermediate commit is seen', async () => {
    scene.guest.write('key', `AKIA${'ABCDEFGH'.repeat(2)}\n`);
    scene.guest.commit('in');
    scene.guest.git('rm', '-q', 'key');
    scene.guest.commit('out');
    expect((await scene.push()).ok).toBe(true);
    expect((await scene.inspect()).facts?.secrets).toBe(true);
  });

  test('a merge that undoes the base without a difference to its first parent', async () => {
    const { guest, checkout } = scene;
    const old = guest.git('rev-parse', `${checkout.base}^`);
    guest.commitTree(guest.git('rev-parse', `${old}^{tree}`), [old, guest.git('rev-parse', 'HEAD')]);
    expect((await scene.push()).ok).toBe(true);
    const { facts } = await scene.inspect();
    expect(facts?.changedPaths).toEqual(['README.md', 'bin/run', 'src/app.js']);
    expect(facts?.changedLines).toBeGreaterThanOrEqual(2);
  });

  test('a credential in a header that nobody shows is seen, with its commit', async () => {
    const raw = scene.guest.bytes(['cat-file', 'commit', 'HEAD']).toString();
    const head = scene.guest.object('commit', raw.replace('\n\n', `\nnote AKIA${'ABCDEFGH'.repeat(2)}\n\n`));
    scene.guest.git('update-ref', 'HEAD', head);
    expect((await scene.push()).ok).toBe(true);
    const { facts, findings } = await scene.inspect();
    expect(facts?.secrets).toBe(true);
    expect(findings).toContainEqual(expect.objectContaining({ commit: head, severity: 'evidence' }));
  });

  test('a binary file is named, wherever its content comes from', async () => {
    scene.guest.write('assets/logo', Buffer.from([1, 0, 2]));
    scene.guest.commit('binary');
    scene.guest.write('copy', Buffer.from([1, 0, 2]));
    scene.guest.commit('again');
    expect((await scene.push()).ok).toBe(true);
    expect((await scene.inspect()).facts?.binaries).toEqual(['assets/logo', 'copy']);
  });
});

describe('what never leaves the quarantine', () => {
  test.each(['refs/replace/', 'refs/notes/', 'refs/pull/1/', 'refs/cordon/', 'refs/tags/'])(
    'a ref under %s',
    async (space) => {
      const pushed = await scene.push(`+HEAD:${space}${scene.checkout.base.slice(0, 12)}x`);
      expect(pushed.ok).toBe(false);
      expect(
        scene.guest.git('--git-dir', scene.quarantine.place.gitDir, 'for-each-ref', '--format=%(refname)').split('\n'),
      ).toEqual([`refs/heads/${branch}`, 'refs/heads/main']);
    },
  );

  test('the base branch cannot be moved or deleted', async () => {
    expect((await scene.push('+HEAD:refs/heads/main')).ok).toBe(false);
    expect((await scene.push(':refs/heads/main')).ok).toBe(false);
    expect(await scene.quarantine.head('refs/heads/main')).toBe(scene.checkout.base);
  });

  test('a hook or a setting that the guest plants in its clone changes nothing on the way to the user', async () => {
    scene.guest.write('.git/hooks/pre-push', '#!/bin/sh\nexit 0\n', 0o755);
    scene.guest.git('config', 'core.fsmonitor', 'touch /tmp/owned');
    scene.guest.write('docs/guide.md', 'changed\n');
    const before = scene.user.bytes(['config', '--local', '--list']).toString();
    scene.guest.git('-c', 'core.fsmonitor=false', 'commit', '-qam', 'two');
    expect((await scene.push()).ok).toBe(true);
    const head = (await scene.quarantine.head(`refs/heads/${branch}`)) as string;
    await deliverBranch({ repository: scene.repository, quarantine: scene.quarantine, head, branch });
    expect(scene.user.git('rev-parse', branch)).toBe(head);
    expect(scene.user.bytes(['config', '--local', '--list']).toString()).toBe(before);
  });

  test('an object of the user that the run may not see cannot be fetched by its id', async () => {
    // depth 2: the first commit is not part of the view, though the user has it and the guest knows its id.
    const hidden = scene.user.git('rev-parse', 'HEAD~2');
    for (const version of ['0', '2']) {
      const fetched = await scene.guest.tryGit('-c', `protocol.version=${version}`, 'fetch', 'origin', hidden);
      expect(fetched.ok).toBe(false);
    }
    expect((await scene.guest.tryGit('fetch', 'origin', scene.checkout.base)).ok).toBe(true);
  });
});
