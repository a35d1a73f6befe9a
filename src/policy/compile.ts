import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { DocumentError, type Problem, UsageError } from '../base/errors.ts';
import type { ActionName } from './action.ts';
import { CEDAR_VERSION } from './cedar.ts';
import { actionNames, cedarSchema } from './cedar-schema.ts';
import { aboveCeiling, citeCeiling } from './ceiling.ts';
import type { ResolvedCommand } from './commands.ts';
import { combineDependencies, dependencyIdentity, idleDependencies } from './dependencies.ts';
import { COMPILER, type EffectivePolicy, type Slice } from './effective.ts';
import { checkMayGrant, findSecret, grantRef, type ParsedGrants, parseGrants, type RequestGrants } from './grants.ts';
import { hostPatternText } from './hosts.ts';
import { idleParts } from './idle.ts';
import type { InlineTest, TestResult } from './inline-tests.ts';
import { combineMcp, compileMcp, type McpServer, mcpAboveCeiling, mcpIdentity } from './mcp.ts';
import { combineModels } from './models.ts';
import { combineNetwork } from './network.ts';
import { compileApprovalCondition, compileRaw } from './raw.ts';
import { refuseAboveCeiling } from './request-ceiling.ts';
import { type Layer, RuleBook, valuesOf } from './rule.ts';
import type { ParsedDocument } from './schema.ts';
import { combineCommands, combineFilesystem, combineGit, combineLimits, combineSandbox } from './settings.ts';
import { allowCommands, compileHosts, compileOpenings } from './short-forms.ts';
import type { Source } from './source.ts';
import { compileAlways, compileApproval, compileTree, confine, PROTECTED_PHRASE } from './tree-rules.ts';

export type { RequestGrants } from './grants.ts';
export type { Source } from './source.ts';

/** The layers of a policy. All optional: with none, the built-in default holds (nothing allowed out). */
export interface PolicyInput {
  readonly organisation?: Source;
  readonly repository?: Source;
  readonly request?: RequestGrants;
  /**
   * What the toolbox found behind each path of `commands` (path as written → file and SHA-256). With it, only these
   * contents are permitted to run, and the digest covers them: compile once to learn the paths, once more to bind them.
   */
  readonly resolved?: ReadonlyMap<string, ResolvedCommand>;
}

const DEFAULT_FILE = '.cordon/policy.yaml';

/**
 * Compiles the layers to one effective policy, and runs the documents' own tests. Pure: no disk, no clock.
 * Throws `DocumentError` with every problem of every document, `UsageError` for a request that cannot be read,
 * `PolicyDeniedError` for one that asks for more than the ceiling.
 */
export async function compilePolicy(input: PolicyInput): Promise<EffectivePolicy> {
  const grants = parseGrants(input.request ?? {});
  if (input.organisation === undefined && input.repository === undefined)
    return assemble([], grants, input.resolved).policy;
  const reader = await import('./documents.ts');
  const { documents, tests } = read(input, reader);
  const { policy, plain } = assemble(documents, grants, input.resolved);
  const failed = documents
    .flatMap((document) => results(document, tests, plain, reader))
    .filter((result) => !result.passed);
  if (failed.length > 0) throw new DocumentError(failed.map(reader.testProblem));
  return policy;
}

/** Runs the documents' tests and returns every result, for `cordon policy test`. Throws as {@link compilePolicy}, except for failed tests. */
export async function testPolicy(input: PolicyInput): Promise<readonly TestResult[]> {
  const reader = await import('./documents.ts');
  const { documents, tests } = read(input, reader);
  const { plain } = assemble(documents, parseGrants(input.request ?? {}));
  return documents.flatMap((document) => results(document, tests, plain, reader));
}

interface NamedDocument extends ParsedDocument {
  readonly layer: 'organisation' | 'repository';
}

type Reader = typeof import('./documents.ts');

interface Input {
  readonly documents: readonly NamedDocument[];
  readonly tests: ReadonlyMap<NamedDocument, readonly InlineTest[]>;
}

function read(input: PolicyInput, { readDocument, readTests }: Reader): Input {
  const documents: NamedDocument[] = [];
  const problems: Problem[] = [];
  const tests = new Map<NamedDocument, readonly InlineTest[]>();
  for (const layer of ['organisation', 'repository'] as const) {
    const source = input[layer];
    if (source === undefined) continue;
    const result = readDocument(source);
    problems.push(...result.problems);
    if (result.document === undefined) continue;
    const document = { ...result.document, layer };
    if (layer === 'repository' && document.value.requests !== undefined) {
      problems.push({
        file: source.file,
        ...document.yaml.place(['requests'], 'key'),
        message: '`requests` stands in a repository',
        remedy: "only the organisation's document says what requesters may grant",
      });
    }
    const read = readTests(document);
    problems.push(...read.problems);
    tests.set(document, read.tests);
    documents.push(document);
  }
  if (problems.length > 0) throw new DocumentError(problems);
  return { documents, tests };
}

