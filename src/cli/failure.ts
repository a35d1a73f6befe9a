import { CordonError, DocumentError, PolicyDeniedError } from '../base/errors.ts';
import { safeLines, safeText } from '../base/term.ts';
import type { Environment } from '../config/paths.ts';
import type { OutputStreams } from './output.ts';

/** What an error that nobody foresaw ends with: a fault of Cordon itself, as sysexits(3) calls it (EX_SOFTWARE). */
export const INTERNAL_ERROR = 70;

/**
 * Says what went wrong on standard error, and with `--json` also as `{"error": {…}}` on standard output, and returns the
 * exit code. `CORDON_DEBUG=1` adds where in the code.
 */
export function reportFailure(error: unknown, streams: OutputStreams, env: Environment, json: boolean): number {
  const known = error instanceof CordonError;
  const { style, document } = asError(streams, json);
  const lines = known ? describe(error) : describeUnknown(error, Boolean(env.CORDON_DEBUG));
  const [first = '', ...rest] = lines;
  streams.stderr.write(`${style.red(style.bold('cordon:'))} ${[first, ...rest].join('\n  ')}\n`);
  if (env.CORDON_DEBUG && error instanceof Error) streams.stderr.write(`${safeLines(stackOf(error))}\n`);
  if (json) document({ error: toJson(error) });
  return known ? error.exitCode : INTERNAL_ERROR;
}

function asError(streams: OutputStreams, json: boolean) {
  const { progressStyle, document } = streams.with({ json });
  return { style: progressStyle, document };
}

function describe(error: CordonError): string[] {
  const lines =
    error instanceof DocumentError && error.problems.length !== 1
      ? [`${error.problems.length} things are wrong`, ...safeLines(error.message).split('\n')]
      : safeLines(error.message).split('\n');
  if (error instanceof PolicyDeniedError) lines.push(...error.rules.map((rule) => `rule ${safeText(rule)}`));
  if (error.remedy !== undefined) lines.push(`→ ${safeLines(error.remedy)}`);
  return lines;
}

function describeUnknown(error: unknown, debug: boolean): string[] {
  const what = error instanceof Error ? error.message : String(error);
  return [
    `something went wrong that Cordon did not foresee: ${safeText(what)}`,
    ...(debug ? [] : ['→ run it again with CORDON_DEBUG=1 to see where, and report that']),
  ];
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

function toJson(error: unknown): unknown {
  if (!(error instanceof CordonError)) return { code: 'internal', message: String((error as Error)?.message ?? error) };
  return {
    code: error.code,
    message: error.message,
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
    ...(error instanceof DocumentError ? { problems: error.problems } : {}),
    ...(error instanceof PolicyDeniedError ? { rules: error.rules } : {}),
  };
}
