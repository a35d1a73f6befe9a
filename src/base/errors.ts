/**
 * Every error that Cordon raises on purpose. A message says what happened, to which value; `remedy` says what to do.
 * Callers branch on `code` or on the class, never on the message.
 */

/** Exit codes of the command line (README, "Exit codes"). */
export const ExitCode = {
  ok: 0,
  agentFailed: 1,
  usage: 2,
  policy: 3,
  approval: 4,
  limit: 5,
  enforcement: 6,
  outside: 7,
  cancelled: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export type ErrorCode =
  | 'usage'
  | 'document_invalid'
  | 'not_found'
  | 'conflict'
  | 'workspace_invalid'
  | 'agent_failed'
  | 'policy_denied'
  | 'approval_denied'
  | 'limit_exceeded'
  | 'enforcement_missing'
  | 'audit_unavailable'
  | 'audit_invalid'
  | 'storage_failed'
  | 'outside_failed'
  | 'cancelled'
  | 'internal';

export interface CordonErrorOptions {
  /** What the reader can do about it: a command to type or a line to write. */
  remedy?: string;
  cause?: unknown;
}

/** The base of all: `code` is stable, `exitCode` is what the command line ends with. */
export class CordonError extends Error {
  readonly code: ErrorCode;
  readonly exitCode: ExitCode;
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, exitCode: ExitCode, message: string, options: CordonErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.exitCode = exitCode;
    this.remedy = options.remedy;
  }
}

/** The command line itself is wrong; nothing started. */
export class UsageError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('usage', ExitCode.usage, message, options);
  }
}

/** One thing wrong in a document, at a place a person can go to. Lines and columns count from 1. */
export interface Problem {
  message: string;
  file: string;
  line: number;
  column: number;
  /** What to write instead. */
  remedy?: string;
}

/** A document (policy, configuration) cannot be used; all its problems are listed at once. */
export class DocumentError extends CordonError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], options?: CordonErrorOptions) {
    const lines = problems.map(
      (p) => `${p.file}:${p.line}:${p.column}: ${p.message}${p.remedy === undefined ? '' : `\n    ${p.remedy}`}`,
    );
    super('document_invalid', ExitCode.usage, lines.join('\n'), options);
    this.problems = problems;
  }
}

export class NotFoundError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('not_found', ExitCode.usage, message, options);
  }
}

/** Something with that name exists already (a branch, a key). */
export class ConflictError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('conflict', ExitCode.usage, message, options);
  }
}

/** The workspace cannot be worked on: no repository, bare, no commit. */
export class WorkspaceError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('workspace_invalid', ExitCode.usage, message, options);
  }
}

export class PolicyDeniedError extends CordonError {
  /** The rules that determined the denial, as `file:line` with their text. */
  readonly rules: readonly string[];

  constructor(message: string, rules: readonly string[], options?: CordonErrorOptions) {
    super('policy_denied', ExitCode.policy, message, options);
    this.rules = rules;
  }
}

export type LimitName =
  | 'wall_clock'
  | 'memory'
  | 'cpu'
  | 'pids'
  | 'disk'
  | 'inodes'
  | 'open_files'
  | 'output'
  | 'push'
  | 'commands'
  | 'models'
  | 'record';

export class LimitError extends CordonError {
  readonly limit: LimitName;

  constructor(limit: LimitName, message: string, options?: CordonErrorOptions) {
    super('limit_exceeded', ExitCode.limit, message, options);
    this.limit = limit;
  }
}

/** A control the policy needs cannot be applied on this machine; nothing started. There is no way round it. */
export class EnforcementError extends CordonError {
  /** Which control, in the words of `cordon doctor`. */
  readonly control: string;

  constructor(control: string, message: string, options?: CordonErrorOptions) {
    super('enforcement_missing', ExitCode.enforcement, message, options);
    this.control = control;
  }
}

/** Something outside Cordon failed (forge, disk, network); safe to run again. */
export class OutsideError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('outside_failed', ExitCode.outside, message, options);
  }
}

/** Files or the database could not be read or written: disk full, permissions. */
export class StorageError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('storage_failed', ExitCode.outside, message, options);
  }
}

/** The audit log cannot take records: nothing may happen without it. */
export class AuditUnavailableError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('audit_unavailable', ExitCode.enforcement, message, options);
  }
}

/** The audit log, an export or a proof does not verify. */
export class AuditInvalidError extends CordonError {
  constructor(message: string, options?: CordonErrorOptions) {
    super('audit_invalid', ExitCode.agentFailed, message, options);
  }
}

export class CancelledError extends CordonError {
  constructor(message = 'cancelled', options?: CordonErrorOptions) {
    super('cancelled', ExitCode.cancelled, message, options);
  }
}

/** The agent, or its command, did not succeed. */
export class AgentFailedError extends CordonError {
  /** False where it never started, or its sandbox ended under it. */
  readonly ownEnd: boolean;

  constructor(message: string, { ownEnd = true, ...options }: CordonErrorOptions & { ownEnd?: boolean } = {}) {
    super('agent_failed', ExitCode.agentFailed, message, options);
    this.ownEnd = ownEnd;
  }
}
