import { ExitCode } from '../base/errors.ts';

export interface Ending {
  readonly signal: AbortSignal;
  dispose(): void;
}

/**
 * The first SIGINT, SIGTERM or SIGHUP asks for an orderly end: the sandbox goes, the log is closed, exit code 130.
 * The second ends the process at once; what is left of the run is found and removed at the next start. A reader that goes away asks
 * for the same, without a word.
 */
export function abortOnSignals(announce: (line: string) => void): Ending {
  const controller = new AbortController();
  endOnClosedPipe(controller);
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(ExitCode.cancelled);
    announce(`cordon: ${name}: stopping; once more to stop at once`);
    controller.abort();
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, onSignal);
  return {
    signal: controller.signal,
    dispose: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}

/**
 * `cordon runs list | head`: the reader has what it wanted, and nothing is said of it. What goes on comes to its orderly end; a run is
 * cancelled, and never just left. Any other error of a stream is a fault.
 */
function endOnClosedPipe(controller: AbortController): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      controller.abort();
    });
  }
}
