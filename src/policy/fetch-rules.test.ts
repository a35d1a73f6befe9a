import { describe, expect, test } from 'vitest';
import { compile, effectOf, failure } from './policy.fixture.ts';

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

  test.each(['*', '**', 'refs/heads/**', 'refs/notes/**', 'refs/replace/x', 'refs/', '--upload-pack=x', 'a..b'])(
    '%s is refused',
    async (text) => {
      expect((await failure(compile(`git: {fetch: {refs: ["${text}"]}}`))).message).toMatch(/fetch|refs|branch|ref/);
    },
  );
});
