/** What a lost run's workspace is kept as, and how it comes back: judged by what a hostile guest left there. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { openContentStore } from '../../src/audit/content.ts';
import type { AuditEvent, ContentRef } from '../../src/audit/event.ts';
import { newRunId } from '../../src/base/ids.ts';
import { currentProcess } from '../../src/base/process-identity.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import type { RunRequest } from '../../src/runs/request.ts';
import { refuseDelivered } from '../../src/runs/resume.ts';
import { refuseTwice } from '../../src/runs/resume-once.ts';
import type { RunScope } from '../../src/runs/scope.ts';
import { WorkspaceKeeper } from '../../src/runs/workspace-keeper.ts';
import { type PackHead, unpacked } from '../../src/runs/workspace-pack.ts';
import { awayOf } from '../../src/runs/workspace-restore.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import type { WorkspaceEntry } from '../../src/sandbox/workspace-state.ts';
import type { RunRecord } from '../../src/store/index.ts';
import { userRepository } from '../fakes/push-scene.ts';

const root = mkdtempSync(join(tmpdir(), 'cordon-kept-'));
afterAll(() => rmSync(root, { recursive: true }));
const run = newRunId(Date.now());
const SECRET = 'correct-horse-battery-staple';

let state: WorkspaceEntry[];
beforeEach(() => {
  state = [];
});

function entry(path: string, kind: WorkspaceEntry['kind'], text = ''): WorkspaceEntry {
  const bytes = Buffer.from(text);
  const stamp = `${kind} ${text}`;
  const same = { replaces: false, mode: 0o644, mtime: 0, size: bytes.length, stamp };
  return { path: Buffer.from(path), kind, ...same, read: () => bytes };
}

test('a secret that a guest puts into a link or a name is in no pack, also when the name is gone again', async () => {
  const content = openContentStore({ dir: join(root, 'content'), keys: join(root, 'keys') });
  const redactor = new Redactor();
  redactor.add('KEY', SECRET);
  const refs: ContentRef[] = [];
  const append = async (event: { content?: ContentRef }) => {
    if (event.content !== undefined) refs.push(event.content);
    return { seq: 0 };
  };
  const scope = { run: { id: run, log: { append } }, system: { content }, redactor, warn() {} } as unknown as RunScope;
  const sandbox = { state: () => state } as unknown as Sandbox;
  const keeper = new WorkspaceKeeper(scope, sandbox, new AbortController().signal);
  state = [
    entry('plain', 'file', 'text'),
    entry('held', 'file', `it is ${SECRET}`),
    entry('link', 'symlink', `/${SECRET}`),
    entry(`in-${SECRET}`, 'directory'),
    entry(`in-${SECRET}/x`, 'file', 'x'),
  ];
  await keeper.keep();
  state = [entry('plain', 'file', 'text')];
  await keeper.keep();
  const packs = await Promise.all(
    refs.map(async (ref) => {
      const heads: PackHead[] = [];
      const all: Buffer[] = [];
      for await (const { head, bytes } of unpacked(content.read(run, ref))) {
        heads.push(head);
        all.push(Buffer.from(JSON.stringify(head)), bytes);
      }
      expect(Buffer.concat(all).toString()).not.toContain(SECRET);
      return heads.map(({ k, p }) => `${k} ${p}`);
    }),
  );
  expect(packs).toEqual([
    ['f plain', 'w held', 'w link', 'w in-[secret:KEY]', 'w in-[secret:KEY]/x'],
    ['x held', 'x link'],
  ]);
});

test('nothing is removed below a name that is a link or a file in the end, nor twice', () => {
  const head = (k: PackHead['k'], p: string, r = false): PackHead => ({ k, p, r, m: 0, t: 0, n: 0 });
  // The checkout has a link `d` of that name; the guest had a folder there for a while.
  expect(awayOf([head('l', 'd'), head('x', 'd/x'), head('f', 'e/f', true), head('d', 'e')])).toEqual(['e/f']);
  expect(awayOf([head('x', 'a'), head('x', 'a/b'), head('x', 'a/b/c'), head('x', 'ab')])).toEqual(['a', 'ab']);
});

test('whether a change was delivered is asked where the repository is, and no answer is none', async () => {
  const user = userRepository(join(root, 'user'));
  const tree = join(root, 'tree');
  user.git('worktree', 'add', '-q', '--detach', tree);
  const base = user.git('rev-parse', 'HEAD');
  const ref = 'refs/heads/cordon/lost';
  const forwarded = { type: 'git.forwarded', seq: 7, resource: { ref } } as unknown as AuditEvent;
  const record = { id: run, base } as RunRecord;
  const asked = (workspace: string) =>
    refuseDelivered(record, { workspace, repo: null, base, policyFile: null } as RunRequest, [forwarded]);
  await expect(asked(tree)).resolves.toBeUndefined();
  user.git('update-ref', ref, base);
  await expect(asked(user.dir)).rejects.toThrow('has delivered its change');
  await expect(asked(tree)).rejects.toThrow('has delivered its change');
  execFileSync('rm', ['-r', tree]);
  await expect(asked(tree)).rejects.toThrow();
});

test('of two that take the same work up at once, one at least gives way', async () => {
  const owner = currentProcess();
  const going = (id: string, more = {}) =>
    ({ id, created: 2, state: 'running', result: null, owner, request: { resumes: 'lost', ...more } }) as unknown;
  const asked = (own: string | null, ...runs: unknown[]) => {
    const store = { listRuns: async () => ({ runs, next: null }) };
    return refuseTwice({ home: root, store: store as never }, { id: 'lost', created: 1 }, own);
  };
  await expect(asked('one', going('one'))).resolves.toBeUndefined();
  await expect(asked('one', going('one'), going('two'))).rejects.toThrow('run lost goes on in run two');
  await expect(asked('two', going('one'), going('two'))).rejects.toThrow('run lost goes on in run one');
  await expect(asked('one', going('one'), going('again', { replayOf: 'one' }))).resolves.toBeUndefined();
});
