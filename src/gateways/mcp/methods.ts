import type { Mcp } from './gateway.ts';
import { Code, isObject, type JsonObject, MessageError } from './jsonrpc.ts';
import { LATEST, OLDER, STATELESS } from './versions.ts';

export interface Asked {
  readonly server: string;
  readonly id: string;
  readonly method: string;
  readonly params: JsonObject;
  readonly signal: AbortSignal;
}

const CAPABILITIES = { tools: {} };

/** What of MCP an agent is offered: tools, and nothing else. Throws `MessageError`, and `McpFault` for a server that gives no answer. */
export async function answerMethod(mcp: Mcp, { server, id, method, params, signal }: Asked): Promise<JsonObject> {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: agreed(params.protocolVersion),
        capabilities: CAPABILITIES,
        serverInfo: serverInfo(server),
      };
    case 'server/discover':
      return {
        supportedVersions: [STATELESS, LATEST, ...OLDER],
        capabilities: CAPABILITIES,
        serverInfo: serverInfo(server),
        ...FRESH,
      };
    case 'ping':
      return {};
    case 'tools/list':
      if (params.cursor !== undefined) throw new MessageError(Code.params, 'there is one page of tools');
      return { tools: await mcp.offer(server, signal), ...FRESH };
    case 'tools/call':
      return { ...(await mcp.call({ server, id, ...readCall(params) }, signal)) };
    default:
      throw new MessageError(
        Code.method,
        `${method} is not offered: of MCP servers that a policy names, an agent has the tools and nothing else`,
      );
  }
}

/** Of no use to who keeps it: the next listing may be another. */
const FRESH = { ttlMs: 0, cacheScope: 'private' };

const serverInfo = (name: string) => ({ name: `cordon/${name}`, version: '1' });

/** What was asked for where it is spoken here, else the newest with a handshake: the client says whether that will do. */
function agreed(asked: unknown): string {
  return typeof asked === 'string' && OLDER.includes(asked) ? asked : LATEST;
}

function readCall(params: JsonObject): { readonly tool: string; readonly args: JsonObject } {
  const { name, arguments: args = {} } = params;
  const stray = Object.keys(params).find((key) => !['name', 'arguments', '_meta'].includes(key));
  if (stray !== undefined) throw new MessageError(Code.params, 'a call has a name and arguments, and nothing else');
  if (typeof name !== 'string') throw new MessageError(Code.params, 'a call names its tool');
  if (!isObject(args)) throw new MessageError(Code.params, 'arguments are an object');
  return { tool: name, args };
}
