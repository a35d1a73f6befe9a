import { findAgent } from '../agents/found.ts';
import { knownAgentNames, knownAgents } from '../agents/profiles/index.ts';
import { CordonError } from '../base/errors.ts';
import { columns, safeText } from '../base/term.ts';
import { resolvePaths } from '../config/paths.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';

interface Listed {
  readonly agent: string;
  readonly title: string;
  readonly package: string;
  /** The version the profile was tried with. */
  readonly tried: string;
  readonly version: string | null;
  readonly source: 'installed' | 'host' | null;
  readonly program: string | null;
  /** What is wrong with its files. */
  readonly problem: string | null;
}

export async function list(context: Context, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const places = { tools: resolvePaths(context.env).tools, path: context.env.PATH ?? '', node: process.execPath };
  const agents = await Promise.all(
    knownAgentNames.map(async (name): Promise<Listed> => {
      const profile = await knownAgents[name]();
      const { package: from, title } = profile;
      const common = { agent: name, title, package: from.name, tried: from.version };
      try {
        const found = await findAgent(profile, places);
        const { version = null, source = null, program = null } = found ?? {};
        return { ...common, version, source, program, problem: null };
      } catch (error) {
        if (!(error instanceof CordonError)) throw error;
        return { ...common, version: null, source: 'installed', program: null, problem: error.message };
      }
    }),
  );
  if (out.json) {
    out.document({ agents });
    return;
  }
  const { dim, green, red } = out.style;
  const rows = agents.map(({ agent, title, version, source, tried, problem }) => [
    agent,
    title,
    problem !== null ? red('changed') : source === null ? dim('not here') : green(source),
    version === null ? dim(tried) : safeText(version),
    problem !== null || source === null ? `cordon agents install ${agent}` : '',
  ]);
  out.line(...columns([['AGENT', 'IS', 'HERE', 'VERSION', ''].map(dim), ...rows]));
}
