/** The names under which an agent is told of the policy's MCP servers. */
import { createHash } from 'node:crypto';
import type { McpPlace } from '../agents/agent.ts';

/** From the run's randomness, which its replay has again: a repository cannot know it before. Tools' names have little room beside it. */
export function aliasOf(name: string, seed: string): string {
  const own = createHash('sha256').update(`mcp\n${seed}\n${name}`).digest('hex');
  return `${name.slice(0, 20)}-${own.slice(0, 10)}`;
}

/** The servers as an agent is told of them, by name or by alias. */
export function placesFor(mcp: readonly McpPlace[], byAlias: boolean): readonly McpPlace[] {
  return byAlias ? mcp.map((place) => ({ ...place, name: place.alias })) : mcp;
}
