import type { Command } from 'commander';
import { type Context, newCommand, newGroup } from './context.ts';
import type { OutputOptions } from './output.ts';

export interface InstallAgentOptions extends OutputOptions {
  readonly force?: boolean;
}

const EXAMPLES = `
Examples:
  cordon agents install claude-code
  cordon agents install codex@0.169.0
  cordon run --agent claude-code --model claude/claude-sonnet-4-5 "fix the failing test"

npm fetches the package from the registry that it is set up for, and runs no script of it. Its files are kept read-only below
$CORDON_HOME/tools, with a digest of each; a run whose agent is not what was installed does not start.`;

export function command(context: Context): Command {
  const agents = newGroup();
  agents.addCommand(
    newCommand('list')
      .description('agents that Cordon knows how to run, and which are on this machine')
      .action(async (options: OutputOptions) => (await import('./agents-list.ts')).list(context, options)),
  );
  agents.addCommand(
    newCommand('install')
      .description('fetch an agent from npm, once, into a folder of its own')
      .argument('<name[@version]>', 'as cordon agents list names it; by default the version it was tried with')
      .option('--force', 'also when it is there')
      .addHelpText('after', EXAMPLES)
      .action(async (name: string, options: InstallAgentOptions) => {
        await (await import('./agents-install.ts')).install(context, name, options);
      }),
  );
  return agents;
}
