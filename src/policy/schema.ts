import * as z from 'zod';
import type { Problem } from '../base/errors.ts';
import { parseDuration, parseSize, parseUsd } from './amounts.ts';
import { type CommandPattern, canonicalSha256, parseCommandPath } from './commands.ts';
import { field, keys, list, nameGlob, shortOrLong, textField, truth, whole, word } from './fields.ts';
import { parseBranchGlob, parseShownGlob } from './git-refs.ts';
import { hostRule } from './host-rules.ts';
import { canonicalHost } from './hosts.ts';
import { mcpServers } from './mcp-schema.ts';
import { budgetPeriods, budgetScopes, modelFeatures } from './models.ts';
import { parsePackagePattern } from './packages.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';
import { parsePathGlob } from './paths.ts';
import { readYaml, type Source, type YamlSource } from './source.ts';

export type { HostRule } from './host-rules.ts';

/** The policy document: every key there is, with its canonical values. docs/policy.md explains each to users. */

const text = (what: string, pattern: RegExp, example: string) =>
  textField(what, (value) =>
    pattern.test(value) ? parsed(value) : refused(`${shown(value)} is no ${what}`, `write something like ${example}`),
  );
const optional = <T>(type: z.ZodType<T>) => type.optional();
const exactly = (parse: (value: string) => Parsed<unknown>) => (value: string) => {
  const result = parse(value);
  return result.ok ? parsed(value) : result;
};

