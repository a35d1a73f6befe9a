/** An MCP server that is reached over the network, through an egress gateway of its own: same verdict, same checks, its own hosts. */
import type { Egress } from '../gateways/egress/egress.ts';
import { McpFault } from '../gateways/mcp/fault.ts';
import { HttpUpstream, type Send } from '../gateways/mcp/http.ts';
import { defaultMcpLimits } from '../gateways/mcp/limits.ts';
import type { Upstream } from '../gateways/mcp/upstream.ts';
import type { McpServer } from '../policy/index.ts';
import type { ServerKey } from './mcp-keys.ts';
import { sightings } from './mcp-sightings.ts';
import { serverEgress } from './network.ts';
import type { RunScope } from './scope.ts';

type Remote = Extract<McpServer['how'], { kind: 'url' }>;

/** `key`: what it is shown; null where the policy names no secret. */
export async function reachServer(
  scope: RunScope,
  server: McpServer,
  remote: Remote,
  key: ServerKey | null,
): Promise<Upstream> {
  const egress = await serverEgress(scope, server);
  const upstream = new HttpUpstream(
    server.name,
    sender(egress, server.name, remote, key),
    defaultMcpLimits,
    sightings(scope, server.name),
  );
  void upstream.ended.then((reason) => {
    const resource = { server: server.name, reason: reason.slice(0, 1_000), stderrBytes: 0 };
    scope.run.log.enqueue({ type: 'mcp.stopped', action: null, resource });
    return egress.close();
  });
  return {
    request: (method, params, signal) => upstream.request(method, params, signal),
    notify: (method, params) => upstream.notify(method, params),
    speaks: (version) => upstream.speaks(version),
    ended: upstream.ended,
    async close() {
      await upstream.close();
      await egress.close();
    },
  };
}

function sender(egress: Egress, name: string, { host, port, path: whole }: Remote, key: ServerKey | null): Send {
  const mark = whole.indexOf('?');
  const path = mark < 0 ? whole : whole.slice(0, mark);
  const query = mark < 0 ? null : whole.slice(mark + 1);
  return async (method, headers, body, signal) => {
    const value = await key?.value();
    const authorization = value === undefined ? {} : { Authorization: `Bearer ${value}` };
    const target = { host, port, method, path, query, body };
    try {
      const answer = await egress.ask({ ...target, headers: { ...headers, ...authorization } }, signal);
      const named = Object.fromEntries(answer.headers.map(({ lower, value: text }) => [lower, text]));
      return { status: answer.status, headers: named, body: answer.body };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw new McpFault('ended', `the MCP server ${name} cannot be reached: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
}
