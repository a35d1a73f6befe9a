import type { Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { type Context, newCommand, newGroup } from './context.ts';
import type { OutputOptions } from './output.ts';

export interface SetOptions extends OutputOptions {
  readonly repository?: readonly string[];
  readonly agent?: readonly string[];
  readonly workflow?: readonly string[];
  readonly environment?: readonly string[];
  readonly host?: readonly string[];
  readonly anywhere?: boolean;
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

const EXAMPLES = `
The value is read from standard input, or asked for without showing it. One line feed at its end is not part of it.

  cordon secrets set NPM_TOKEN --host packages.acme.example
  cordon secrets set DEPLOY_KEY --repository 'home/ann/src/**' < key.pem

What is not limited may be used everywhere the policy lets it. Set again, a secret keeps its scopes; the kinds that are
named are replaced.`;

const ROTATE_HELP = `
With the key in a file, a new one takes its place. To go over to a token, a Vault or a variable, name that in the settings
(secrets.master_key) or in CORDON_MASTER_KEY first; where the key before was not a file, name it under
secrets.previous_master_key or in CORDON_MASTER_KEY_PREVIOUS. Nothing is lost when this is interrupted: run it again.`;

export function command(context: Context): Command {
  const secrets = newGroup();
  const named = (name: string, description: string) =>
    newCommand(name).description(description).argument('<name>', 'such as NPM_TOKEN');
  secrets.addCommand(
    named('set', 'keep a secret, or give it a new value')
      .option('--repository <glob>', 'only for runs on these repositories; repeatable', collect)
      .option('--agent <name>', 'only for these agents; repeatable', collect)
      .option('--workflow <name>', 'only for these workflows; repeatable', collect)
      .option('--environment <name>', 'only for these environments; repeatable', collect)
      .option('--host <host>', 'only at these hosts, such as *.acme.example; repeatable', collect)
      .option('--anywhere', 'take all its limits away')
      .allowExcessArguments()
      .addHelpText('after', EXAMPLES)
      .action(async (name: string, options: SetOptions, command: Command) => {
        refuseValue(command.args);
        await (await import('./secrets-set.ts')).set(context, name, options);
      }),
  );
  secrets.addCommand(
    newCommand('list')
      .description('names, scopes and versions; never values')
      .action(async (options: OutputOptions) => (await import('./secrets-show.ts')).list(context, options)),
  );
  secrets.addCommand(
    named('remove', 'forget a secret, and take it from the runs that have it').action(
      async (name: string, options: OutputOptions) => (await import('./secrets-set.ts')).remove(context, name, options),
    ),
  );
  secrets.addCommand(
    named('revoke', 'take a secret from the runs that have it now; later ones may ask for it').action(
      async (name: string, options: OutputOptions) =>
        (await import('./secrets-revoke.ts')).revoke(context, name, options),
    ),
  );
  secrets.addCommand(
    newCommand('rotate-key')
      .description('seal all secrets with another master key: a new one, or the one that the settings name now')
      .addHelpText('after', ROTATE_HELP)
      .action(async (options: OutputOptions) => (await import('./secrets-rotate.ts')).rotateKey(context, options)),
  );
  return secrets;
}

/** What stands on a command line is in the shell's history and in the list of processes: it is no secret any more. */
function refuseValue(args: readonly string[]): void {
  if (args.length <= 1 && !args[0]?.includes('=')) return;
  throw new UsageError(
    'a value is never given on the command line: it is now in your shell’s history, and was in the list of processes',
    {
      remedy: 'treat it as leaked: have a new one issued, and set that with: cordon secrets set NAME',
    },
  );
}
