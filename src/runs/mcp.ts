/** The MCP servers of one run: the gateway that agents reach them through, and the record of what they do. */
import { randomBytes } from 'node:crypto';
import { Mcp, type McpCall, type McpLog } from '../gateways/mcp/gateway.ts';
import type { JsonObject } from '../gateways/mcp/jsonrpc.ts';
import { McpServer as Listener } from '../gateways/mcp/server.ts';
import type { Upstream } from '../gateways/mcp/upstream.ts';
import type { McpServer } from '../policy/index.ts';
import { decide, refText } from '../policy/index.ts';
import type { ListeningPlace, ListeningSocket } from '../sandbox/sandbox.ts';
import { placeholderIn } from './lent.ts';
import { ServerKeys } from './mcp-keys.ts';
import { aliasOf } from './mcp-places.ts';
import { MCP_PORT } from './program-settings.ts';
import { mcpRecorder, mcpReplay } from './recording/run.ts';
import type { RunScope } from './scope.ts';
import { ToolGate } from './tool-gate.ts';

/** On the sandbox's own loopback. */
const ADDRESS = `http://127.0.0.1:${MCP_PORT}`;
/** Events of one kind that say what a server or a guest did wrong: enough to see what it was. */
const MOST_TOLD = 50;

export interface RunMcp {
  /** Variables for every command of the agent's. */
  readonly env: Readonly<Record<string, string>>;
  readonly places: readonly ListeningPlace[];
  start(sockets: readonly ListeningSocket[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * For a policy that names servers. None is started before an agent asks for it. `token`: what the
 * run shows its model gateway; null where it has none. `checkout`: the files that the run starts from.
 */
export async function openRunMcp(scope: RunScope, token: string | null, checkout: string): Promise<RunMcp> {
  const { servers } = scope.loaded.policy.mcp;
  const own = token ?? ownToken(scope);
  const gate = new ToolGate(scope);
  const made = { checkout, keys: new ServerKeys(scope) };
  const { policy } = scope.loaded;
  const mcp = new Mcp({
    servers: servers.map(({ name, timeout, calls }) => ({ name, timeout, calls })),
    open: (name, attempt, signal) => openServer(scope, serverOf(servers, name), made, { attempt, signal }),
    mayCall: (server, tool) => decide(policy, { action: 'tool.call', server, tool }).effect !== 'deny',
    judge: (call, until) => gate.judge({ ...call, step: null, input: call.args, brief: briefOf(call) }, until),
    holdsSecret: (server, args) => holdsSecret(scope, server, args),
    redact: (value) => scope.run.log.redacted(value),
    log: mcpLog(scope, servers),
    clock: scope.system.clock,
    recorder: mcpRecorder(scope),
    replay: mcpReplay(scope),
    ...(scope.agent.needsMcp === true ? { onUnlisted: unlisted(scope) } : {}),
    ...(scope.resumption === null ? {} : { made: scope.resumption.calls }),
  });
  const listener = new Listener({ mcp, token: own, hosts: [`127.0.0.1:${MCP_PORT}`, `localhost:${MCP_PORT}`] });
  scope.mcpServers = mcp;
  scope.mcp = servers.map(({ name }) => ({
    name,
    title: name,
    alias: aliasOf(name, scope.offered.seed),
    url: `${ADDRESS}/${name}`,
    token: own,
  }));
  let closing: Promise<void> | null = null;
  return {
    env: { CORDON_MCP_URL: ADDRESS, CORDON_MCP_TOKEN: own },
    places: [{ port: MCP_PORT, how: 'tcp' }],
    async start(sockets) {
      await Promise.all(sockets.map((fd) => listener.attach({ fd })));
    },
    close() {
      closing ??= Promise.all([listener.close(), mcp.close()]).then(() => {});
      return closing;
    },
  };
}

function ownToken(scope: RunScope): string {
  const token = `cordon-run-${randomBytes(24).toString('base64url')}`;
  scope.recorder?.own(token);
  scope.tape?.own.push(token);
  return token;
}

function serverOf(servers: readonly McpServer[], name: string): McpServer {
  const server = servers.find((one) => one.name === name);
  if (server === undefined) throw new RangeError(`no server ${name}`);
  return server;
}

interface Start {
  readonly attempt: number;
  readonly signal: AbortSignal;
}

async function openServer(
  scope: RunScope,
  server: McpServer,
  { checkout, keys }: { readonly checkout: string; readonly keys: ServerKeys },
  start: Start,
): Promise<Upstream> {
  const { how } = server;
  if (how.kind === 'url') {
    const key = how.secret === null ? null : keys.of(server, how.secret);
    return (await import('./mcp-remote.ts')).reachServer(scope, server, how, key);
  }
  const own = how.secrets.map((name) => keys.of(server, name));
  return (await import('./mcp-sandbox.ts')).startServer(scope, server, how, checkout, own, start);
}

function briefOf({ args }: McpCall): string {
  return JSON.stringify(args);
}

/** What is in a call leaves the run: neither the value of a secret nor what stands for one may go. */
async function holdsSecret(scope: RunScope, server: string, args: JsonObject): Promise<string | null> {
  const placeholder = await placeholderIn(scope, JSON.stringify(args), `arguments of a tool of ${server}`);
  if (placeholder !== null)
    return `the placeholder of ${placeholder} was in its arguments: it stands only in the header and for the host that the policy names`;
  const texts: string[] = [];
  JSON.stringify(args, (key, value: unknown) => {
    texts.push(key);
    if (typeof value === 'string') texts.push(value);
    return value;
  });
  const name = texts.map((text) => scope.redactor.nameIn(text)).find((found) => found !== null);
  return name === undefined ? null : `its arguments hold a secret (${name})`;
}

/** Once a server: why it does not start is in its record already, and shown. */
function unlisted({ io }: RunScope): (server: string) => void {
  const told = new Set<string>();
  return (server) => {
    if (told.has(server)) return;
    told.add(server);
    io.onProgress({ step: `the agent goes on without the tools of the MCP server ${server}`, alarming: true });
  };
}

function mcpLog(scope: RunScope, servers: readonly McpServer[]): McpLog {
  const { run } = scope;
  let told = 0;
  return {
    starting(name, attempt) {
      const { how, rule } = serverOf(servers, name);
      const where =
        how.kind === 'url' ? [how.url.split('?', 1)[0] ?? ''] : how.argv.map((word) => word.slice(0, 1_000));
      const resource = { server: name, how: how.kind, where, rule: `${refText(rule)} ${rule.text}`, attempt };
      return run.log.append({ type: 'mcp.start', action: null, resource });
    },
    async started(token, server, { facts, reason }) {
      const resource = {
        server,
        name: facts?.name ?? null,
        version: facts?.version ?? null,
        protocol: facts?.protocol ?? null,
      };
      const outcome = { result: reason === null ? 'done' : 'failed', reason: reason?.slice(0, 1_000) ?? null } as const;
      await run.log.append({ type: 'mcp.started', action: null, resource, outcome, cause: token as number });
      if (reason !== null) scope.warn(reason);
    },
    stopped() {}, // whatever was started tells, with what it wrote
    async listed(server, { tools, digest, hidden }, changed) {
      const content = await new ToolGate(scope).keep(tools as never);
      const resource = { server, digest, tools: tools.length, hidden, changed: changed.slice(0, 100) };
      await run.log.append({ type: 'mcp.tools', action: null, resource, ...content });
      if (changed.length > 0)
        scope.warn(`the MCP server ${server} tells otherwise of ${changed.slice(0, 5).join(', ')} than it did before`);
    },
    unjudged({ what, server, detail }) {
      if (++told > MOST_TOLD) return;
      run.log.enqueue({ type: 'mcp.unjudged', action: null, resource: { what, server, detail: detail.slice(0, 512) } });
    },
  };
}
