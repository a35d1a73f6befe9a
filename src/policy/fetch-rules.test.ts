import { describe, expect, test } from 'vitest';
import { compile, effectOf, failure, REPOSITORY } from './policy.fixture.ts';

const ref = (name: string) => `git.fetch ref=${name}`;

describe('git.fetch.refs', () => {
  test('nothing but the base unless a document names it', async () => {
    const policy = await compile();
    expect(effectOf(policy, 'git.fetch')).toBe('permit');
    expect(effectOf(policy, `${ref('refs/heads/main')} base`)).toBe('permit');
    expect(effectOf(policy, ref('refs/heads/main'))).toBe('deny');
    expect(policy.git.fetch.more).toBe(false);
  });

  test('an empty list is nothing', async () => {
    const policy = await compile('git: {fetch: {refs: []}}');
    expect(effectOf(policy, ref('refs/heads/main'))).toBe('deny');
    expect(effectOf(policy, 'git.fetch')).toBe('permit');
  });

  test.each([
    ['refs/heads/release/1', 'permit'],
    ['refs/heads/main', 'permit'],
    ['refs/heads/release', 'deny'],
    ['refs/heads/x/release/1', 'deny'],
    ['refs/tags/v1', 'permit'],
    ['refs/tags/release/1', 'deny'],
    ['refs/heads/refs/tags/v1', 'deny'],
    ['refs/notes/release/1', 'deny'],
  ])('%s: %s', async (name, effect) => {
    const policy = await compile('git: {fetch: {refs: ["release/**", main, "refs/tags/v*"]}}');
    expect(effectOf(policy, ref(name))).toBe(effect);
  });

  test('the organisation is the ceiling, a rule narrows', async () => {
    const organisation = 'git: {fetch: {refs: ["release/**"]}}';
    const policy = await compile('git: {fetch: {refs: ["hot/**", "release/**"]}}', organisation);
    expect(effectOf(policy, ref('refs/heads/release/1'))).toBe('permit');
    expect(effectOf(policy, ref('refs/heads/hot/1'))).toBe('deny');
    expect(effectOf(await compile('git: {fetch: {refs: ["hot/**"]}}', 'limits: {}'), ref('refs/heads/hot/1'))).toBe(
      'deny',
    );
    const forbid = 'forbid (principal, action == Action::"git.fetch", resource) when { context.ref like "*embargo*" };';
    const narrowed = await compile(`git: {fetch: {refs: ["release/**"]}}\nrules: |\n  ${forbid}`);
    expect(effectOf(narrowed, ref('refs/heads/release/embargo'))).toBe('deny');
    expect(effectOf(narrowed, ref('refs/heads/release/1'))).toBe('permit');
  });

  test.each([
    ['git: {fetch: {refs: ["release/**"]}}', ['hot/**', 'refs/tags/release/v*', 'release*']],
    [
      'git: {fetch: {refs: ["release/*", "refs/tags/v*"]}}',
      ['hot/**', 'refs/tags/release/v*', 'release/**', 'release*'],
    ],
    ['limits: {}', ['hot/**', 'release/1', 'refs/tags/release/v*', 'release/**', 'release*']],
  ])('with the organisation’s %s, what is above it is named with its line', async (organisation, above) => {
    const wanted = ['hot/**', 'release/1', 'refs/tags/release/v*', 'release/**', 'release*'];
    const lines = wanted.map((text) => `      - "${text}"`).join('\n');
    const { warnings } = await compile(`git:\n  fetch:\n    refs:\n${lines}`, organisation);
    expect(warnings.map(({ message }) => /^the ref pattern (\S+) is above/.exec(message)?.[1])).toEqual(above);
    expect(warnings.map(({ file }) => file)).toEqual(above.map(() => REPOSITORY));
    expect(warnings.map(({ line }) => line)).toEqual(above.map((text) => 5 + wanted.indexOf(text)));
  });

  test.each(['*', '**', 'refs/heads/**', 'refs/notes/**', 'refs/replace/x', 'refs/', '--upload-pack=x', 'a..b'])(
    '%s is refused',
    async (text) => {
      expect((await failure(compile(`git: {fetch: {refs: ["${text}"]}}`))).message).toMatch(/fetch|refs|branch|ref/);
    },
  );
});
