import { type Parsed, parsed, refused, shown } from './parsed.ts';

/**
 * Commands. What is allowed is content: the sandbox's toolbox resolves each path through its links to a file and its
 * SHA-256 when the run starts. Here is only what needs no disk: the form of a path, and matching.
 */
export interface CommandPattern {
  /** Absolute, as written. */
  readonly path: string;
  /** 64 hex digits when the document pins the content, else null. */
  readonly sha256: string | null;
}

/** The path of a file that is to run, as the kernel names it. */
export function canonicalCommandPath(text: string): Parsed<string> {
  if (!text.startsWith('/')) {
    return refused(
      `the command ${shown(text)} is not an absolute path`,
      text.includes('/')
        ? 'write the whole path, from / on: no ~ and no folder that it is relative to'
        : `write where it is: /usr/bin/${text || 'git'}`,
    );
  }
  if (text.length > 4096 || !text.isWellFormed() || text.includes('\0'))
    return refused(`the command ${shown(text)} has no canonical form`);
  const names = text.slice(1).split('/');
  if (names.some((name) => name === '' || name === '.' || name === '..')) {
    return refused(
      `the command ${shown(text)} has an empty, . or .. name`,
      'write the path without them, and no / at the end',
    );
  }
  return parsed(text);
}

/** A path as a document names it: one program, so no wildcard. */
export function parseCommandPath(text: string): Parsed<string> {
  if (/[*?[\]{}]|\p{Cc}/u.test(text))
    return refused(
      `the command ${shown(text)} has a wildcard or control character`,
      'name each program: what is allowed is a file with its SHA-256',
    );
  return canonicalCommandPath(text);
}

export function canonicalSha256(text: string): Parsed<string> {
  const hex = text.toLowerCase().replace(/^sha256:/, '');
  return /^[0-9a-f]{64}$/.test(hex)
    ? parsed(hex)
    : refused(`${shown(text)} is no SHA-256`, 'write 64 hex digits, as sha256sum prints them');
}

/** What a path of a document was resolved to when the run started: the file behind all links, and its content. */
export interface ResolvedCommand {
  readonly path: string;
  /** 64 hex digits. */
  readonly sha256: string;
}

/** Once a pattern is resolved, its content is what is allowed; before that (in tests, in `explain`) its name is. */
export function matchCommand(
  pattern: CommandPattern,
  command: ResolvedCommand,
  resolved: ReadonlyMap<string, ResolvedCommand> | undefined,
): boolean {
  const pinned = pattern.sha256 === null || pattern.sha256 === command.sha256;
  const file = resolved?.get(pattern.path);
  if (file === undefined) return pinned && resolved === undefined && pattern.path === command.path;
  return pinned && file.path === command.path && file.sha256 === command.sha256;
}
