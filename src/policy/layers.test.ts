import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PolicyAction } from './action.ts';
import { decide } from './decide.ts';
import { compile } from './policy.fixture.ts';

/**
 * The one law of layers, over documents nobody thought of: under a ceiling nothing is answered more freely than the
 * repository's document alone would, or than the organisation's alone would if a repository could grant all of it.
 */
const effect = fc.constantFrom('deny', 'ask', 'permit');
const hosts = fc.subarray([
  'a.acme.example',
  '"*.acme.example"',
  'b.example',
  '{host: a.acme.example, methods: [GET]}',
]);
const branches = fc.subarray(['"cordon/**"', '"cordon/a-*"', 'main']);
const globs = fc.subarray(['"src/**"', 'docs', '"**/*.md"'], { minLength: 1 });
const rule = fc.constantFrom(
  'permit (principal, action, resource);',
  'forbid (principal, action == Action::"git.push", resource) when { context.changedLines > 5 };',
  '@ask permit (principal, action == Action::"net.connect", resource) when { context.port == 443 };',
  '@ask forbid (principal, action == Action::"git.push", resource) when { context.commits > 1 };',
  'permit (principal, action == Action::"net.connect", resource) when { context.port * 9007199254740991 * 9007199254740991 > 0 };',
);
const option = <T>(key: string, value: fc.Arbitrary<T>, text: (value: T) => string) =>
  fc.option(value, { nil: undefined }).map((some) => (some === undefined ? [] : [`${key}: ${text(some)}`]));
const listed = (items: readonly string[]) => `[${items.join(', ')}]`;
const inBraces = (parts: readonly string[][]) => `{${parts.flat().join(', ')}}`;

const document = fc
  .tuple(
    option('security', option('allowed_network_hosts', hosts, listed), (part) => inBraces([part])),
    option('filesystem', fc.tuple(option('write', globs, listed), option('protect', globs, listed)), inBraces),
    option(
      'git',
      fc.tuple(
        option('branches', branches, listed),
        option('force', effect, String),
        option('tags', effect, String),
        option('secrets', effect, String),
        option('max_changed_lines', fc.integer({ min: 1, max: 10 }), String),
      ),
      (push) => `{push: ${inBraces(push)}}`,
    ),
    option('rules', fc.array(rule, { minLength: 1, maxLength: 2 }), (lines) => `|\n  ${lines.join('\n  ')}`),
  )
  .map((sections) => sections.flat().join('\n'));

const push = fc
  .record({
    ref: fc.constantFrom(
      'refs/heads/cordon/a-1',
      'refs/heads/cordon/x',
      'refs/heads/main',
      'refs/tags/v1',
      'refs/notes/x/y',
    ),
    kind: fc.constantFrom('create', 'update', 'force', 'delete'),
    changedPaths: fc.subarray(['src/a.ts', 'docs/b.md', 'c.md', '.cordon/policy.yaml']),
    changedLines: fc.integer({ min: 0, max: 12 }),
    commits: fc.integer({ min: 1, max: 2 }),
    secrets: fc.boolean(),
  })
  .map(
    (facts): PolicyAction =>
      ({
        action: 'git.push',
        repository: 'r',
        tag: facts.ref.startsWith('refs/tags/'),
        largestFile: 0,
        authors: [],
        signed: false,
        ...facts,
      }) as PolicyAction,
  );
const connect = fc.record({
  action: fc.constant('net.connect'),
  host: fc.constantFrom('a.acme.example', 'z.acme.example', 'b.example'),
  port: fc.constantFrom(443, 80),
});
const request = fc.record({
  action: fc.constant('net.request'),
  host: fc.constantFrom('a.acme.example', 'b.example'),
  port: fc.constant(443),
  method: fc.constantFrom('GET', 'POST'),
  path: fc.constant('/x'),
});
const write = fc.record({ action: fc.constant('file.write'), path: fc.constantFrom('src/a.ts', 'docs/b.md', 'c.md') });
const actions = fc.array(fc.oneof(push, connect, request, write) as fc.Arbitrary<PolicyAction>, {
  minLength: 10,
  maxLength: 20,
});

const ORDER = { deny: 0, ask: 1, permit: 2 };

test('nothing goes above the ceiling, no deny or ask is lost, and what both permit is permitted', async () => {
  let permitted = 0;
  await fc.assert(
    fc.asyncProperty(document, document, actions, async (organisation, repository, list) => {
      const both = await compile(repository, organisation);
      const alone = [await compile(repository), await compile(organisation)];
      for (const action of list) {
        const { effect } = decide(both, action);
        const apart = alone.map((policy) => ORDER[decide(policy, action).effect]);
        expect(ORDER[effect]).toBeLessThanOrEqual(Math.min(...apart));
        if (apart.every((order) => order === ORDER.permit)) expect(effect).toBe('permit');
        if (effect === 'permit') permitted++;
      }
    }),
    { numRuns: 40 },
  );
  expect(permitted).toBeGreaterThan(0);
});
