import { Command, CommanderError, type Option } from 'commander';
import { ExitCode, UsageError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import type { Context } from './context.ts';
import { type Verb, verbs } from './verbs.ts';

const GREETING = `Runs coding agents on private repositories behind a hard boundary, and proves afterwards
what ran, what changed and who allowed it.`;

/** Reads a whole command line, does what it says or prints its help. Throws what the verb throws, and `UsageError`. */
export async function executeFully(args: readonly string[], version: string, context: Context): Promise<void> {
  const program = programOf(version, context);
  try {
    await executeOn(program, args, context);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    // `cordon policy` alone: its help is the answer, but nothing was done.
    if (error.code !== 'commander.help') throw asUsageError(error, program, args);
    context.exitCode = ExitCode.usage;
  }
}

/** The same, with commander's own errors and its help as errors. */
export function execute(args: readonly string[], version: string, context: Context): Promise<void> {
  return executeOn(programOf(version, context), args, context);
}

function programOf(version: string, context: Context): Command {
  return frame(new Command('cordon'), context)
    .description(GREETING)
    .usage('COMMAND [options]')
    .version(`cordon ${version}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'help for a command')
    .helpCommand(false)
    .addHelpText('after', '\nHelp for one command: cordon COMMAND --help');
}

/** Loads the one verb that is meant, and runs it. Throws what the verb throws. */
async function executeOn(program: Command, args: readonly string[], context: Context): Promise<void> {
  const asked = args[0] === 'help' ? [...args.slice(1), '--help'] : [...args];
  const name = asked[0];
  const verb = verbs.find((candidate) => candidate.name === name);
  if (verb === undefined && name !== undefined && !name.startsWith('-')) throw unknownVerb(name);
  for (const candidate of verbs) program.addCommand(await commandOf(candidate, candidate === verb, context));
  if (name === undefined) program.outputHelp();
  else await program.parseAsync(asked, { from: 'user' });
}

async function commandOf(verb: Verb, wanted: boolean, context: Context): Promise<Command> {
  const command = wanted ? (await verb.load()).command(context) : new Command();
  command.name(verb.name);
  if (command.description() === '') command.description(verb.summary);
  return frame(command.summary(verb.summary), context);
}

/** The same manners for every command: errors are thrown, not printed; help goes where results go. */
function frame(command: Command, context: Context): Command {
  command
    .exitOverride()
    // An option behind a command's name is that command's, also when the one above it has one of the same name.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => void context.streams.stdout.write(text),
      // The help of a command that only holds others and was called alone. Errors are said by whoever catches them.
      writeErr: (text) => void context.streams.stderr.write(text),
      outputError: () => {},
    })
    .configureHelp({ showGlobalOptions: false, helpWidth: 100, optionDescription })
    .showSuggestionAfterError(true);
  for (const sub of command.commands) frame(sub as Command, context);
  return command;
}

/** A description says its choices itself; an empty list as the default of a repeatable option says nothing. */
function optionDescription({ description, defaultValue }: Option): string {
  const plain = typeof defaultValue === 'string' || typeof defaultValue === 'number';
  return plain ? `${description} (default: ${defaultValue})` : description;
}

/** Commander's messages begin with `error: ` and may have the suggestion on a line of its own. */
function asUsageError(error: CommanderError, program: Command, args: readonly string[]): UsageError {
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  const help = [...pathOf(program, args), '--help'].join(' ');
  const hint = suggestion === undefined ? help : `${suggestion.replace(/^\(|\)$/g, '')} See ${help}`;
  const foreign = error.code === 'commander.unknownOption' && suggestion === undefined;
  const takesCommand = foreign && verbs.some((verb) => verb.name === args[0] && verb.takesCommand);
  return new UsageError(message, {
    remedy: takesCommand ? `a command and its options stand behind --: cordon ${args[0]} -- CMD…` : hint,
  });
}

/** The names of the commands that the words lead to: the one whose help helps. */
function pathOf(program: Command, [word, ...rest]: readonly string[]): string[] {
  const next = program.commands.find((command) => command.name() === word);
  return [program.name(), ...(next === undefined ? [] : pathOf(next, rest))];
}

function unknownVerb(name: string): UsageError {
  const close = verbs
    .map((verb) => ({ name: verb.name, distance: editDistance(name, verb.name) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)[0];
  return new UsageError(`there is no command "${safeText(name)}"`, {
    remedy: close === undefined ? 'cordon --help' : `did you mean \`cordon ${close.name}\`?`,
  });
}

/** Levenshtein's distance; names are short. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
