import { describe, expect, test } from 'vitest';
import { DocumentError } from '../base/errors.ts';
import { compile, decideLine, effectOf, failure } from './policy.fixture.ts';

const rules = (...lines: string[]) => `rules: |\n${lines.map((line) => `  ${line}`).join('\n')}`;
const PUSH = 'git.push ref=refs/heads/cordon/x';

async function problemsOf(document: string) {
  const error = await failure(compile(document));
  if (!(error instanceof DocumentError)) throw error;
  return error.problems;
}

test('a rule is cited by its own line', async () => {
  const policy = await compile(
    rules(
      '// first',
      '',
      'permit (principal, action == Action::"tool.call", resource)',
      '  when { context.server == "a" };',
      'forbid (principal, action == Action::"tool.call", resource) when { context.tool == "rm" };',
    ),
  );
  expect(decideLine(policy, 'tool.call server=a tool=ls').rules[0]).toMatchObject({ line: 5, layer: 'repository' });
  const denied = decideLine(policy, 'tool.call server=a tool=rm');
  expect(denied).toMatchObject({ effect: 'deny', rules: [{ line: 7 }] });
  expect(denied.rules[0]?.text).toBe(
    'forbid (principal, action == Action::"tool.call", resource) when { context.tool == "rm" };',
  );
});

test('two rules with the same text have two lines', async () => {
  const rule = 'permit (principal, action == Action::"tool.call", resource);';
  const policy = await compile(rules(rule, rule));
  expect(decideLine(policy, 'tool.call server=a tool=b').rules.map((r) => r.line)).toEqual([3, 4]);
});

describe('evaluation that fails denies', () => {
  test('an overflow in a permit', async () => {
    const policy = await compile(
      rules(
        'permit (principal, action == Action::"net.connect", resource) when { context.port * 9007199254740991 * 9007199254740991 > 0 };',
      ),
    );
    expect(decideLine(policy, 'net.connect host=acme.example')).toMatchObject({ effect: 'deny', rules: [{ line: 3 }] });
  });

  test('an overflow in a forbid, which Cedar alone would skip and permit', async () => {
    const policy = await compile(
      `security: {allowed_network_hosts: [acme.example]}\n${rules('forbid (principal, action == Action::"net.connect", resource) when { context.port * 9007199254740991 * 9007199254740991 > 0 };')}`,
    );
    const decision = decideLine(policy, 'net.connect host=acme.example');
    expect(decision.effect).toBe('deny');
    expect(decision.reason).toMatch(/cannot be evaluated/);
    expect(effectOf(policy, 'net.request host=acme.example')).toBe('permit');
  });
});

describe('asking', () => {
  test('@ask on a permit permits after asking', async () => {
    const policy = await compile(rules('@ask', 'permit (principal, action == Action::"net.connect", resource);'));
    expect(effectOf(policy, 'net.connect host=acme.example')).toBe('ask');
  });

  test('@ask on a forbid asks for what is permitted, and opens nothing', async () => {
    const policy = await compile(
      rules('@ask', 'forbid (principal, action == Action::"git.push", resource) when { context.changedLines > 10 };'),
    );
    expect(effectOf(policy, `${PUSH} changed_lines=11`)).toBe('ask');
    expect(effectOf(policy, `${PUSH} changed_lines=10`)).toBe('permit');
    expect(effectOf(policy, 'git.push ref=refs/heads/main changed_lines=11')).toBe('deny');
  });

  test('a forbid stands above asks and permits', async () => {
    const policy = await compile(
      rules(
        '@ask permit (principal, action, resource);',
        'forbid (principal, action == Action::"net.connect", resource);',
      ),
    );
    expect(effectOf(policy, 'net.connect host=acme.example')).toBe('deny');
    expect(effectOf(policy, 'tool.call server=a tool=b')).toBe('ask');
  });
});

