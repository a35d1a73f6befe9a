/**
 * Why a server gave no answer. `answered`: it did, with an error of its own. `refused`: it was never asked. The message is for
 * the agent and its model: it holds nothing that the server said but what was cleaned and cut.
 */
export type FaultKind =
  | 'start'
  | 'malformed'
  | 'timeout'
  | 'ended'
  | 'too_large'
  | 'busy'
  | 'answered'
  | 'refused'
  | 'cancelled';

export class McpFault extends Error {
  readonly kind: FaultKind;
  /** Of an error that the server answered with. */
  readonly code: number | null;

  constructor(kind: FaultKind, message: string, options: { readonly code?: number; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.kind = kind;
    this.code = options.code ?? null;
  }
}

export function asFault(error: unknown, server: string): McpFault {
  if (error instanceof McpFault) return error;
  return new McpFault('ended', `the MCP server ${server} cannot be asked: ${whyNot(error)}`, {
    cause: error,
  });
}

/** An error of the machine's tells its paths, which are no guest's to know. */
function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return 'it is gone';
  return 'syscall' in error && 'code' in error ? String(error.code) : error.message;
}
