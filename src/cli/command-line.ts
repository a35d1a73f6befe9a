import { CancelledError, ExitCode } from '../base/errors.ts';
import type { Context } from './context.ts';
import { OutputStreams } from './output.ts';
import { abortOnSignals } from './signals.ts';
import { verbs } from './verbs.ts';

/** Runs one command line and returns the exit code. Never throws. `args` is without the program's name. */
export async function runCommandLine(args: readonly string[], version: string): Promise<number> {
  const streams = new OutputStreams(process.stdout, process.stderr, process.env);
  const signals = abortOnSignals((line) => process.stderr.write(`${line}\n`));
  const { own, rest } = splitCommand(args);
  const context: Context = {
    rest,
    env: process.env,
    cwd: process.cwd(),
    signal: signals.signal,
    // Standard input is opened by asking about it.
    get interactive() {
      return process.stdin.isTTY === true && process.stderr.isTTY === true;
    },
    streams,
    exitCode: ExitCode.ok,
  };
  try {
    if (!(await ranDirectly(own, context))) {
      const { executeFully } = await import('./program.ts');
      await executeFully(own, version, context);
    }
    return context.exitCode;
  } catch (error) {
    return await failureCode(error, own, context);
  } finally {
    signals.dispose();
  }
}

function splitCommand(args: readonly string[]): { own: readonly string[]; rest: readonly string[] } {
  const dashes = verbs.find((verb) => verb.name === args[0])?.takesCommand ? args.indexOf('--') : -1;
  return dashes === -1 ? { own: args, rest: [] } : { own: args.slice(0, dashes), rest: args.slice(dashes + 1) };
}

/** What is called again and again by programs has a way around the machinery that people need. */
async function ranDirectly([name, ...words]: readonly string[], context: Context): Promise<boolean> {
  const load = verbs.find((verb) => verb.name === name)?.direct;
  return load === undefined ? false : (await load()).direct(words, context);
}

async function failureCode(error: unknown, args: readonly string[], context: Context): Promise<number> {
  const { reportFailure } = await import('./failure.ts');
  const options = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  return reportFailure(orCancelled(error, context), context.streams, context.env, options.includes('--json'));
}

function orCancelled(error: unknown, context: Context): unknown {
  const aborted = error instanceof Error && error.name === 'AbortError';
  return aborted && context.signal.aborted ? new CancelledError('cancelled', { cause: error }) : error;
}
