import { Command, Option } from 'commander';
import type { Environment } from '../config/paths.ts';
import type { Output, OutputOptions, OutputStreams } from './output.ts';

/** What a verb gets from the process it runs in; tests hand in their own. */
export interface Context {
  readonly env: Environment;
  readonly cwd: string;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** True when a person can be asked: standard input and standard error are a terminal. */
  readonly interactive: boolean;
  readonly streams: OutputStreams;
  /** What stood behind `--`, for a verb that takes a command. */
  readonly rest: readonly string[];
  /** What the process will end with; 0 unless a verb sets it. Errors set it by themselves. */
  exitCode: number;
}

/** A command with the options that every command has. `--` and what follows is left alone. */
export function newCommand(name?: string): Command {
  return new Command(name)
    .addOption(new Option('--json', 'one JSON document on standard output (one object a line for streams)'))
    .addOption(new Option('-q, --quiet', 'no progress on standard error'));
}

/** A command that only holds others: `cordon runs`. What every command has, its own commands have. */
export function newGroup(): Command {
  return new Command();
}

/** Where this invocation writes, as its options say. */
export function outputOf(context: Context, options: OutputOptions): Output {
  return context.streams.with(options);
}

/** Whether results are shown by a terminal, which acts upon what is written to it. */
export function isTerminal(context: Context): boolean {
  return (context.streams.stdout as { isTTY?: boolean }).isTTY === true;
}
