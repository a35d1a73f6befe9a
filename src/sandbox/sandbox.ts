import type { Duplex, Readable } from 'node:stream';
import type { Limits } from '../policy/limits.ts';
import type { WorkspaceEntry } from './workspace-state.ts';

/**
 * The port to what isolates a run.
 *
 * Guarantees every driver gives (test/conformance/sandbox.ts proves each from outside):
 * - nothing of the host is visible but what the spec names; the root, the toolbox and the system folders are read-only;
 * - no network but loopback; no capability; no way to gain one; no nested user namespace;
 * - `create` either applies every control of the spec or throws `EnforcementError` naming the control: never less;
 * - every process image started inside is reported through `events`, seen from outside;
 * - after `destroy` resolves, and also after the death of this process, no process, mount or file of it is left.
 * Drivers are safe for concurrent use. Nothing is retried.
 */
export interface SandboxDriver {
  readonly name: string;
  /** What this machine can enforce, control by control. Cheap enough for every start (cached within a process). */
  probe(): Promise<readonly Control[]>;
  create(spec: SandboxSpec): Promise<Sandbox>;
  /**
   * Starts what `create` will need beside other work. Optional to call; never throws.
   * `digestFile`: where an earlier process left what it knew of files' digests.
   */
  warm(digestFile: string): void;
}

/** One control on this machine: what enforces it, or what is missing and the one command that remedies it. */
export interface Control {
  /** Stable name: `namespaces`, `seccomp`, `exec-recorder`, `limit.memory`, … */
  readonly name: string;
  readonly what: string;
  readonly state: 'enforced' | 'fallback' | 'missing';
  /** The mechanism: `cgroup v1 memory.limit_in_bytes`, `RLIMIT_DATA and sampling`, … */
  readonly mechanism: string;
  readonly remedy?: string;
  /** True when no run may start without it, whatever the policy says. */
  readonly required: boolean;
}

/** How `/workspace` comes about. Both leave the source untouched. */
export type WorkspaceSource =
  /** An overlay over a cached checkout that trusted code made and that nobody changes any more. */
  | {
      readonly kind: 'checkout';
      readonly dir: string;
      /** Copy it although an overlay would do: how the fallback of a kernel without overlays is tried on one that has them. */
      readonly copy?: boolean;
    }
  | { readonly kind: 'empty' };

/**
 * Which files can be executed inside. `usr`: the machine's ordinary `/usr`, read-only, and scripts of the workspace.
 * `list`: only these files, by content (toolbox.ts); every writable place is mounted no-exec.
 */
export type Toolbox =
  | { readonly kind: 'usr' }
  | {
      readonly kind: 'list';
      readonly executables: readonly ToolExecutable[];
      /** What they load: the loader, shared libraries, modules of interpreters. Sorted by path. */
      readonly libraries: readonly ToolFile[];
      /** Links on the way to any of them that `/usr` does not bring. Sorted by path. */
      readonly links: readonly { readonly path: string; readonly target: string }[];
      /** `sha256:…` over all of the above. */
      readonly digest: string;
    };

export interface ToolFile {
  /** Where the guest sees it (a real path, no links). */
  readonly path: string;
  /** 64 hex digits. */
  readonly sha256: string;
  /** True when `/usr` does not bring it: it has to be bound at the same path. */
  readonly outsideUsr: boolean;
}

export interface ToolExecutable extends ToolFile {
  /** The names under which the policy lists it; empty for what came along with another. */
  readonly listed: readonly string[];
  /** The executable that cannot work without this one; null when it is listed itself. */
  readonly companionOf: string | null;
  /** For a script: the program of its first line. */
  readonly interpreter: string | null;
}

/** A file or a folder of the host, at a path inside. */
export interface ToolMount {
  readonly host: string;
  readonly guest: string;
  readonly folder: boolean;
  /** It is on the toolbox's list, and can be executed here too. */
  readonly listed?: boolean;
}

export interface SandboxSpec {
  readonly runId: string;
  /** This run's folder on the host: exists, empty of other runs, 0700. */
  readonly runDir: string;
  readonly workspace: WorkspaceSource;
  readonly toolbox: Toolbox;
  readonly limits: Limits;
  /** Files of the generated `/etc` besides the driver's own (passwd, group, hosts…): name → content. */
  readonly etc?: Readonly<Record<string, string>>;
  /** Read-only files of the trusted side: path inside → path outside. Only below `/run/cordon`. */
  readonly hostFiles?: Readonly<Record<string, string>>;
  /**
   * Read-only files and folders of the trusted side that programs are in: only below `/run/cordon`. With a toolbox that is a list
   * nothing in them can be executed but what is `listed`, a file that may lie in a folder before it.
   */
  readonly tools?: readonly ToolMount[];
  /** Files the guest finds in its home, and may change: path below it → content, at most 60 KiB each. */
  readonly homeFiles?: Readonly<Record<string, string>>;
  /** Puts {@link GIT_SIGN} inside. Whatever the toolbox is, it can be executed. */
  readonly gitSign?: boolean;
  /** Read-only files at `/run/cordon/<name>`. */
  readonly files?: Readonly<Record<string, string>>;
  /**
   * Read-only files at `/run/secrets/<name>`, only for the guest's own user (0400): in memory, never on a disk of the host in the
   * clear, and not in siblings. Without NUL bytes; at most 64 KiB each.
   */
  readonly secretFiles?: Readonly<Record<string, Buffer>>;
}

/** Cordon's own program inside: what git calls to have a commit signed (src/guest/init.c). */
export const GIT_SIGN = '/run/cordon/git-sign';

