import { describe, expect, test } from 'vitest';
import { readDocument } from './schema.ts';
import { readYaml } from './source.ts';

const file = 'policy.yaml';
const problems = (text: string) =>
  readDocument({ file, text }).problems.map((p) => `${p.line}:${p.column} ${p.message} → ${p.remedy}`);
const value = (text: string) => {
  const result = readDocument({ file, text });
  if (result.document === undefined) throw new Error(JSON.stringify(result.problems));
  return result.document.value;
};

describe('YAML', () => {
  test.each([
    ['duplicate keys', 'version: 1\nversion: 1\n', '2:1', /second time/],
    ['duplicate keys below', 'version: 1\ngit:\n  push: {force: deny, force: permit}\n', '3:23', /second time/],
    ['anchors', 'version: &a 1\n', '1:', /anchor &a/],
    ['aliases', 'version: 1\ntests: [&a {action: x}, *a]\n', '2:', /anchor|alias/],
    ['merge keys', 'version: 1\n<<: {rules: ""}\n', '2:1', /merge keys/],
    ['tags', 'version: !!int "1"\n', '1:', /tag/],
    ['own tags', 'version: !cordon 1\n', '1:', /[Tt]ag/],
    ['directives', '%YAML 1.1\n---\nversion: 1\n', '1:1', /directive/],
    ['a line that is no key and value', 'version: 1\nlimits\n', '2:', /no `key: value`/],
    ['a second document', 'version: 1\n---\nversion: 1\n', '2:', /second document/],
    ['keys that are numbers', 'version: 1\n2: 3\n', '2:1', /not text/],
    ['keys that are lists', 'version: 1\n? [a]\n: 3\n', '2:', /not text/],
    ['keys of prototypes', 'version: 1\n__proto__: {}\n', '2:1', /unknown key/],
    ['text that reorders itself', 'version: 1 # \u202e x\n', '1:14', /u\{202e\}/],
    ['characters without width', 'version: 1\nrules: "a\u200bb"\n', '2:10', /u\{200b\}/],
    ['NUL', 'version: 1\0\n', '1:11', /control/],
    ['tabs', 'git:\n\tpush: {}\n', '2:', /tab/],
    ['nothing', '', '1:1', /empty/],
    ['only a comment', '# later\n', '1:1', /empty/],
    ['numbers without end', 'version: 1\nlimits: {pids: 99999999999999999999}\n', '2:16', /too large/],
    ['a list', '- version: 1\n', '1:1', /expected keys/],
  ])('refuses %s', (_, text, place, message) => {
    const found = problems(text);
    expect(found[0]).toMatch(message);
    expect(found[0]?.startsWith(place)).toBe(true);
  });

  test('a bomb of aliases is refused before it goes off', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(',')}]`);
    expect(problems(`a0: &a0 [x]\n${levels.join('\n')}\n`)[0]).toMatch(/anchor/);
  });

  test('a tower of brackets is refused without a fall', () => {
    expect(problems('['.repeat(100_000))[0]).toMatch(/nested too deeply/);
    expect(problems(`a: ${'{a: '.repeat(20_000)}`)[0]).toMatch(/nested too deeply|Flow map/);
  });

  test('at most 256 KiB', () => {
    expect(problems(`# ${'x'.repeat(256 * 1024)}\nversion: 1\n`)[0]).toMatch(/at most 262144/);
  });

  test('ten thousand lines are read, and too long a list is said to be', () => {
    const hosts = Array.from({ length: 10_000 }, (_, i) => `    - h${i}.acme.example`).join('\n');
    expect(problems(`version: 1\nsecurity:\n  allowed_network_hosts:\n${hosts}\n`)).toEqual([
      expect.stringMatching(/^\d+:\d+ .*more than 5000/),
    ]);
    const comments = '# a line\n'.repeat(10_000);
    expect(value(`${comments}version: 1\n`).version).toBe(1);
  });

  test('places are those of an editor', () => {
    const yaml = readYaml({ file, text: 'a:\n  - b\n  - c: d\nrules: |\n  one\n\n    two\n' });
    expect(yaml.place(['a', 1, 'c'])).toEqual({ line: 3, column: 8 });
    expect(yaml.place(['a', 1, 'c'], 'key')).toEqual({ line: 3, column: 5 });
    expect(yaml.place(['a', 9, 'z'])).toEqual({ line: 2, column: 3 });
    expect(yaml.block(['rules'])).toEqual({ line: 5, indent: 2 });
  });
});

