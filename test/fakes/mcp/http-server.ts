/** A real MCP server over streamable HTTP, made with the official SDK: sessions, and answers as events or as JSON. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { z } from 'zod';

export interface Remote {
  serve(request: IncomingMessage, response: ServerResponse): void;
  /** The credentials that it was shown. */
  readonly shown: (string | undefined)[];
  /** Calls of tools that arrived. */
  readonly called: string[];
  /** Forgets all sessions, as a restart does. */
  forget(): void;
}

export function remoteServer(options: { readonly json?: boolean } = {}): Remote {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const shown: (string | undefined)[] = [];
  const called: string[] = [];
  const open = async () => {
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: options.json ?? false,
      onsessioninitialized: (id) => void sessions.set(id, transport),
    });
    const server = new McpServer({ name: 'tracker', version: '9' });
    const say = (text: string) => ({ content: [{ type: 'text' as const, text }] });
    server.registerTool('list_issues', { description: 'Issues', inputSchema: { state: z.string() } }, ({ state }) => {
      called.push(`list_issues ${state}`);
      return say(`three issues are ${state}`);
    });
    server.registerTool('get_echo', { description: 'What it was shown' }, () => say(`shown: ${shown.at(-1)}`));
    server.registerTool('delete_issue', { description: 'Deletes' }, () => say('deleted'));
    // The SDK's own types differ from one another where undefined is told apart from left out.
    await server.connect(transport as unknown as Transport);
    return transport;
  };
  return {
    shown,
    called,
    forget: () => sessions.clear(),
    serve(request, response) {
      shown.push(request.headers.authorization);
      const id = request.headers['mcp-session-id'];
      const known = typeof id === 'string' ? sessions.get(id) : undefined;
      if (id !== undefined && known === undefined) response.writeHead(404).end();
      else
        void (known === undefined ? open() : Promise.resolve(known)).then((one) =>
          one.handleRequest(request, response),
        );
    },
  };
}