describe('the built-in agent’s tools', () => {
  const forbid = 'forbid (principal, action == Action::"tool.call", resource == Tool::"builtin/shell");';

  test('are permitted where nobody speaks of them, under a ceiling too', async () => {
    const policy = await compile('limits: {pids: 64}', 'limits: {pids: 99}');
    expect(decideLine(policy, 'tool.call server=builtin tool=shell')).toMatchObject({
      effect: 'permit',
      rules: [{ layer: 'built-in' }, { layer: 'built-in' }],
    });
  });

  test('a forbid of either layer stands above that, and so does a question', async () => {
    for (const layers of [[rules(forbid)], ['', rules(forbid)]] as const) {
      const policy = await compile(...layers);
      expect(effectOf(policy, 'tool.call server=builtin tool=shell')).toBe('deny');
      expect(effectOf(policy, 'tool.call server=builtin tool=read')).toBe('permit');
    }
    const asks = await compile(rules(`@ask ${forbid}`));
    expect(effectOf(asks, 'tool.call server=builtin tool=shell')).toBe('ask');
  });
});

describe('approvals', () => {
  const protect = 'filesystem: {protect: [CODEOWNERS]}\n';

  test('the phrase means the protected paths, and attaches who may answer', async () => {
    const policy = await compile(
      `${protect}approvals: [{when: git.push, if: "changes protected paths", approvers: ["role:security"], count: 2, expires: 1h}]`,
    );
    const decision = decideLine(policy, `${PUSH} changed_paths=CODEOWNERS`);
    expect(decision).toMatchObject({
      effect: 'ask',
      ask: { approvers: ['role:security'], count: 2, expiresMs: 3_600_000 },
    });
    expect(decideLine(policy, `${PUSH} changed_paths=.cordon/x`).ask?.approvers).toEqual(['role:security']);
    expect(effectOf(policy, PUSH)).toBe('permit');
  });

  test('every entry that applies is a requirement of its own', async () => {
    const policy = await compile(
      'approvals:\n  - {when: git.push, if: "context.changedLines > 10", approvers: ["role:a"], count: 2}\n  - {when: git.push, approvers: ["role:b"], expires: 30m}',
    );
    const both = decideLine(policy, `${PUSH} changed_lines=11`).ask;
    expect(both?.requirements).toHaveLength(2);
    expect(both).toMatchObject({ approvers: ['role:a', 'role:b'], count: 2, expiresMs: 1_800_000 });
    expect(decideLine(policy, PUSH).ask?.approvers).toEqual(['role:b']);
  });

  test('without an entry anybody who may decide can answer', async () => {
    const policy = await compile(protect);
    expect(decideLine(policy, `${PUSH} changed_paths=CODEOWNERS`).ask).toMatchObject({ approvers: [], count: 1 });
  });

  test('a condition cannot smuggle in a rule', async () => {
    const [problem] = await problemsOf(
      'approvals: [{when: git.push, if: "true }; permit (principal, action, resource) when { true", approvers: ["role:a"]}]',
    );
    expect(problem).toMatchObject({ line: 2 });
    expect(problem?.message).toMatch(/^approvals\.0\.if: /);
  });
});

