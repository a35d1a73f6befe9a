import { accessSync, closeSync, constants, fstatSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { DocumentError, type Problem } from '../base/errors.ts';
import { ElfError, type ElfFile, elfMachine, readElf } from './elf.ts';
import { type LibrarySearch, librarySearch } from './elf-search.ts';
import type { Toolbox, ToolExecutable, ToolFile } from './sandbox.ts';
import { companionsOf, openedByLibc } from './toolbox-companions.ts';
import { type FileDigests, fileDigests } from './toolbox-digests.ts';
import { type ResolvedPath, resolvePath, type ToolLink } from './toolbox-path.ts';
import { envCommand, readShebang } from './toolbox-shebang.ts';

/**
 * From `allowed_commands` to the files that may be executed, by content.
 *
 * What the driver makes of it: the host's `/usr` and everything writable are mounted no-exec; then each file named here
 * is bound over itself without that flag, read-only. What each part stops:
 * - a copy of a program, or one that was downloaded or compiled: it lies on a no-exec mount (execve: EACCES).
 * - a listed name put in front of PATH, a link, a rename: not names but files are listed.
 * - `ld.so /workspace/evil`, LD_PRELOAD, LD_LIBRARY_PATH: the loader has to be executable, but the kernel refuses to map
 *   a file of a no-exec mount with PROT_EXEC.
 * - a script with a listed shell's `#!` line: execve of the script itself is refused. `sh script` is not: an interpreter
 *   runs what it reads, and `cordon policy explain` says so (policy/interpreters.ts).
 * - a program in memory (memfd, an unlinked file by descriptor): the system call filter (seccomp-rules.ts).
 */
export interface CommandEntry {
  /** Absolute, as the policy lists it; links are followed. */
  readonly path: string;
  /** Where it is listed, for messages. */
  readonly rule?: { readonly file: string; readonly line: number };
}

export interface ToolboxOptions {
  readonly digests?: FileDigests;
  readonly search?: LibrarySearch;
}

export interface ResolvedCommand extends ResolvedPath {
  /** 64 hex digits. */
  readonly sha256: string;
}

/** The file behind a command's path, with its digest and the links on the way. Throws the system's error. */
export function resolveCommand(path: string, digests: FileDigests = fileDigests): ResolvedCommand {
  const resolved = resolvePath(path);
  return { ...resolved, sha256: digests.ofFile(resolved.path) };
}

/**
 * Resolves a list of commands to everything that has to be executable for them. `null` (no list in the policy) is the
 * machine's ordinary `/usr`; an empty list is a toolbox without any program.
 * Throws `DocumentError` with every entry that cannot be used: missing, a folder, not executable, not readable, built for
 * another machine, a script whose interpreter is not listed. Reads files; never runs one.
 */
export async function resolveToolbox(
  commands: readonly CommandEntry[] | null,
  options: ToolboxOptions = {},
): Promise<Toolbox> {
  if (commands === null) return { kind: 'usr' };
  const builder = new ToolboxBuilder(options);
  for (const command of commands) builder.list(command);
  for (const command of commands) builder.checkInterpreter(command);
  builder.addCompanions();
  return builder.finish();
}

interface Program {
  readonly file: ToolFile;
  readonly listed: string[];
  readonly companionOf: string | null;
  readonly elf: ElfFile | null;
  /** The words of a script's first line. */
  readonly shebang: readonly string[];
}

class ToolboxBuilder {
  readonly #digests: FileDigests;
  readonly #search: LibrarySearch;
  readonly #machine = elfMachine[process.arch] ?? -1;
  readonly #programs = new Map<string, Program>();
  readonly #libraries = new Map<string, ToolFile>();
  readonly #links = new Map<string, ToolLink>();
  readonly #problems: Problem[] = [];

  constructor(options: ToolboxOptions) {
    this.#digests = options.digests ?? fileDigests;
    this.#search = options.search ?? librarySearch(this.#machine);
  }

  list(command: CommandEntry): void {
    try {
      const program = this.#program(command.path, null);
      if (!program.listed.includes(command.path)) program.listed.push(command.path);
    } catch (error) {
      this.#problem(command, whatIsWrong(command.path, error), remedyFor(error));
    }
  }

  /** Every interpreter has to be listed by its own right: a script must not bring a shell along unseen. */
  checkInterpreter(command: CommandEntry): void {
    const program = [...this.#programs.values()].find((p) => p.listed.includes(command.path));
    const [interpreter, argument] = program?.shebang ?? [];
    if (program === undefined || interpreter === undefined) return;
    if (basename(interpreter) === 'env') {
      const wanted = envCommand(argument);
      if (wanted === null || !this.#isListedName(wanted)) {
        const name = wanted ?? 'its interpreter';
        this.#problem(
          command,
          `${command.path} is a script for ${name}, which is not listed`,
          `list the full path of ${name} in allowed_commands as well`,
        );
      }
      this.#bring(interpreter, program.file.path, command);
    } else if (!this.#isListedFile(interpreter)) {
      this.#problem(
        command,
        `${command.path} is a script for ${interpreter}, which is not listed`,
        `add "${interpreter}" to allowed_commands: it then runs any script within the boundary`,
      );
    }
  }

  addCompanions(): void {
    for (const program of [...this.#programs.values()]) {
      const { executables, modules } = companionsOf(program.file.path);
      for (const path of executables) this.#bring(path, program.file.path);
      for (const path of modules) this.#library(path, program);
    }
  }

  finish(): Toolbox {
    if (this.#problems.length > 0) throw new DocumentError(this.#problems);
    const executables = [...this.#programs.values()].map(executable).sort(byPath);
    const own = new Set(executables.map((file) => file.path));
    const libraries = [...this.#libraries.values()].filter((file) => !own.has(file.path)).sort(byPath);
    const links = [...this.#links.values()].sort(byPath);
    const content = { executables, libraries, links } as unknown as Json;
    return { kind: 'list', executables, libraries, links, digest: digest(canonicalJson(content)) };
  }

  /** Adds what a listed program cannot do without; what is not installed is skipped. */
  #bring(path: string, companionOf: string, command?: CommandEntry): void {
    try {
      this.#program(path, companionOf);
    } catch (error) {
      if (command !== undefined) this.#problem(command, whatIsWrong(path, error), remedyFor(error));
    }
  }

  #program(path: string, companionOf: string | null): Program {
    const resolved = resolvePath(path);
    const known = this.#programs.get(resolved.path);
    if (known !== undefined) {
      this.#keep(resolved.links);
      return known;
    }
    const program = this.#open(resolved.path, (fd, sha256) => {
      accessSync(resolved.path, constants.X_OK);
      const elf = this.#elf(fd);
      const shebang = elf === null ? readShebang(fd) : [];
      if (elf === null && shebang.length === 0) throw new ElfError('is neither a program nor a script with a #! line');
      return { file: toolFile(resolved.path, sha256), listed: [], companionOf, elf, shebang };
    });
    this.#keep(resolved.links);
    this.#programs.set(resolved.path, program);
    if (program.elf !== null) this.#loads(program.elf, resolved.path, program);
    return program;
  }

  /** The loader, and every library that the names in `elf` may lead to, in turn with all of theirs. */
  #loads(elf: ElfFile, path: string, program: Program): void {
    if (elf.interpreter !== null) this.#library(elf.interpreter, program);
    const names = elf.interpreter === null ? elf.needed : [...elf.needed, ...openedByLibc];
    const first = program.elf ?? elf;
    for (const name of names) {
      for (const candidate of this.#search.candidates(name, elf, path, first, program.file.path))
        this.#library(candidate, program);
    }
  }

  /** What cannot be read or is no library for this machine is left out: the loader in the guest could not use it either. */
  #library(path: string, program: Program): void {
    try {
      const resolved = resolvePath(path);
      this.#keep(resolved.links);
      if (this.#libraries.has(resolved.path)) return;
      const { elf, sha256 } = this.#open(resolved.path, (fd, hash) => ({ elf: this.#elf(fd), sha256: hash }));
      if (elf === null) return;
      this.#libraries.set(resolved.path, toolFile(resolved.path, sha256));
      this.#loads(elf, resolved.path, program);
    } catch (error) {
      if (!(error instanceof ElfError) && errorCode(error) === undefined) throw error;
    }
  }

  #elf(fd: number): ElfFile | null {
    const elf = readElf(fd);
    if (elf !== null && elf.machine !== this.#machine)
      throw new ElfError(`is built for another processor (ELF machine ${elf.machine})`);
    return elf;
  }

  /** One descriptor for everything that is learnt of a file, so that all of it is of the same file. */
  #open<T>(path: string, read: (fd: number, sha256: string) => T): T {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      const stat = fstatSync(fd, { bigint: true });
      if (!stat.isFile()) throw Object.assign(new Error(path), { code: stat.isDirectory() ? 'EISDIR' : 'EINVAL' });
      return read(fd, this.#digests.ofDescriptor(fd, stat));
    } finally {
      closeSync(fd);
    }
  }

  #isListedFile(path: string): boolean {
    try {
      return (this.#programs.get(resolvePath(path).path)?.listed.length ?? 0) > 0;
    } catch {
      return false;
    }
  }

  #isListedName(name: string): boolean {
    return [...this.#programs.values()].some((program) => program.listed.some((path) => basename(path) === name));
  }

  #keep(links: readonly ToolLink[]): void {
    for (const link of links) if (outsideUsr(link.path)) this.#links.set(link.path, link);
  }

  #problem(command: CommandEntry, message: string, remedy: string): void {
    this.#problems.push({
      message,
      file: command.rule?.file ?? 'allowed_commands',
      line: command.rule?.line ?? 1,
      column: 1,
      remedy,
    });
  }
}

