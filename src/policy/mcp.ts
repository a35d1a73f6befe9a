import type { Problem } from '../base/errors.ts';
import type { RuleRef } from './decision.ts';
import type { EffectivePolicy, Slice } from './effective.ts';
import { matchSegment } from './globs.ts';
import type { HostRule } from './host-rules.ts';
import { coversHost, hostPatternText } from './hosts.ts';
import type { McpServerEntry } from './mcp-schema.ts';
import { type NetworkHost, networkHosts } from './network.ts';
import { cite, type Layer, type RuleBook, valuesOf } from './rule.ts';
import { compileHosts } from './short-forms.ts';

/** MCP servers that a policy names: what they are, which of their tools an agent may call, where they may connect to. */

const DEFAULT_TIMEOUT = 60_000;
const DEFAULT_CALLS = 1_000;

/** One that a run may use. What it may be asked is `decide`'s to say (`tool.call`); where it may connect to is that of {@link policyOfServer}. */
export interface McpServer {
  readonly name: string;
  readonly how:
    | {
        readonly kind: 'command';
        readonly argv: readonly [string, ...string[]];
        /** It sees the files that the run starts from. */
        readonly workspace: boolean;
        readonly env: Readonly<Record<string, string>>;
        /** In its environment, each by its own name. */
        readonly secrets: readonly string[];
      }
    | {
        readonly kind: 'url';
        readonly url: string;
        readonly host: string;
        readonly port: number;
        readonly path: string;
        /** Shown to it as a bearer token. */
        readonly secret: string | null;
      };
  /** Milliseconds for one call. */
  readonly timeout: number;
  /** Of one run. */
  readonly calls: number;
  readonly rule: RuleRef;
  readonly network: readonly NetworkHost[];
}

/** What the rules say of one server's own connections, which are not the agent's. */
export type ServerSlices = Readonly<Record<'net.connect' | 'net.request', Slice>>;

type Servers = Readonly<Record<string, McpServerEntry>>;
const serversOf = (layer: Layer | undefined): Servers =>
  layer === undefined ? {} : (valuesOf(layer).mcp_servers ?? {});

/** In the environment of a server a secret is used by that server alone: the host that rules are told. */
export const secretHost = (server: string) => `mcp-${server}`;

/** Where the repository names a server and leaves to the organisation what it is, all but its tools is the organisation's. */
function entriesOf(layer: Layer, layers: readonly Layer[]): readonly [string, McpServerEntry][] {
  const ceiling = layers.find(({ side }) => side === 'ceiling');
  return Object.entries(serversOf(layer)).map(([name, entry]) => {
    if (entry.command !== undefined || entry.url !== undefined || layer.side === 'ceiling') return [name, entry];
    return [name, { ...serversOf(ceiling)[name], tools: [], ...entry }];
  });
}

/** The rules of one layer: its servers' tools, hosts and secrets. */
export function compileMcp(layer: Layer, layers: readonly Layer[], book: RuleBook): void {
  for (const [name, entry] of entriesOf(layer, layers)) {
    compileTools(layer, book, name, entry);
    const hosts = hostsOf(entry);
    const key = entry.url === undefined ? 'hosts' : 'url';
    compileHosts(
      layer,
      book,
      hosts,
      ({ pattern }, i) =>
        cite(
          layer,
          ['mcp_servers', name, key, ...(key === 'hosts' ? [i] : [])],
          `mcp_servers.${name}.${key}: ${hostPatternText(pattern)}`,
          true,
        ),
      name,
    );
    compileSecrets(layer, book, name, entry);
  }
}

function compileTools(layer: Layer, book: RuleBook, server: string, { tools = [] }: McpServerEntry): void {
  const entries = tools.map((glob, i) => {
    const pattern = `${server}/${glob}`;
    book.pattern('tool.call', {
      text: pattern,
      test: (action) => action.action === 'tool.call' && action.server === server && matchSegment(glob, action.tool),
    });
    return {
      pattern,
      rule: cite(layer, ['mcp_servers', server, 'tools', i], `mcp_servers.${server}.tools: ${glob}`, true),
    };
  });
  const [first] = entries;
  if (first !== undefined) book.add(layer, { action: 'tool.call', role: 'permit', rule: first.rule, entries });
}