type Resolved = ReadonlyMap<string, ResolvedCommand>;

const NO_GRANTS: ParsedGrants = { hosts: [], commands: [], secrets: [], limits: {}, paths: [] };

/** The policy with the request, and without it: a document's tests speak of the documents. */
function assemble(
  documents: readonly NamedDocument[],
  grants: ParsedGrants,
  resolved?: Resolved,
): { policy: EffectivePolicy; plain: EffectivePolicy } {
  const plain = link(layersOf(documents), NO_GRANTS);
  const changes =
    grants.hosts.length +
    grants.commands.length +
    grants.secrets.length +
    grants.paths.length +
    Object.keys(grants.limits).length;
  const bound = changes > 0 || resolved !== undefined;
  return { policy: bound ? link(layersOf(documents), grants, resolved) : plain, plain };
}

function layersOf(documents: readonly NamedDocument[]): Layer[] {
  const organisation = documents.find((document) => document.layer === 'organisation');
  const repository = documents.find((document) => document.layer === 'repository');
  return [
    ...(organisation === undefined
      ? []
      : [{ name: 'organisation', file: organisation.file, side: 'ceiling', document: organisation } satisfies Layer]),
    repository === undefined
      ? { name: 'built-in', file: DEFAULT_FILE, side: 'grant', document: null }
      : { name: 'repository', file: repository.file, side: 'grant', document: repository },
  ];
}

/** The organisation's tests say what at most is possible: its document alone, as if a repository granted all of it. */
function results(
  document: NamedDocument,
  tests: Input['tests'],
  plain: EffectivePolicy,
  { runTests }: Reader,
): readonly TestResult[] {
  const own = tests.get(document) ?? [];
  if (own.length === 0) return [];
  const alone = document.layer === 'organisation';
  return runTests(
    document,
    own,
    alone ? link([{ name: 'organisation', file: document.file, side: 'grant', document }], NO_GRANTS) : plain,
  );
}

function link(layers: readonly Layer[], grants: ParsedGrants, resolved?: Resolved): EffectivePolicy {
  const organisation = layers.find((layer) => layer.side === 'ceiling');
  const lowest = layers.at(-1);
  if (lowest === undefined) throw new RangeError('a policy needs a layer');
  checkMayGrant(grants, organisation);
  const book = new RuleBook(resolved);
  const problems = layers.flatMap((layer) => compileLayer(layer, layers, book));
  if (problems.length > 0) throw new DocumentError(problems);
  const request: Layer = { name: 'request', file: 'request', side: 'grant', document: null };
  compileAlways({ ...request, name: 'built-in' }, book);
  compileRequest(request, layers, grants, book);
  const policy = finish(layers, grants, book);
  // Resolved files are judged where they run: a grant was checked by its name, before it was resolved.
  if (organisation !== undefined && resolved === undefined) refuseAboveCeiling(policy, grants, layers);
  return policy;
}

function compileLayer(layer: Layer, layers: readonly Layer[], book: RuleBook): Problem[] {
  compileOpenings(layer, book);
  compileMcp(layer, layers, book);
  compileTree(layer, book);
  const problems = compileRaw(layer, book);
  const protectedGlobs = combineFilesystem(layers, NO_GRANTS).protect;
  for (const [i, entry] of (valuesOf(layer).approvals ?? []).entries()) {
    if (entry.if === undefined || entry.if === PROTECTED_PHRASE) compileApproval(layer, book, i, protectedGlobs);
    else problems.push(...compileApprovalCondition(layer, book, i));
  }
  return problems;
}