const name = text('name', /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'azure-openai-prod');
const pathGlob = textField('a path or pattern', exactly(parsePathGlob));
const shownGlob = textField('a branch, a tag or pattern', exactly(parseShownGlob));
const branchGlob = textField('a branch or pattern', exactly(parseBranchGlob));
const size = field(parseSize);
const duration = field(parseDuration);
const effect = word('deny', 'ask', 'permit');
const host = textField('a host', bareHost);
/** A host without a port, where only its name is meant. People write what they have: an address, or host and port. */
function bareHost(value: string): Parsed<string> {
  const result = canonicalHost(value);
  const name = /^(?:[a-z][a-z0-9+.-]*:\/\/)?([^:/?#\s]+)(?::\d+)?(?:[/?#].*)?$/i.exec(value)?.[1];
  if (result.ok || name === undefined || name === value || !canonicalHost(name).ok) return result;
  return refused(`${shown(value)} is more than the name of a host`, `write ${name}`);
}

const packagePattern = textField('a package', parsePackagePattern);

const command = shortOrLong<CommandPattern, { path: string; sha256?: string | undefined }>(
  'a command',
  (value) => withPath(value, null),
  keys({
    path: textField('an absolute path', parseCommandPath),
    sha256: optional(textField('a SHA-256', canonicalSha256)),
  }),
  (value) => withPath(value.path, value.sha256 ?? null),
);

function withPath(path: string, sha256: string | null): Parsed<CommandPattern> {
  const result = parseCommandPath(path);
  return result.ok ? parsed({ path: result.value, sha256 }) : result;
}

const secretUse = keys({
  host: optional(host),
  header: optional(
    text(
      'header with {} for the value',
      /^[A-Za-z0-9-]{1,64}: [^\r\n{}]*\{\}[^\r\n{}]*$/,
      '"Authorization: Bearer {}"',
    ),
  ),
  env: optional(text('environment variable', /^[A-Z_][A-Z0-9_]{0,99}$/, 'NPM_TOKEN')),
  file: optional(
    text('file below /run/secrets', /^\/run\/secrets\/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/, '/run/secrets/deploy-key'),
  ),
}).refine(
  ({ host, header, env, file }) =>
    [host, env, file].filter((place) => place !== undefined).length === 1 &&
    (header === undefined || host !== undefined),
  {
    error: () =>
      'a secret is used in one way: at a host (with a header), in the environment (env), or as a file below /run/secrets (file)',
  },
);

const DISALLOWED = ['personal-api-keys', 'unmanaged-proxies'] as const;

const documentSchema = keys({
  version: field((value) =>
    value === 1
      ? parsed(1 as const)
      : refused(
          value === undefined ? '`version` is missing' : `version ${shown(value)} is not known`,
          'write `version: 1`',
        ),
  ),
  security: optional(
    keys({ allowed_commands: optional(list(command)), allowed_network_hosts: optional(list(hostRule)) }),
  ),
  filesystem: optional(
    keys({ checkout: optional(list(pathGlob)), write: optional(list(pathGlob)), protect: optional(list(pathGlob)) }),
  ),
  git: optional(
    keys({
      fetch: optional(
        keys({
          depth: optional(
            z.union([z.literal('full'), z.int().min(1).max(1_000_000)], {
              error: () => 'depth is neither a number of commits from 1 nor full',
            }),
          ),
          refs: optional(list(shownGlob)),
        }),
      ),
      push: optional(
        keys({
          branches: optional(list(branchGlob)),
          force: optional(effect),
          delete: optional(effect),
          tags: optional(effect),
          signed: optional(word('required', 'optional')),
          authors: optional(list(nameGlob('address', '"*@acme.example"'))),
          max_changed_lines: optional(whole(1, 1_000_000_000)),
          max_changed_files: optional(whole(1, 1_000_000)),
          max_file_size: optional(size),
          secrets: optional(effect),
          workflows: optional(effect),
          binaries: optional(effect),
        }),
      ),
    }),
  ),
  dependencies: optional(
    keys({
      registries: optional(list(host)),
      minimum_age: optional(duration),
      allow: optional(list(packagePattern)),
      deny: optional(list(packagePattern)),
      recorded: optional(truth),
    }),
  ),
  secrets: optional(
    list(keys({ name: text('name of a secret', /^[A-Z_][A-Z0-9_]{0,99}$/, 'NPM_TOKEN'), use: secretUse })),
  ),
  llm_policy: optional(
    keys({
      default_provider: optional(name),
      allowed_providers: optional(list(name)),
      models: optional(list(nameGlob('model', '"gpt-5*"'))),
      disallowed: optional(list(word(...DISALLOWED))),
      budget: optional(
        keys({ usd: optional(field(parseUsd)), tokens: optional(whole(0, 1e12)), requests: optional(whole(0, 1e9)) }),
      ),
      budgets: optional(
        list(
          keys({
            scope: word(...budgetScopes),
            period: word(...budgetPeriods),
            usd: optional(field(parseUsd)),
            tokens: optional(whole(0, 1e12)),
            requests: optional(whole(0, 1e9)),
          }),
        ),
      ),
      features: optional(list(word(...modelFeatures))),
      secrets: optional(word('replace', 'refuse')),
      max_request: optional(size),
      logging: optional(
        keys({
          prompt_content: optional(word('redacted', 'full', 'none')),
          metadata: optional(text('retention', /^retained_[1-9]\d{0,3}_days$/, 'retained_180_days')),
        }),
      ),
    }),
  ),
  mcp_servers: optional(mcpServers),
  approvals: optional(
    list(
      keys({
        when: word(
          'run.start',
          'command.execute',
          'file.read',
          'file.write',
          'net.connect',
          'net.request',
          'git.fetch',
          'git.sign',
          'git.push',
          'llm.request',
          'secret.use',
          'tool.call',
          'forge.open_pull_request',
          'forge.comment',
        ),
        if: optional(textField('a condition', parsed)),
        approvers: list(text('approver', /^(role|user|group):[A-Za-z0-9._@-]{1,100}$/, 'role:security')),
        count: optional(whole(1, 20)),
        expires: optional(duration),
      }),
    ),
  ),
  limits: optional(
    keys({
      memory: optional(size),
      cpus: optional(
        field((value) =>
          typeof value === 'number' && value >= 0.1 && value <= 1024
            ? parsed(Math.round(value * 100) / 100)
            : refused(`${shown(value)} is no number of processors`, 'write a number such as 2 or 0.5'),
        ),
      ),
      pids: optional(whole(8, 1_000_000)),
      disk: optional(size),
      inodes: optional(whole(100, 1_000_000_000)),
      open_files: optional(whole(32, 1_000_000)),
      wall_clock: optional(duration),
      output: optional(size),
    }),
  ),
  sandbox: optional(
    keys({
      driver: optional(word('bubblewrap', 'docker', 'kubernetes')),
      isolation: optional(word('namespace', 'gvisor', 'vm')),
      recorder: optional(keys({ on_loss: optional(word('fail', 'continue')) })),
    }),
  ),
  requests: optional(keys({ may_grant: list(word('net', 'commands', 'secrets', 'limits')) })),
  rules: optional(textField('Cedar text', parsed)),
  tests: optional(
    list(z.record(z.string(), z.unknown(), { error: () => 'expected keys: action, its values, expect' })),
  ),
});

export type PolicyDocument = z.output<typeof documentSchema>;

/** A document that was read, with the means to name its lines. */
export interface ParsedDocument {
  readonly file: string;
  readonly text: string;
  readonly value: PolicyDocument;
  readonly yaml: YamlSource;
}

/** Reads one document; `document` is undefined exactly when there are problems, and then all of them are there. */
export function readDocument(source: Source): { document?: ParsedDocument; problems: readonly Problem[] } {
  const yaml = readYaml(source);
  if (yaml.problems.length > 0) return { problems: yaml.problems };
  const result = documentSchema.safeParse(yaml.value);
  if (result.success)
    return { document: { file: source.file, text: source.text, value: result.data, yaml }, problems: [] };
  return {
    problems: result.error.issues
      .flatMap((issue) => problemsOf(issue, yaml))
      .sort((a, b) => a.line - b.line || a.column - b.column),
  };
}

/** Below which keys of the document a key of that name stands; the top is ''. */
function homesOf(key: string, schema: unknown, path: readonly string[] = []): string[] {
  const { def, shape } = schema as { def?: { innerType?: unknown }; shape?: Readonly<Record<string, unknown>> };
  if (shape === undefined) return def?.innerType === undefined ? [] : homesOf(key, def.innerType, path);
  const below = Object.entries(shape).flatMap(([name, inner]) => homesOf(key, inner, [...path, name]));
  return Object.hasOwn(shape, key) ? [path.join('.'), ...below] : below;
}

function problemsOf(issue: z.core.$ZodIssue, yaml: YamlSource): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n');
    return issue.keys.map((key, i) => {
      const homes = homesOf(key, documentSchema);
      const misplaced = homes.length === 1 && !homes[0]?.startsWith('mcp_servers') && homes[0] !== issue.path.join('.');
      const elsewhere = `unknown key ${shown(key)} here: it belongs ${homes[0] === '' ? 'at the top, without indentation' : `below \`${homes[0]}\`, indented`}`;
      return {
        file: yaml.file,
        ...yaml.place([...issue.path, key], 'key'),
        message: misplaced ? elsewhere : (messages[i] ?? `unknown key ${shown(key)}`),
      };
    });
  }
  const remedy: unknown = issue.code === 'custom' ? issue.params?.remedy : undefined;
  const where = issue.path.map(String).join('.');
  const message = where === '' || issue.message.startsWith('`') ? issue.message : `${where}: ${issue.message}`;
  return [{ file: yaml.file, ...yaml.place(issue.path), message, ...(typeof remedy === 'string' ? { remedy } : {}) }];
}
