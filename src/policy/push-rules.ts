import type { GitPushAction, PolicyAction } from './action.ts';
import type { Effect } from './decision.ts';
import { shown } from './parsed.ts';
import { compilePushDependencies } from './push-dependencies.ts';
import { cite, type Layer, moreThan, type RuleBook, valuesOf } from './rule.ts';

/** What a push holds: workflow files, binary files and how many files. */

/** The effect of a switch of `git.push` that no document sets. */
export const pushDefaults = {
  force: 'deny',
  delete: 'deny',
  tags: 'deny',
  secrets: 'deny',
  workflows: 'ask',
  binaries: 'permit',
} as const satisfies Record<string, Effect>;

export type PushSwitch = keyof typeof pushDefaults;

/** Files that a forge or a build server runs, with its own credentials, as soon as they are pushed. */
const WORKFLOW = new RegExp(
  [
    '^\\.(?:github|gitea|forgejo)/(?:workflows|actions)/.+',
    '^\\.(?:circleci|buildkite|woodpecker|teamcity|tekton|semaphore|gitlab/ci)/.+',
    '(?:^|/)(?:[^/]*\\.)?gitlab-ci\\.ya?ml',
    '(?:^|/)jenkinsfile(?:\\.[^/]+)?',
    '(?:^|/)(?:azure-pipelines|bitbucket-pipelines|cloudbuild|buildspec|\\.?appveyor)\\.ya?ml',
    '(?:^|/)\\.(?:travis|drone|woodpecker|cirrus)(?:\\.ya?ml|\\.star|\\.jsonnet)',
  ]
    .map((pattern) => `${pattern}$`)
    .join('|'),
);

/** Letter case and composition aside: other systems take the one for the other. */
export function isWorkflowFile(path: string): boolean {
  return WORKFLOW.test(path.normalize('NFKC').toLowerCase());
}

export function compilePushContent(layer: Layer, book: RuleBook): void {
  const ofPush = (find: (push: GitPushAction) => string | undefined) => (action: PolicyAction) =>
    (action.action === 'git.push' && find(action)) || false;
  contentSwitch(layer, book, 'workflows', ofPush(firstWorkflow), (path) => `${path} is run by a forge or build server`);
  contentSwitch(layer, book, 'binaries', ofPush(firstBinary), (path) => `${path} is a binary file`);
  compileFileCount(layer, book);
  compilePushDependencies(layer, book);
}

const firstWorkflow = (push: GitPushAction) => push.changedPaths.find(isWorkflowFile);
const firstBinary = (push: GitPushAction) => push.binaries?.[0];

function contentSwitch(
  layer: Layer,
  book: RuleBook,
  key: 'workflows' | 'binaries',
  test: (action: PolicyAction) => string | false,
  why: (path: string) => string,
): void {
  const set = valuesOf(layer).git?.push?.[key];
  const effect: Effect = set ?? pushDefaults[key];
  if (effect === 'permit') return;
  const rule = cite(layer, ['git', 'push', key], `git.push.${key}: ${effect}`, set !== undefined);
  book.pattern('git.push', { text: key, test });
  book.add(layer, {
    action: 'git.push',
    role: effect === 'ask' ? 'ask' : 'forbid',
    rule,
    remedy: `git: {push: {${key}: ask}}`,
    entries: [{ pattern: key, rule }],
    why: (_, path) => why(shown(path ?? '')),
  });
}

function compileFileCount(layer: Layer, book: RuleBook): void {
  const most = valuesOf(layer).git?.push?.max_changed_files;
  if (most === undefined) return;
  book.add(layer, {
    action: 'git.push',
    role: 'forbid',
    rule: cite(layer, ['git', 'push', 'max_changed_files'], `git.push.max_changed_files: ${most}`, true),
    when: moreThan('changedFiles', most),
    remedy: 'git: {push: {max_changed_files: MORE}}',
    why: (a) => `it changes ${(a as GitPushAction).changedPaths.length} files, more than ${most}`,
  });
}
