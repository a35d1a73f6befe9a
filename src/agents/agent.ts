/**
 * The port to coding agents that are programs of their own, run whole inside the sandbox. A profile is one file in `profiles/`
 * and one line in its index: which package it is, how it is started without a person, and how its event stream is read.
 *
 * A profile is pure: it decides on words, starts nothing and touches no file. What it reads came from inside the sandbox, and
 * is an attacker's: a parser accepts any value, and turns what it does not know into nothing.
 */
export interface AgentProfile {
  /** As `--agent` and policies name it. */
  readonly name: string;
  /** As its makers write it. */
  readonly title: string;
  /** Its name on a PATH. */
  readonly program: string;
  readonly package: AgentPackage;
  plan(session: AgentSession): AgentPlan;
  /** Why it goes without the MCP servers of the policy, where it does. */
  readonly withoutMcp?: string;
  /**
   * It reads settings of the repository's in which a server may stand under the name of one of the policy's, and take its place: so it
   * is told of them by their aliases, and permitted no other name.
   */
  readonly mcpByAlias?: true;
  /** It ends where one of those servers has no list of tools: it is given an empty one of a server that is dead. */
  readonly needsMcp?: true;
  /** How it speaks the Agent Client Protocol. Left out where it does not. */
  acp?(session: AgentSession): AcpPlan;
  /**
   * What the agent draws anew at each start, in its commands and in what it asks its model: names of its own files, numbers of its own
   * descriptors. Global expressions, as narrow as can be: a replay takes what they find for the same.
   */
  readonly drawn?: readonly RegExp[];
  /**
   * Command lines that the agent starts for its own use, beside its work, and whose end it does not wait for, or only for so long: a replay
   * compares neither them nor what they start. Only what its own program starts is looked for. As narrow as can be.
   */
  readonly aside?: readonly RegExp[];
  /** One for a run: parsers may remember. */
  parser(): AgentParser;
}

export interface AgentPackage {
  /** On the registry that this machine's npm is set up for. */
  readonly name: string;
  /** The one that this profile was tried with. */
  readonly version: string;
  /** Below `node_modules`, the file to execute. `arch` as Node names it: `x64`, `arm64`. */
  entry(arch: string): string;
  /** Below `node_modules`, a second program that the first starts: a list of commands has to name it, too. */
  second?(arch: string): string;
  /** `node`: a script for Node. `native`: a program by itself. */
  readonly runtime: 'node' | 'native';
}

/** What one run asks of its agent. */
export interface AgentSession {
  /** What starts it inside, before any argument: the program, or Node and the script. */
  readonly launcher: readonly [string, ...string[]];
  /** The prompt, marked with where each part of it came from. */
  readonly prompt: string;
  /** The model's name as the gateway knows it. */
  readonly model: string;
  readonly gateway: {
    /** `http://127.0.0.1:4141`, without a path. */
    readonly url: string;
    /** What agents show in place of a key. */
    readonly token: string;
  };
  /** The MCP servers that the policy names, each at its own URL of the run's gateway; no others answer. */
  readonly mcp: readonly McpPlace[];
  /** The guest's home, absolute. */
  readonly home: string;
  /** The user's own arguments for the agent; they stand behind the profile's. */
  readonly extra: readonly string[];
}

/** Where an agent finds one MCP server: streamable HTTP, `Authorization: Bearer <token>`. */
export interface McpPlace {
  /** As the policy names it; the alias for an agent whose profile says `mcpByAlias`. */
  readonly name: string;
  /** As the policy names it, whatever the agent is told: for people. */
  readonly title: string;
  /** A name of this run alone, that nothing in a repository can know before. Letters, digits and `-`, at most 31. */
  readonly alias: string;
  /** `http://127.0.0.1:4142/NAME` */
  readonly url: string;
  readonly token: string;
}

export interface AgentPlan {
  readonly argv: readonly [string, ...string[]];
  /** Besides what every command of a run finds in its environment, and over it. */
  readonly env: Readonly<Record<string, string>>;
  /** Path below the guest's home → content. */
  readonly home: Readonly<Record<string, string>>;
  /** `/etc/<path>` → content: what the agent takes from nobody but the machine's administrator. */
  readonly etc?: Readonly<Record<string, string>>;
}

export interface AcpPlan {
  /** In place of the plan's arguments. */
  readonly args: readonly string[];
  /** Besides the plan's variables, and over them. */
  readonly env: Readonly<Record<string, string>>;
  /** `_meta` of `session/new`: the agent's own. */
  readonly meta?: Readonly<Record<string, unknown>>;
  /** Ids of its session modes: the one in which it asks before it does something; the one to put it in where nobody needs that. */
  readonly modes?: { readonly asks: string; readonly lets?: string };
}

/** Reads the agent's standard output, one JSON value a line. Never throws for a value. */
export interface AgentParser {
  line(value: unknown): readonly AgentStep[];
}

export type AgentStep =
  | { readonly kind: 'message'; readonly text: string }
  | { readonly kind: 'reasoning'; readonly text: string }
  /** What it is going to do, whole: each plan takes the place of the one before. */
  | { readonly kind: 'plan'; readonly text: string }
  /** `id` joins a call with its result; empty where the agent names none. */
  | { readonly kind: 'tool_call'; readonly id: string; readonly tool: string; readonly input: string }
  | { readonly kind: 'tool_result'; readonly id: string; readonly ok: boolean; readonly text: string }
  /** What the agent says it used; the gateway's own count is what budgets go by. */
  | { readonly kind: 'usage'; readonly input: number; readonly output: number }
  /** Something went wrong on the way; the agent goes on. */
  | { readonly kind: 'trouble'; readonly text: string }
  /** The agent's own verdict. The last one counts. */
  | { readonly kind: 'end'; readonly ok: boolean; readonly reason: string | null };
