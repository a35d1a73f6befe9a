import type { JsonObject } from './jsonrpc.ts';

/** The port to one MCP server, however it is reached. What it says is an enemy's: parsed, bounded in size and time. */
export interface Upstream {
  /** Its result. Throws `McpFault`; when the signal is aborted, whatever the server does. */
  request(method: string, params: JsonObject, signal: AbortSignal): Promise<JsonObject>;
  notify(method: string, params: JsonObject): Promise<void>;
  /** From `initialize` on, what both speak. */
  speaks(version: string): void;
  /** Resolves, with why, when it can be asked nothing more. */
  readonly ended: Promise<string>;
  /** Idempotent. Resolves when nothing of it is left. */
  close(): Promise<void>;
}

/** What a server does besides answering. Bounded by whoever records it. */
export interface Sightings {
  /** It asked for something: the agent's files, model or user. It was refused. */
  asked(method: string): void;
  /** It sent what has no meaning. */
  garbage(detail: string): void;
}
