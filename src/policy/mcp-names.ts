/** Names of MCP servers and of their tools. Beside the schema, which few runs need. */

/** Permitted by default, each with its own meaning (short-forms.ts): no server may call itself so. */
export const TAKEN = ['builtin', 'acp', 'cordon'];
const NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** The names of a server's tools that can be told to an agent, and judged: nothing that another reader could read otherwise. */
export const TOOL_NAME = /^[A-Za-z0-9_.-]{1,128}$/;

/** What an agent's own tools and others' are called by is no server of a policy. */
export const isServerName = (name: string): boolean => NAME.test(name) && !TAKEN.includes(name);
