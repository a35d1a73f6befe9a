import { ExitCode } from '../base/errors.ts';

/**
 * The first SIGINT, SIGTERM or SIGHUP asks for an orderly end: the sandbox goes, the log is closed, exit code 130.
 * The second ends the process at once; what is left of the run is found and removed at the next start.
 */
export function abortOnSignals(announce: (line: string) => void): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
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

/** `cordon runs list | head`: the reader has what it wanted. Any other error of a stream is a fault. */
export function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(process.exitCode ?? ExitCode.ok);
    });
  }
}
