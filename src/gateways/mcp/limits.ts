/** What one run may take of its MCP servers. Times in milliseconds, sizes in bytes or characters. */
export interface McpLimits {
  /** One message of a guest, and of a server. */
  readonly request: number;
  readonly message: number;
  /** All text of one result; what is more is cut, and says so. */
  readonly result: number;
  /** Requests of guests that are open at once, and calls of one server. */
  readonly open: number;
  readonly concurrent: number;
  /** From the start of a server to its answer to `initialize`. */
  readonly startTime: number;
  readonly listTime: number;
  /** Times that one server is started in a run. */
  readonly starts: number;
  readonly tools: number;
  readonly pages: number;
  /** Of one tool: its description, and its schemas as JSON. */
  readonly description: number;
  readonly schema: number;
  /** Messages of one server without meaning, before it is given up. */
  readonly garbage: number;
  /** Its pings and notices in its life: they are read, and mean nothing here. */
  readonly chatter: number;
  /** Listings that are asked for. */
  readonly listings: number;
  /** Calls of guests that are not permitted, and characters of all arguments: each is kept. */
  readonly refusals: number;
  readonly arguments: number;
  /** Connections of guests, and milliseconds that an answer waits to be read. */
  readonly connections: number;
  readonly unread: number;
}

export const defaultMcpLimits: McpLimits = {
  request: 1024 * 1024,
  message: 8 * 1024 * 1024,
  result: 512 * 1024,
  open: 64,
  concurrent: 8,
  startTime: 60_000,
  listTime: 30_000,
  starts: 4,
  tools: 256,
  pages: 32,
  description: 4_000,
  schema: 32 * 1024,
  garbage: 100,
  chatter: 100_000,
  listings: 500,
  refusals: 10_000,
  arguments: 256 * 1024 * 1024,
  connections: 256,
  unread: 30_000,
};