export interface ExecSpec {
  /** An absolute path, or a name looked up in the toolbox's PATH, inside the sandbox. */
  readonly argv: readonly [string, ...string[]];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Default `/workspace`. */
  readonly cwd?: string;
  /** `none` (the default) is /dev/null. */
  readonly stdin?: 'none' | 'pipe';
  /** `together`: stdout carries both, in the order in which they were written; stderr is empty. Two streams have no order. Default `apart`. */
  readonly output?: 'apart' | 'together';
}

/** A started command. Its streams end when every holder inside has closed them. */
export interface Execution {
  readonly stdin: Duplex | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /**
   * Resolves when the started process itself has ended; who listens to its streams has been given by then what they held, as far as he
   * takes it. Never rejects for what the guest does.
   */
  readonly exit: Promise<ExitStatus>;
  kill(signal?: 'SIGTERM' | 'SIGKILL'): void;
}

export type ExitStatus =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: number }
  /** It never ran: the errno of execve (ENOENT 2, EACCES 13, EPERM 1). */
  | { readonly kind: 'failed'; readonly errno: number; readonly message: string }
  /** The sandbox ended under it: destroyed, or a limit. */
  | { readonly kind: 'lost'; readonly reason: string };

/** One process image, from outside. Times are milliseconds since the epoch. `id` counts from 1 within the sandbox. */
export type SandboxEvent =
  | {
      readonly type: 'started';
      readonly id: number;
      readonly time: number;
      /** Process id as the guest sees it. */
      readonly pid: number;
      /** `id` of the image whose process started this one; 0 for the trusted side. */
      readonly parent: number;
      /** As asked for: the first argument of execve. */
      readonly requested: string;
      readonly argv: readonly string[];
      /** True when argv was longer than is kept. */
      readonly argvCut: boolean;
      readonly cwd: string;
    }
  | {
      readonly type: 'ended';
      readonly id: number;
      readonly time: number;
      /** The file that was really mapped, as the kernel names it; `requested` resolved when it ended too soon to be seen. */
      readonly path: string;
      readonly sha256: string | null;
      /** `kernel`: read from the running image. `request`: resolved from the call, the image was never seen running. */
      readonly identity: 'kernel' | 'request';
      /** `replaced`: the process went on as another image. `failed`: execve did not succeed. */
      readonly how:
        | { readonly kind: 'exited'; readonly code: number }
        | { readonly kind: 'signalled'; readonly signal: number }
        | { readonly kind: 'replaced' }
        | { readonly kind: 'failed' }
        /** Gone, with a status the kernel would not tell. */
        | { readonly kind: 'unknown' };
      /** Set when the running image's command line was not the one asked for. */
      readonly argvSeen?: readonly string[];
    }
  | { readonly type: 'lost'; readonly time: number; readonly reason: string }
  | {
      readonly type: 'limit';
      readonly time: number;
      readonly limit: 'memory' | 'pids' | 'disk' | 'inodes';
      readonly detail: string;
      /** True when everything inside was ended for it; otherwise a call failed and the guest goes on. */
      readonly stopped: boolean;
    };

/**
 * On the sandbox's loopback. `tcp-any` also takes connections to 198.18.0.0/15, addresses that stand for names; one of these
 * in its place takes those to it alone, and leaves the port free on 127.0.0.1.
 */
export interface ListeningPlace {
  readonly port: number;
  readonly how: 'tcp' | 'tcp-any' | 'udp' | `198.${18 | 19}.${number}.${number}`;
}

/** A descriptor for `net.Server#listen` or `dgram.Socket#bind`, from then on theirs; until then to be closed by whoever asked. */
export type ListeningSocket = number;

export interface Sandbox {
  readonly id: string;
  /** What enforces each control of this sandbox: goes into the run's record. */
  readonly controls: readonly Control[];
  exec(spec: ExecSpec): Promise<Execution>;
  /** Every event from the start, in order; ends after `destroy` when all have been handed over. */
  readonly events: AsyncIterable<SandboxEvent>;
  /** Sockets inside the sandbox's own network, in the order asked for: all of them, or none and `EnforcementError`. */
  listen(places: readonly ListeningPlace[]): Promise<readonly ListeningSocket[]>;
  /** Ends every process inside but keeps the files; `exec` works again afterwards. */
  quiesce(): Promise<void>;
  /**
   * A second, fresh view over the same files with another toolbox: how trusted steps (committing what the agent left)
   * run without the agent's processes. Only after `quiesce`. `destroy` of the first ends it too.
   */
  sibling(toolbox: Toolbox): Promise<Sandbox>;
  /** What changed below `/workspace`, read by trusted code without following a link; `.git` is one entry. Only when quiet. */
  changes(): AsyncIterable<FileChange>;
  /**
   * What `/workspace` holds over its checkout, `.git` left out, read without following a link also while the guest is at work: no more
   * than the guest's word, to be put back into a sandbox. Throws `LimitError` beyond its bounds.
   */
  state(): Iterable<WorkspaceEntry>;
  /** One regular file of the workspace, at most `limit` bytes; refuses links, devices and paths that leave it. */
  copyOut(path: string, limit: number): Promise<Buffer>;
  /** Idempotent. Resolves when everything is gone. */
  destroy(): Promise<void>;
}

export interface FileChange {
  /** Relative to `/workspace`; bytes that are not UTF-8 are shown as `\xNN`. */
  readonly path: string;
  readonly change: 'added' | 'modified' | 'deleted';
  readonly kind: 'file' | 'symlink' | 'directory' | 'special';
  /** 64 hex digits of the content (of the target for a symlink); null when there was or is none. */
  readonly before: string | null;
  readonly after: string | null;
}
