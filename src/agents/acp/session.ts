/** A session of an agent's: opened, logged in to with what is there, in the mode that the policy's rules need, with the run's MCP servers. */
import {
  type InitializeResponse,
  type McpServer,
  type NewSessionResponse,
  RequestError,
  type SessionModeState,
} from '@agentclientprotocol/sdk';
import type { AcpPlan, McpPlace } from '../agent.ts';

/** JSON-RPC's code for an agent that wants somebody to log in. */
export const AUTH_REQUIRED = -32000;

/** What the session is asked of. Fits the SDK's side of an agent. */
export interface Asked {
  request(method: 'session/new', params: { cwd: string; mcpServers: McpServer[] }): Promise<NewSessionResponse>;
  request(method: 'session/set_mode', params: { sessionId: string; modeId: string }): Promise<unknown>;
  request(method: 'session/set_title', params: { sessionId: string; title: string }): Promise<unknown>;
  request(method: 'authenticate', params: { methodId: string }): Promise<unknown>;
}

export interface SessionWish {
  readonly cwd: string;
  readonly mcp: readonly McpPlace[];
  /** What the agent finds in its environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly plan: Pick<AcpPlan, 'meta' | 'modes'> | null;
  /** The policy has rules on what an agent asks leave for. */
  readonly mustAsk: boolean;
  note(message: string): void;
}

/** What agents call the way to log in that takes a key from their environment, and the variable they take it from. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  'gemini-api-key': ['GEMINI_API_KEY'],
  'anthropic-api-key': ['ANTHROPIC_API_KEY'],
  'openai-api-key': ['OPENAI_API_KEY'],
  'codex-api-key': ['CODEX_API_KEY'],
  'api-key': ['CODEX_API_KEY', 'OPENAI_API_KEY'],
  openai: ['OPENAI_API_KEY'],
};

/** Modes in which agents of no known profile ask. */
const ASKING = ['default', 'ask', 'manual', 'read-only'];

/** Of a session that no person will look for in a list. */
const TITLE = 'Cordon';

/** Resolves with the session's id. Rejects with what the agent answered, or an `Error` that says what is missing. */
export async function openSession(agent: Asked, hello: InitializeResponse, wish: SessionWish): Promise<string> {
  const mcpServers = serversFor(hello, wish);
  const params = { cwd: wish.cwd, mcpServers, ...(wish.plan?.meta === undefined ? {} : { _meta: wish.plan.meta }) };
  const { sessionId, modes } = await agent.request('session/new', params).catch(async (error: unknown) => {
    if (!(error instanceof RequestError) || error.code !== AUTH_REQUIRED) throw error;
    await logIn(agent, hello, wish.env);
    return agent.request('session/new', params);
  });
  if (takesTitle(hello)) {
    // Without one Codex asks a model of its own choice for one when the turn ends, at the run's expense. If it refuses this, it may.
    await agent.request('session/set_title', { sessionId, title: TITLE }).catch(() => {});
  }
  const mode = modeFor(modes, wish);
  if (mode !== null) await agent.request('session/set_mode', { sessionId, modeId: mode });
  return sessionId;
}

/** A part of the protocol that the SDK's stable types do not have yet. */
function takesTitle({ agentCapabilities }: InitializeResponse): boolean {
  const able: object = agentCapabilities?.sessionCapabilities ?? {};
  return 'title' in able && able.title != null;
}

/** Over HTTP alone: a server that the agent would start itself would be one that nobody looks at. */
function serversFor({ agentCapabilities }: InitializeResponse, { mcp, note }: SessionWish): McpServer[] {
  if (mcp.length === 0) return [];
  if (agentCapabilities?.mcpCapabilities?.http !== true) {
    note(`this agent takes no MCP servers over HTTP: it goes without ${mcp.map(({ title }) => title).join(', ')}`);
    return [];
  }
  return mcp.map(({ name, url, token }) => ({
    type: 'http',
    name,
    url,
    headers: [{ name: 'Authorization', value: `Bearer ${token}` }],
  }));
}

/** With the run's own key, where the agent takes one from its environment. There is nobody who could do more. */
async function logIn(agent: Asked, { authMethods = [] }: InitializeResponse, env: SessionWish['env']): Promise<void> {
  const usable = authMethods.find(({ id }) => Object.hasOwn(KEYS, id) && KEYS[id]?.some((name) => env[name]));
  if (usable !== undefined) {
    await agent.request('authenticate', { methodId: usable.id });
    return;
  }
  const offered = authMethods.slice(0, 8).map(({ id }) => id.slice(0, 64));
  throw new LoginError(offered.length === 0 ? 'it offers no way to' : `it offers: ${offered.join(', ')}`, offered);
}

export class LoginError extends Error {
  readonly remedy: string;
  constructor(message: string, offered: readonly string[]) {
    super(`it wants somebody to log in, and nobody is there (${message})`);
    const wanted = offered.flatMap((id) => (Object.hasOwn(KEYS, id) ? (KEYS[id] ?? []) : []));
    this.remedy =
      wanted.length === 0
        ? 'name a provider in llm_policy and have the agent take its key from the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY): logins of yours are not in the sandbox'
        : `it takes a key from ${[...new Set(wanted)].join(' or ')}: the run sets that where llm_policy names a provider`;
  }
}

/** The mode to ask for; null where it may stay as it is. */
function modeFor(modes: SessionModeState | null | undefined, { plan, mustAsk, note }: SessionWish): string | null {
  if (modes == null) return null;
  const has = (id: string) => modes.availableModes.some((mode) => mode.id === id);
  const current = modes.currentModeId;
  if (!mustAsk) {
    const { lets } = plan?.modes ?? {};
    return lets !== undefined && lets !== current && has(lets) ? lets : null;
  }
  const asks = [...(plan?.modes === undefined ? [] : [plan.modes.asks]), ...ASKING].find(has);
  if (asks !== undefined) return asks === current ? null : asks;
  const ids = modes.availableModes.slice(0, 8).map(({ id }) => id.slice(0, 64));
  note(
    `the policy has rules on what an agent asks leave for, and none of this one's modes (${ids.join(', ')}) is known to ask: it stays in ${current.slice(0, 64)}`,
  );
  return null;
}
