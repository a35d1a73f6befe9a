import type { AgentProfile } from '../agent.ts';

/** Every profile, by the name that `--agent` takes. Loaded when it is asked for. */
export const profiles = {
  'claude-code': async () => (await import('./claude-code.ts')).claudeCode,
  codex: async () => (await import('./codex.ts')).codex,
  opencode: async () => (await import('./opencode.ts')).opencode,
  gemini: async () => (await import('./gemini.ts')).gemini,
  pi: async () => (await import('./pi.ts')).pi,
  qwen: async () => (await import('./qwen.ts')).qwen,
} as const satisfies Record<string, () => Promise<AgentProfile>>;

/** Those that are only talked with (`--agent acp … -- NAME`): packages beside the agents that they lend a protocol to. */
const adapters = {
  'claude-code-acp': async () => (await import('./claude-code-acp.ts')).claudeCodeAcp,
  'codex-acp': async () => (await import('./codex-acp.ts')).codexAcp,
} as const satisfies Record<string, () => Promise<AgentProfile>>;

/** Every one that can be installed, and stands behind `--agent acp … --`. */
export const knownAgents = { ...profiles, ...adapters };

export type ProfileName = keyof typeof profiles;
export type KnownAgent = keyof typeof knownAgents;

export const profileNames = Object.keys(profiles) as ProfileName[];

export function isProfile(name: string): name is ProfileName {
  return Object.hasOwn(profiles, name);
}

export const knownAgentNames = Object.keys(knownAgents) as KnownAgent[];

export function isKnownAgent(name: string): name is KnownAgent {
  return Object.hasOwn(knownAgents, name);
}
