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

export type ProfileName = keyof typeof profiles;

export const profileNames = Object.keys(profiles) as ProfileName[];

export function isProfile(name: string): name is ProfileName {
  return Object.hasOwn(profiles, name);
}