function executable({ file, listed, companionOf, shebang }: Program): ToolExecutable {
  const cameAlong = listed.length === 0 ? companionOf : null;
  return { ...file, listed: [...listed].sort(), companionOf: cameAlong, interpreter: shebang[0] ?? null };
}

function toolFile(path: string, sha256: string): ToolFile {
  return { path, sha256, outsideUsr: outsideUsr(path) };
}

function outsideUsr(path: string): boolean {
  return !path.startsWith('/usr/');
}

function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

function whatIsWrong(path: string, error: unknown): string {
  if (error instanceof ElfError) return `${path} ${error.message}`;
  const code = errorCode(error);
  const known = code === undefined ? undefined : REASONS[code];
  if (known === undefined) throw error;
  return `${path} ${known.what}`;
}

function remedyFor(error: unknown): string {
  return REASONS[errorCode(error) ?? '']?.remedy ?? 'list a program or script of this machine';
}

const REASONS: Readonly<Record<string, { what: string; remedy: string }>> = {
  ENOENT: { what: 'does not exist', remedy: 'install it, or correct the path (`command -v NAME` prints it)' },
  ENOTDIR: { what: 'leads through something that is not a folder', remedy: 'correct the path' },
  EISDIR: { what: 'is a folder', remedy: 'list the programs in it one by one' },
  EINVAL: { what: 'is not a regular file', remedy: 'list a program or script' },
  ELOOP: { what: 'is a link that leads in a circle', remedy: 'list the program it was meant to lead to' },
  EACCES: { what: 'cannot be read and executed by this user', remedy: 'chmod a+rx it, or list another program' },
};

const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);

/** The folders to look programs up in, for a PATH in which every listed name is found first. */
export function toolboxPath(toolbox: Toolbox): string[] {
  if (toolbox.kind === 'usr') return ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  return [...new Set(toolbox.executables.flatMap((file) => file.listed.map((path) => dirname(path))))];
}
