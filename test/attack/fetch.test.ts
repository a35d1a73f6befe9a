/** A guest that asks the git gateway for what `git.fetch.refs` does not show: judged by the ids it got, whatever it says. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Installation, Project } from '../fakes/project.ts';

let site: Installation;
let user: Project;
/** Objects that no shown ref leads to. */
let hidden: Record<string, string>;
let release: string;

beforeAll(() => {
  site = new Installation();
  user = new Project(join(site.root, 'repository')).write('a.txt', 'one\n').commit('first');
  const policy = 'version: 1\ngit: {fetch: {refs: ["release/**", "refs/tags/v*"]}}\n';
  user.write('.cordon/policy.yaml', `${policy}rules: |\n${FORBID}`).commit('policy');
  const on = (branch: string, file: string) => {
    user.git('checkout', '-q', '-b', branch, 'main');
    user.write(file, `${branch}\n`).commit(branch);
    return user.git('rev-parse', 'HEAD');
  };
  release = on('release/1', 'release.txt');
  user.git('tag', '-a', '-m', 'one', 'v1', 'release/1');
  const secret = on('secret', 'secret.txt');
  const embargo = on('release/embargo', 'embargo.txt');
  const dangling = on('gone', 'gone.txt');
  user.git('tag', 'private', 'secret');
  user.git('update-ref', 'refs/notes/mine', secret);
  hidden = {
    'a hidden branch’s commit': secret,
    'its tree': user.git('rev-parse', `${secret}^{tree}`),
    'its file': user.git('rev-parse', `${secret}:secret.txt`),
    'a forbidden branch’s commit': embargo,
    'a dangling commit': dangling,
    'a dangling file': user.git('rev-parse', `${dangling}:gone.txt`),
    'a loose object of the user': execFileSync('git', ['hash-object', '-w', '--stdin'], {
      cwd: user.dir,
      input: 'stash\n',
      encoding: 'utf8',
    }).trim(),
  };
  user.git('checkout', '-q', 'main');
  user.git('branch', '-qD', 'gone');
});
afterAll(() => {
  expect(site.verify()).toEqual([]);
  site.dispose();
});

const FORBID = `  forbid (principal, action == Action::"git.fetch", resource) when { context.ref like "*embargo*" };\n`;
const ORIGIN = 'http://127.0.0.1:9418/origin';
const said = (script: string, ...options: string[]) => {
  const { status, stderr, result } = site.run(user, `${script}\ntrue`, ...options);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const lines = stderr.split('\n').flatMap((line) => /│ (.*)/.exec(line)?.[1] ?? []);
  return { lines, run: result.runId };
};

describe('the refs that a policy shows', () => {
  test('are listed and fetched, each a decision of its own, and no others', () => {
    const { lines, run } = said(
      `git ls-remote origin | cut -f2 | sed 's/^/ref: /'
      git fetch -q origin && git log -1 --format='got: %H' origin/release/1
      git fetch -q --tags origin && git cat-file -t v1
      git clone -q --mirror ${ORIGIN} /tmp/all`,
    );
    const refs = lines.flatMap((line) => /^ref: (.*)/.exec(line)?.[1] ?? []);
    expect(refs).toEqual(['HEAD', 'refs/heads/main', 'refs/heads/release/1', 'refs/tags/v1', 'refs/tags/v1^{}']);
    expect(lines).toEqual(expect.arrayContaining([`got: ${release}`, 'tag']));
    const fetched = site
      .cordon('audit', 'tail', '--json', '--no-follow', '--type', 'git.fetch', '-n', '100')
      .stdout.split('\n')
      .filter((line) => line.includes(run))
      .map((line) => JSON.parse(line));
    for (const { decision } of fetched) expect(decision.effect).toBe('permit');
    expect(fetched.map(({ resource }) => resource.ref)).toContain('refs/heads/release/1');
  });

  test('are in the record by their names, however they are asked for', () => {
    const tagged = user.git('rev-parse', 'v1');
    const ask = (id: string) =>
      `printf '0012command=fetch\\n00010032want ${id}\\n0009done\\n0000' | curl -s --noproxy '*' -H 'Git-Protocol: version=2' -H 'Content-Type: application/x-git-upload-pack-request' --data-binary @- ${ORIGIN}/git-upload-pack | tr -d '\\0' | grep -ac PACK`;
    const { lines, run } = said([release.toUpperCase(), tagged.toUpperCase()].map(ask).join('\n'));
    expect(lines).toEqual(['1', '1']);
    const fetched = site
      .cordon('audit', 'tail', '--json', '--no-follow', '--type', 'git.fetch', '-n', '100')
      .stdout.split('\n')
      .filter((line) => line.includes(run))
      .map((line) => JSON.parse(line).resource.ref);
    expect(fetched).toEqual(['refs/heads/release/1', 'refs/tags/v1']);
  });

  test.each(['0', '2'])('hidden, forbidden and dangling objects cannot be had by id, protocol %s', (version) => {
    const asks = Object.entries(hidden).map(
      ([, id]) => `git -c protocol.version=${version} fetch -q origin ${id} 2>/dev/null && echo GOT ${id}
        git cat-file -e ${id} 2>/dev/null && echo HAS ${id}`,
    );
    expect(
      said(`git init -q --bare /tmp/x; cd /tmp/x; git remote add origin ${ORIGIN}\n${asks.join('\n')}; echo end`).lines,
    ).toEqual(['end']);
  });

  test('nor by the lazy fetches of a partial clone, nor by a filter, nor by deepening', () => {
    const { lines } = said(
      `git clone -q --filter=blob:none --no-checkout ${ORIGIN} /tmp/part && cd /tmp/part && git cat-file -p origin/release/1:release.txt
      for id in ${Object.values(hidden).join(' ')}; do git cat-file -e $id 2>/dev/null && echo HAS $id; git rev-list -1 $id 2>/dev/null && echo LISTS $id; done
      git clone -q --depth=1 --no-single-branch ${ORIGIN} /tmp/deep && cd /tmp/deep && git fetch -q --unshallow --all
      for id in ${Object.values(hidden).join(' ')}; do git cat-file -e $id 2>/dev/null && echo HAS $id; done
      cd /workspace; for id in ${Object.values(hidden).join(' ')}; do git cat-file -e $id 2>/dev/null && echo HAS $id; done; echo end`,
    );
    expect(lines).toEqual(['release/1', 'end']);
  });

  test('nor by words of the protocol: want-ref, a ref by name, a cookie of another repository', () => {
    const { lines } = said(
      `for ref in secret release/embargo refs/notes/mine refs/tags/private refs/stash; do
        git fetch -q origin $ref 2>/dev/null && echo GOT $ref; done
      ask() { printf "$1" | curl -s --noproxy '*' -H 'Git-Protocol: version=2' -H 'Content-Type: application/x-git-upload-pack-request' --data-binary @- ${ORIGIN}/git-upload-pack | tr -d '\\0' | grep -ac PACK; }
      ask '0012command=fetch\\n0001001ewant-ref refs/heads/secret0009done\\n0000'
      ask '0014command=ls-refs\\n00010016ref-prefix refs/n0000'
      echo end`,
    );
    expect(lines).toEqual(['0', '0', 'end']);
  });

  test('are none but the base where nobody says', () => {
    const listed = (...options: string[]) =>
      said(`git ls-remote origin | cut -f2`, ...options).lines.filter((line) => line.startsWith('refs/'));
    user.write('bare.yaml', 'version: 1\n');
    expect(listed('--policy', join(user.dir, 'bare.yaml'))).toEqual(['refs/heads/main']);
  });
});