describe('strict validation, at the line', () => {
  test.each([
    ['permit (principal, action == Action::"git.psh", resource);', /unrecognized action/],
    ['permit (principal, action == Action::"net.connect", resource) when { context.hst == "a" };', /not found/],
    ['permit (principal, action == Action::"net.connect", resource) when { context.port == "443" };', /./],
    ['permit (principal, action == Action::"net.connect", resource) when { context.changedLines > 1 };', /not found/],
    ['permit (principal, action, resource) when { context.port > 1 };', /not found/],
    ['permit (principal == User::"root", action, resource);', /./],
    ['permit (principal, action == Action::"net.connect", resource is File);', /./],
    ['permit (principal, action, resource', /unexpected/],
    ['permit (principal == ?principal, action, resource);', /templates/],
    ['@aks permit (principal, action == Action::"net.connect", resource);', /@aks is not known/],
    [
      'permit (principal, action == Action::"net.connect", resource == Host::"EVIL.example:443");',
      /not in canonical form/,
    ],
    ['forbid (principal, action == Action::"net.connect", resource == Host::"evil.example");', /not in canonical form/],
    [
      'permit (principal, action == Action::"git.push", resource) when { context.changedLines < 9223372036854775807 };',
      /too large to be exact/,
    ],
    ['forbid (principal, action == Action::"git.push", resource == Ref::"main");', /no full ref name/],
    ['forbid (principal, action == Action::"git.push", resource) when { context.ref == "main" };', /is never "main"/],
    ['forbid (principal, action == Action::"git.push", resource) when { "main" == context.ref };', /is never "main"/],
    [
      'forbid (principal, action == Action::"git.push", resource) when { ["refs/heads/a", "b"].contains(context.ref) };',
      /is never "b"/,
    ],
    ['forbid (principal, action == Action::"git.push", resource) when { context.ref like "release/*" };', /full name/],
    [
      'forbid (principal, action == Action::"net.connect", resource) when { context.host == "A.example" };',
      /lower case/,
    ],
    [
      'forbid (principal, action == Action::"net.connect", resource) when { context.host like "*.B.example" };',
      /lower/,
    ],
    ['forbid (principal, action == Action::"net.connect", resource) when { context.host == "a.example:22" };', /port/],
    [
      'forbid (principal, action == Action::"command.execute", resource) when { context.path == "perl" };',
      /begins with \//,
    ],
    [
      'forbid (principal, action == Action::"file.write", resource) when { context.path like "/etc/*" };',
      /from the top/,
    ],
    ['forbid (principal, action == Action::"net.request", resource) when { context.method == "post" };', /capitals/],
  ])('%s', async (rule, message) => {
    const problems = await problemsOf(rules('// one', rule));
    expect(problems.some((problem) => message.test(problem.message))).toBe(true);
    expect(problems[0]?.line).toBe(4);
    expect(problems[0]?.column).toBeGreaterThan(2);
  });

  test.each([
    'action == Action::"git.push", resource) when { context.ref like "*release*" && context.ref != "refs/heads/main" };',
    'action == Action::"git.push", resource) when { context.ref like "re*" || context.ref like "refs/tags/v*" };',
    'action == Action::"command.execute", resource) when { context.path like "*/perl*" || context.path == "/usr/bin/awk" };',
    'action in [Action::"file.write", Action::"command.execute"], resource) when { context.path == "a" };',
    'action == Action::"net.connect", resource) when { context.host like "*.acme.example" };',
  ])('takes what can be: %s', async (rule) => {
    await compile(rules(`forbid (principal, ${rule}`));
  });

  test('an attribute that is not there: the one that was meant, or all there are', async () => {
    const remedy = async (attribute: string) =>
      (await problemsOf(`approvals: [{when: git.push, if: "context.${attribute} > 3", approvers: ["role:a"]}]`))[0];
    expect(await remedy('lines')).toMatchObject({
      message: expect.stringMatching(/^approvals\.0\.if: attribute `lines`/),
      remedy: 'did you mean `changedLines`?',
    });
    expect((await remedy('weather'))?.remedy).toMatch(/^attributes of git.push are repository, ref/);
  });

  test('a condition of an approval that never holds', async () => {
    const [problem] = await problemsOf(
      `approvals: [{when: git.push, if: 'context.ref == "main"', approvers: ["role:a"]}]`,
    );
    expect(problem?.message).toBe('approvals.0.if: context.ref is never "main": a ref has its full name');
    expect(problem?.remedy).toContain('"refs/heads/main"');
  });

  test('columns count characters, not bytes', async () => {
    const [problem] = await problemsOf(
      rules('// größe', 'permit (principal, action == Action::"net.connect", resource) when { "ß" == context.nope };'),
    );
    expect(problem).toMatchObject({ line: 4 });
  });
});