function compileSecrets(layer: Layer, book: RuleBook, server: string, entry: McpServerEntry): void {
  const uses = [
    ...(entry.secret === undefined || entry.url === undefined
      ? []
      : [{ name: entry.secret, host: entry.url.host, key: 'secret' }]),
    ...(entry.secrets ?? []).map((name) => ({ name, host: secretHost(server), key: 'secrets' })),
  ];
  for (const { name, host, key } of uses) {
    const pattern = `${name} for ${host} (MCP)`;
    book.pattern('secret.use', {
      text: pattern,
      test: (action) => action.action === 'secret.use' && action.name === name && action.host === host,
    });
    const rule = cite(layer, ['mcp_servers', server, key], `mcp_servers.${server}.${key}: ${name}`, true);
    book.add(layer, { action: 'secret.use', role: 'permit', rule, entries: [{ pattern, rule }] });
  }
}

/** A remote server's own address is the one place it is at. */
function hostsOf({ hosts, url, private: own }: McpServerEntry): readonly HostRule[] {
  if (url === undefined) return hosts ?? [];
  const pattern = { host: url.host, port: url.port, wildcard: false };
  return [{ pattern, methods: null, paths: null, ...(own === true ? { private: true } : {}) }];
}

/** The granting document's servers, as far as the organisation has them too; what differs is not there, and is told. */
export function combineMcp(layers: readonly Layer[]): { servers: readonly McpServer[]; problems: readonly Problem[] } {
  const ceiling = layers.find((layer) => layer.side === 'ceiling');
  const grants = layers.find((layer) => layer.side === 'grant');
  const above = ceiling === undefined ? null : serversOf(ceiling);
  const servers: McpServer[] = [];
  const problems: Problem[] = [];
  for (const [name, entry] of grants === undefined ? [] : entriesOf(grants, layers)) {
    const outer = above?.[name];
    const why = whyNot(name, entry, above, outer, ceiling);
    if (why === null) servers.push(combined(name, entry, outer, ceiling, grants as Layer));
    if (why !== null || (entry.tools ?? []).length === 0) {
      problems.push(problem(grants as Layer, name, why ?? NO_TOOLS(name)));
    }
  }
  return { servers, problems };
}

interface Why {
  readonly message: string;
  readonly remedy: string;
}

const NO_TOOLS = (name: string): Why => ({
  message: `mcp_servers.${name} names no tools: none of them may be called`,
  remedy: 'name those that may: tools: [search, "get_*"]',
});

function problem(layer: Layer, name: string, why: Why): Problem {
  const yaml = layer.document?.yaml;
  return { file: layer.file, ...(yaml?.place(['mcp_servers', name], 'key') ?? { line: 1, column: 1 }), ...why };
}

/** Why a server cannot be used; null when it can. */
function whyNot(
  name: string,
  entry: McpServerEntry,
  above: Servers | null,
  outer: McpServerEntry | undefined,
  ceiling: Layer | undefined,
): Why | null {
  const where = `mcp_servers.${name}`;
  const missing = entry.command === undefined && entry.url === undefined;
  if (above === null || ceiling === undefined) {
    if (!missing) return null;
    return {
      message: `${where} has neither a command nor a url`,
      remedy: 'write command: [/usr/bin/…] or url: https://…',
    };
  }
  const not = (what: string): Why => ({
    message: `${what} is above the organisation's ceiling (${ceiling.file}) and has no effect: the server is not started`,
    remedy: `remove it, or have ${ceiling.file} changed`,
  });
  if (outer === undefined) return not(`the server ${name}`);
  if (missing || !sameKind(entry, outer)) return not(`${where}: another program or address than there`);
  if (entry.workspace === 'read' && outer.workspace !== 'read') return not(`${where}.workspace: read`);
  if (entry.private === true && outer.private !== true) return not(`${where}.private: true`);
  const secrets = [outer.secret, ...(outer.secrets ?? [])];
  const secret = [entry.secret, ...(entry.secrets ?? [])].find((one) => one !== undefined && !secrets.includes(one));
  if (secret !== undefined) return not(`${where}: the secret ${secret}`);
  const variable = Object.entries(entry.env ?? {}).find(([key, value]) => outer.env?.[key] !== value);
  return outer.command !== undefined && variable !== undefined ? not(`${where}.env.${variable[0]}`) : null;
}