describe('the document', () => {
  test('YAML 1.1 words are text, and the message says what to write', () => {
    const found = problems('version: 1\ngit:\n  push:\n    force: no\n    tags: off\n    signed: yes\n');
    expect(found).toHaveLength(3);
    expect(found[0]).toMatch(/^4:12 git\.push\.force: the text "no" is none of deny, ask, permit/);
    expect(found[2]).toMatch(/^6:13 git\.push\.signed/);
  });

  test('all problems are reported at once, in order', () => {
    const found = problems(
      'version: 2\nsecurty: {}\nsecurity:\n  allowed_commands: [git, 5]\n  allowed_network_hosts: ["*", "*.com", {host: a.example, prot: 1}]\nlimits: {memory: 2, wall_clock: soon}\n',
    );
    expect(found.map((line) => line.split(' ')[0])).toEqual([
      '1:10',
      '2:1',
      '4:22',
      '4:27',
      '5:27',
      '5:32',
      '5:59',
      '6:18',
      '6:33',
    ]);
    expect(found[1]).toMatch(/did you mean `security`/);
    expect(found[6]).toMatch(/"prot": did you mean `port`/);
  });

  test.each([
    ['limits: {memory: 2048}', /give it a unit: 2048m/],
    ['limits: {memory: 0b}', /no size/],
    ['limits: {memory: -1g}', /no size/],
    ['limits: {memory: 9999999999999999t}', /no size/],
    ['limits: {wall_clock: 30}', /give it a unit: 30s/],
    ['limits: {wall_clock: 0s}', /between 1s/],
    ['limits: {cpus: 0}', /processors/],
    ['limits: {cpus: "2"}', /processors/],
    ['limits: {pids: 1.5}', /whole number/],
    ['limits: {memory: }', /no size/],
    ['security: {allowed_commands: /usr/bin/git}', /expected a list/],
    ['security: {allowed_network_hosts: }', /expected a list, found nothing/],
    ['security:', /expected keys/],
    ['security: {allowed_commands: [{path: /usr/bin/git, sha256: abc}]}', /64 hex digits/],
    ['security: {allowed_network_hosts: [{host: "a.example:99"}]}', /port in its host/],
    ['security: {allowed_network_hosts: [{host: a.example, port: 70000}]}', /1 to 65535/],
    ['security: {allowed_network_hosts: [{host: a.example, paths: ["repos/**"]}]}', /start with \//],
    ['git: {push: {branches: ["**"]}}', /every branch/],
    ['git: {push: {authors: ["*"]}}', /every address/],
    ['git: {fetch: {depth: 0}}', /depth/],
    ['llm_policy: {models: ["*"]}', /every model/],
    ['llm_policy: {budget: {usd: 1.234}}', /US dollars/],
    ['llm_policy: {disallowed: [personal-api-key]}', /personal-api-keys/],
    ['secrets: [{name: npm, use: {host: a.example}}]', /name of a secret/],
    ['secrets: [{name: A, use: {host: a.example, header: "X: y"}}]', /header/],
    ['secrets: [{name: A, use: {host: a.example, header: "X: {}\\r\\nEvil: 1"}}]', /header/],
    ['secrets: [{name: A, use: {}}]', /used in one way/],
    ['secrets: [{name: A, use: {host: a.example, env: A}}]', /used in one way/],
    ['approvals: [{when: git.psh, approvers: ["role:a"]}]', /write git\.push/],
    ['approvals: [{when: git.push}]', /approvers/],
    ['sandbox: {isolation: none}', /namespace, gvisor, vm/],
    ['sandbox: {recorder: {on_loss: ignore}}', /fail, continue/],
    ['filesystem: {write: ["/src"]}', /write "src"/],
    ['filesystem: {protect: [".git/**"]}', /git's own folder/],
    ['rules: 5', /Cedar text/],
    ['tests: [x]', /expected keys/],
  ])('%s is refused', (line, message) => {
    const found = problems(`version: 1\n${line}\n`);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  test('values come out in base units and canonical form', () => {
    const document = value(
      'version: 1\nlimits: {memory: 1.5g, disk: 500mb, wall_clock: 1h30m, cpus: 0.5}\nsecurity: {allowed_network_hosts: ["ACME.example.", {host: "*.b.example", port: 8443, methods: [get]}]}\nllm_policy: {budget: {usd: 2.5}}\n',
    );
    expect(document.limits).toEqual({
      memory: 1.5 * 1024 ** 3,
      disk: 500 * 1024 ** 2,
      wall_clock: 5_400_000,
      cpus: 0.5,
    });
    expect(document.security?.allowed_network_hosts).toEqual([
      { pattern: { host: 'acme.example', wildcard: false, port: 443 }, methods: null, paths: null },
      { pattern: { host: 'b.example', wildcard: true, port: 8443 }, methods: ['GET'], paths: null },
    ]);
    expect(document.llm_policy?.budget?.usd).toBe(250);
  });
});

describe('what people mistype is told what to write', () => {
  test.each([
    ['a key at the wrong level', 'security:\nallowed_network_hosts: [a.acme.example]', /below `security`, indented/],
    ['a key too deep', 'git: {push: {limits: {pids: 64}}}', /belongs at the top/],
    ['a key of another section', 'git: {push: {protect: [a]}}', /below `filesystem`/],
    ['a key by its last part', 'llm_policy: {providers: [a]}', /did you mean `allowed_providers`/],
    ['one value for a list', 'llm_policy: {models: claude}', /write \["claude"\]/],
    ['nothing for a list', 'security:\n  allowed_network_hosts:', /write \[\] for none/],
    ['an indentation of its own', 'git:\n  push: {}\n   fetch: {}', /indentation fits neither/],
    ['a unit in words', 'limits: {wall_clock: 30 minutes}', /→ write 30m$/],
    ['a unit apart', 'limits: {disk: 4 GB}', /→ write 4g$/],
    ['an age without a unit', 'dependencies: {minimum_age: 3}', /3h, 3d$/],
    ['an action by its last part', 'approvals: [{when: push, approvers: ["role:a"]}]', /→ write git\.push$/],
    ['a registry’s address', 'dependencies: {registries: ["https://r.acme.example/npm"]}', /→ write r\.acme\.example$/],
    ['a registry’s port', 'dependencies: {registries: ["r.acme.example:443"]}', /→ write r\.acme\.example$/],
    ['a home folder', 'security: {allowed_commands: [~/bin/x]}', /whole path.*no ~/],
    ['a program’s name', 'security: {allowed_commands: [npm]}', /→ write where it is: \/usr\/bin\/npm$/],
  ])('%s', (_, text, message) => {
    expect(problems(`version: 1\n${text}\n`).join('\n')).toMatch(message);
  });
});