function compileRequest(request: Layer, layers: readonly Layer[], grants: ParsedGrants, book: RuleBook): void {
  compileHosts(request, book, grants.hosts, (rule) => grantRef('--allow-net', hostPatternText(rule.pattern)));
  const unlisted = layers.every(
    (layer) => layer.side === 'ceiling' || valuesOf(layer).security?.allowed_commands === undefined,
  );
  const outside = grants.commands.find((command) => unlisted && !/^\/(usr|bin|sbin|lib|lib64)\//.test(command.path));
  if (outside !== undefined) {
    throw new UsageError(
      `--allow-command ${outside.path}: without a list of commands a run has the machine's /usr, and nothing beside it`,
      {
        remedy: `list what the run needs in security.allowed_commands of ${layers.at(-1)?.file ?? DEFAULT_FILE}`,
      },
    );
  }
  allowCommands(request, book, grants.commands, (command) => grantRef('--allow-command', command.path));
  const secrets = grants.secrets.map((name) => ({
    secret: findSecret(name, [...layers].reverse()),
    rule: grantRef('--secret', name),
  }));
  for (const { secret, rule } of secrets) {
    const host = secret.use.host ?? 'sandbox';
    const pattern = `${secret.name} for ${host}`;
    book.pattern('secret.use', {
      text: pattern,
      test: (action) => action.action === 'secret.use' && action.name === secret.name && action.host === host,
    });
    book.add(request, { action: 'secret.use', role: 'permit', rule, entries: [{ pattern, rule }] });
  }
  if (grants.paths.length > 0) {
    const rule = grantRef('--path', grants.paths.join(' '));
    confine(request, book, ['file.read', 'file.write', 'git.push'], grants.paths, rule, 'is outside of --path');
  }
}

function finish(layers: readonly Layer[], grants: ParsedGrants, book: RuleBook): EffectivePolicy {
  const organisation = layers.find((layer) => layer.side === 'ceiling');
  const repository = layers.find((layer) => layer.side === 'grant' && layer.document !== null);
  const settings = {
    limits: combineLimits(layers, grants),
    commands: combineCommands(layers, grants),
    filesystem: combineFilesystem(layers, grants),
    git: combineGit(layers),
    network: combineNetwork(layers, grants),
    dependencies: combineDependencies(layers),
    llm: combineModels(layers),
    sandbox: combineSandbox(layers),
  };
  const mcp = combineMcp(layers);
  const compiler = `${COMPILER} cedar/${CEDAR_VERSION}`;
  const documents = layers.flatMap((layer) =>
    layer.document === null ? [] : [{ layer: layer.name, file: layer.file, digest: digest(layer.document.text) }],
  );
  const identity = {
    documents: documents.map((document) => ({ layer: document.layer, digest: document.digest })),
    rules: Object.fromEntries(book.rules.map((rule) => [rule.id, rule.cedar])),
    settings: {
      ...settings,
      limits: { ...settings.limits, cpus: String(settings.limits.cpus) },
      commands: settings.commands?.map(({ path, sha256 }) => ({ path, sha256 })) ?? null,
      dependencies: dependencyIdentity(settings.dependencies),
      ...(mcp.servers.length === 0 ? {} : { mcp: mcpIdentity(mcp.servers) }),
    },
    resolved:
      book.resolved === undefined
        ? null
        : Object.fromEntries([...book.resolved].map(([name, file]) => [name, `${file.path} ${file.sha256}`])),
    schema: cedarSchema,
    compiler,
  };
  const id = digest(canonicalJson(identity as unknown as Json));
  return freeze({
    digest: id,
    compiler,
    layers: documents,
    ...settings,
    mcp: { servers: mcp.servers, slices: serverSlices(mcp.servers, id, book) },
    warnings: [
      ...(organisation !== undefined && repository !== undefined
        ? [...aboveCeiling(organisation, repository), ...mcpAboveCeiling(organisation, repository)]
        : []),
      ...idleDependencies(layers),
      ...idleParts(layers),
      ...mcp.problems,
    ],
    documents: {
      ...(organisation?.document ? { organisation: organisation.document.value } : {}),
      ...(repository?.document ? { repository: repository.document.value } : {}),
    },
    rules: book.rules,
    slices: Object.fromEntries(actionNames.map((action) => [action, slice(action, id, book)])) as Record<
      ActionName,
      Slice
    >,
    ceiling:
      organisation === undefined
        ? null
        : { file: organisation.file, cite: (action: ActionName) => citeCeiling(organisation, action) },
    grantFile: repository?.file ?? DEFAULT_FILE,
  });
}

function serverSlices(servers: readonly McpServer[], id: string, book: RuleBook): EffectivePolicy['mcp']['slices'] {
  return Object.fromEntries(
    servers.map(({ name }) => [
      name,
      { 'net.connect': slice('net.connect', id, book, name), 'net.request': slice('net.request', id, book, name) },
    ]),
  );
}

/** `whose`: the agent's, or those of the MCP server of that name. */
function slice(action: ActionName, id: string, book: RuleBook, whose = 'agent'): Slice {
  const rules = book.rules.filter(
    (rule) => rule.actions.includes(action) && (rule.of === undefined || rule.of === whose),
  );
  const policies = Object.fromEntries(rules.map((rule) => [rule.id, rule.cedar]));
  return {
    set: { key: `${id} ${action}${whose === 'agent' ? '' : ` of ${whose}`}`, policies },
    rules: new Map(rules.map((rule) => [rule.id, rule])),
    patterns: [...(book.patterns.get(action)?.values() ?? [])],
    readsChangedPaths: rules.some((rule) => JSON.stringify(rule.cedar.conditions).includes('"changedPaths"')),
  };
}

/** Nothing that a run decides by changes while it runs. Maps are not reached: nothing hands them out. */
function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (inner !== null && typeof inner === 'object' && !(inner instanceof Map) && !Object.isFrozen(inner))
      freeze(inner);
  }
  return Object.freeze(value);
}
