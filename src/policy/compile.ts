import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { DocumentError, type Problem } from '../base/errors.ts';
import type { ActionName } from './action.ts';
import { CEDAR_VERSION } from './cedar.ts';
import { cedarSchema } from './cedar-schema.ts';
import { aboveCeiling, citeCeiling } from './ceiling.ts';
import type { ResolvedCommand } from './commands.ts';
import { combineDependencies, dependencyIdentity, idleDependencies } from './dependencies.ts';
import { COMPILER, type EffectivePolicy } from './effective.ts';
import { checkMayGrant, type ParsedGrants, parseGrants, type RequestGrants } from './grants.ts';
import { idleParts } from './idle.ts';
import type { InlineTest, TestResult } from './inline-tests.ts';
import { combineMcp, compileMcp, type McpServer, mcpAboveCeiling, mcpIdentity } from './mcp.ts';
import { combineModels } from './models.ts';
import { combineNetwork } from './network.ts';
import { compileApprovalCondition, compileRaw } from './raw.ts';
import { refuseAboveCeiling } from './request-ceiling.ts';
import { compileRequest } from './request-rules.ts';
import { DEFAULT_FILE, type Layer, RuleBook, valuesOf } from './rule.ts';
import type { ParsedDocument } from './schema.ts';
import { combineCommands, combineFilesystem, combineGit, combineLimits, combineSandbox } from './settings.ts';
import { compileOpenings } from './short-forms.ts';
import { serverSlices, slicesOf } from './slices.ts';
import type { Source } from './source.ts';
import { compileAlways, compileApproval, compileTree, PROTECTED_PHRASE } from './tree-rules.ts';

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

/** What layers combine to besides rules. */
type Settings = Pick<
  EffectivePolicy,
  'limits' | 'commands' | 'filesystem' | 'git' | 'network' | 'dependencies' | 'llm' | 'sandbox'
>;

const FULL_COMPILER = `${COMPILER} cedar/${CEDAR_VERSION}`;

function finish(layers: readonly Layer[], grants: ParsedGrants, book: RuleBook): EffectivePolicy {
  const organisation = layers.find((layer) => layer.side === 'ceiling');
  const repository = layers.find((layer) => layer.side === 'grant' && layer.document !== null);
  const settings: Settings = {
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
  const documents = layers.flatMap((layer) =>
    layer.document === null ? [] : [{ layer: layer.name, file: layer.file, digest: digest(layer.document.text) }],
  );
  const id = digestOf(documents, settings, mcp.servers, book);
  return freeze({
    digest: id,
    compiler: FULL_COMPILER,
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
    slices: slicesOf(id, book),
    ceiling:
      organisation === undefined
        ? null
        : { file: organisation.file, cite: (action: ActionName) => citeCeiling(organisation, action) },
    grantFile: repository?.file ?? DEFAULT_FILE,
  });
}

/** Over all that an answer can hang on: documents, rules, settings, the files that run, schema and compiler. */
function digestOf(
  documents: EffectivePolicy['layers'],
  settings: Settings,
  servers: readonly McpServer[],
  book: RuleBook,
): string {
  const identity = {
    documents: documents.map((document) => ({ layer: document.layer, digest: document.digest })),
    rules: Object.fromEntries(book.rules.map((rule) => [rule.id, rule.cedar])),
    settings: {
      ...settings,
      limits: { ...settings.limits, cpus: String(settings.limits.cpus) },
      commands: settings.commands?.map(({ path, sha256 }) => ({ path, sha256 })) ?? null,
      dependencies: dependencyIdentity(settings.dependencies),
      ...(servers.length === 0 ? {} : { mcp: mcpIdentity(servers) }),
    },
    resolved:
      book.resolved === undefined
        ? null
        : Object.fromEntries([...book.resolved].map(([name, file]) => [name, `${file.path} ${file.sha256}`])),
    schema: cedarSchema,
    compiler: FULL_COMPILER,
  };
  return digest(canonicalJson(identity as unknown as Json));
}

/** Nothing that a run decides by changes while it runs. Maps are not reached: nothing hands them out. */
function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (inner !== null && typeof inner === 'object' && !(inner instanceof Map) && !Object.isFrozen(inner))
      freeze(inner);
  }
  return Object.freeze(value);
}