function sameKind(inner: McpServerEntry, outer: McpServerEntry): boolean {
  return inner.url === undefined
    ? JSON.stringify(inner.command) === JSON.stringify(outer.command)
    : inner.url.text === outer.url?.text;
}

function combined(
  name: string,
  entry: McpServerEntry,
  outer: McpServerEntry | undefined,
  ceiling: Layer | undefined,
  layer: Layer,
): McpServer {
  const [program = '', ...args] = entry.command ?? [];
  const least = (key: 'timeout' | 'calls', usual: number) =>
    Math.min(entry[key] ?? usual, outer?.[key] ?? entry[key] ?? usual);
  return {
    name,
    how:
      entry.url === undefined
        ? {
            kind: 'command',
            argv: [program, ...args],
            workspace: entry.workspace === 'read',
            env: entry.env ?? {},
            secrets: entry.secrets ?? [],
          }
        : {
            kind: 'url',
            url: entry.url.text,
            host: entry.url.host,
            port: entry.url.port,
            path: entry.url.path,
            secret: entry.secret ?? null,
          },
    timeout: least('timeout', DEFAULT_TIMEOUT),
    calls: least('calls', DEFAULT_CALLS),
    rule: cite(layer, ['mcp_servers', name], `mcp_servers.${name}`, true),
    network: [...networkHosts('grant', hostsOf(entry)), ...(ceiling === undefined ? [] : ceilingHosts(ceiling, outer))],
  };
}

function ceilingHosts(ceiling: Layer, outer: McpServerEntry | undefined): readonly NetworkHost[] {
  const general = valuesOf(ceiling).security?.allowed_network_hosts ?? [];
  return networkHosts('ceiling', [...general, ...(outer === undefined ? [] : hostsOf(outer))]);
}

/** Hosts of servers that neither the organisation's general list nor its own entry of the server covers. */
export function mcpAboveCeiling(organisation: Layer, repository: Layer): Problem[] {
  return Object.entries(serversOf(repository)).flatMap(([name, entry]) => {
    const outer = serversOf(organisation)[name];
    if (outer === undefined) return [];
    const allowed = [...(valuesOf(organisation).security?.allowed_network_hosts ?? []), ...hostsOf(outer)];
    return hostsOf(entry)
      .filter(({ pattern }) => !allowed.some((each) => coversHost(each.pattern, pattern)))
      .map(({ pattern }) =>
        problem(repository, name, {
          message: `mcp_servers.${name}: the host ${hostPatternText(pattern)} is above the organisation's ceiling (${organisation.file}) and has no effect`,
          remedy: `remove it, or have ${organisation.file} changed`,
        }),
      );
  });
}

/** The policy as it holds for what a server itself sends: its own hosts, and not the agent's. */
export function policyOfServer(policy: EffectivePolicy, { name, network }: McpServer): EffectivePolicy {
  const slices = policy.mcp.slices[name];
  if (slices === undefined) throw new RangeError(`the policy has no server ${name}`);
  return { ...policy, network, slices: { ...policy.slices, ...slices } };
}

export function mcpIdentity(servers: readonly McpServer[]) {
  return servers.map(({ rule: _, ...server }) => server);
}
