/**
 * What ran in one sandbox, image by image, told by the kernel and not by the guest.
 *
 * The filter stops every execve, execveat and exit_group and tells us before it happens; we look at the stopped process
 * from outside and let it go on. Nothing can be lost on the way: a process that is not answered does not run.
 * - At execve we see what is asked for. Whether it succeeds, and which file was mapped in the end, is seen at the next
 *   stop of that process (its exit, or its next execve) or at a look in between, never taken from the call: a sibling
 *   thread can change the arguments after we have read them.
 * - A new image is told from the old by its file, or, for the same file again, by memory that is laid out anew. A program
 *   that forges the latter re-executes itself unseen as itself: it gains nothing.
 * - A process ended by a signal makes no call: it is found gone at a look, or by a pidfd once it has lived for some time.
 *   (A pidfd for every process would double the cost: the kernel makes an inode for each.)
 */
import { type Ending, endingOf, type Image, Images, type StartedImage } from './images.ts';
import type { MemoryMark, ProcessView } from './process-view.ts';
import type { SandboxEvent } from './sandbox.ts';

export interface StoppedCall {
  readonly thread: number;
  readonly kind: 'execve' | 'execveat' | 'exit_group';
  readonly args: readonly [bigint, bigint, bigint];
  /** True while the thread still waits for our answer. */
  valid(): boolean;
}

/** An execve that was let go and whose success is not known yet. */
interface Candidate {
  readonly start: StartedImage;
  /** The image that called: its file, and its memory. */
  readonly file: string;
  readonly mark: MemoryMark | null;
}

interface Traced {
  readonly pid: number;
  readonly guestPid: number;
  readonly since: number;
  pidfd: number | null;
  current: Image | null;
  candidate: Candidate | null;
  /** It has ended; looks that found no status yet. */
  gone: boolean;
  looks: number;
  status: number | undefined;
}

export interface RecorderHooks {
  emit(event: SandboxEvent): void;
  /** A descriptor that becomes readable when the process has ended. */
  watch(pidfd: number, pid: number): void;
  unwatch(pidfd: number): void;
}

/** Where a guest made something that cannot be read (a folder with a name too long to tell, memory that is gone): told all the same. */
const UNKNOWN = '?';
const UNREADABLE = { path: UNKNOWN, argv: [], cut: true, mark: null };
/** How often an ended process is looked at for its status before it is recorded as unknown. */
const STATUS_LOOKS = 20;
/** Milliseconds after which a process is worth a pidfd. */
const YOUNG = 4;

export class Recorder {
  readonly #view: ProcessView;
  readonly #hooks: RecorderHooks;
  readonly #traced = new Map<number, Traced>();
  /** Those that a look may tell something new about. */
  readonly #unsettled = new Set<Traced>();
  readonly #images: Images;

  constructor(view: ProcessView, hooks: RecorderHooks) {
    this.#view = view;
    this.#hooks = hooks;
    this.#images = new Images(view, (event) => hooks.emit(event));
  }

  /** True while {@link sweep} has something to look at. */
  get unsettled(): boolean {
    return this.#unsettled.size > 0;
  }

  /** A call is stopped. Returns when all is noted; the caller then lets it go on. */
  stopped(call: StoppedCall): void {
    if (call.kind === 'exit_group') this.#exiting(call);
    else this.#executing(call);
  }

  #executing(call: StoppedCall): void {
    const view = this.#view;
    const ids = view.processIds(call.thread);
    const [first, second, third] = call.args;
    const at = call.kind === 'execve' ? ([first, second] as const) : ([second, third] as const);
    const asked = view.callArguments(call.thread, ...at) ?? UNREADABLE;
    const cwd = view.workingFolder(call.thread) ?? UNKNOWN;
    const file = ids === null ? null : view.runningInode(ids.process);
    if (!call.valid()) return; // it was killed: nothing of the above need be its own
    if (ids === null || file === null) {
      this.#hooks.emit({ type: 'lost', time: view.now(), reason: `process ${call.thread} could not be looked at` });
      return;
    }
    const traced = this.#traced.get(ids.process) ?? this.#trace(ids.process, ids.guestPid);
    this.#settle(traced);
    this.#decide(traced, true); // still undecided only when it was killed meanwhile
    if (traced.current !== null) this.#images.identify(traced.current, traced.pid);
    traced.candidate = {
      start: {
        type: 'started',
        time: view.now(),
        pid: ids.guestPid,
        parent: traced.current?.id ?? this.#parentOf(ids.parent),
        requested: asked.path,
        argv: asked.argv,
        argvCut: asked.cut,
        cwd,
      },
      file,
      mark: asked.mark,
    };
    this.#unsettled.add(traced);
  }

  #exiting(call: StoppedCall): void {
    const traced = this.#traced.get(call.thread) ?? this.#traced.get(this.#view.processIds(call.thread)?.process ?? 0);
    if (traced === undefined) return; // a fork that never became an image of its own
    this.#settle(traced);
    this.#decide(traced, true); // killed in this very call: nothing can be read of it any more, but it came this far
    if (traced.current !== null) this.#images.identify(traced.current, traced.pid);
    this.#end(traced, { kind: 'exited', code: Number(call.args[0] & 0xffn) });
  }

  /** A process that is watched has ended without saying so. */
  gone(pid: number): void {
    const traced = this.#traced.get(pid);
    if (traced === undefined) return;
    if (traced.pidfd !== null) this.#hooks.unwatch(traced.pidfd);
    this.#finish(traced);
  }

  /** Process 1 has reaped a child: its wait status, by the guest's number of it. */
  reaped(guestPid: number, status: number): void {
    for (const traced of this.#traced.values()) {
      if (traced.guestPid !== guestPid) continue;
      traced.status = status;
      this.gone(traced.pid);
      return;
    }
  }

  /** Looks at what is young or unsettled; called now and then while {@link unsettled}. */
  sweep(): void {
    const now = this.#view.now();
    for (const traced of [...this.#unsettled]) {
      if (traced.gone || this.#view.runningInode(traced.pid) === null) this.#finish(traced);
      else {
        this.#settle(traced, true);
        // Once more: its words may not have been there when its file was.
        if (traced.current !== null && traced.candidate === null) this.#images.identify(traced.current, traced.pid);
        if (traced.pidfd === null && now - traced.since >= YOUNG) this.#watch(traced);
        if (traced.pidfd !== null && traced.candidate === null) this.#unsettled.delete(traced);
      }
    }
  }

  /** The sandbox is no more: whatever is left ended with it. */
  close(): void {
    for (const traced of [...this.#traced.values()]) {
      this.#decide(traced, true);
      const status = this.#statusOf(traced);
      this.#end(
        traced,
        status !== undefined ? endingOf(status) : traced.gone ? { kind: 'unknown' } : { kind: 'signalled', signal: 9 },
      );
    }
  }

  #trace(pid: number, guestPid: number): Traced {
    const since = this.#view.now();
    const traced: Traced = {
      pid,
      guestPid,
      since,
      pidfd: null,
      current: null,
      candidate: null,
      gone: false,
      looks: 0,
      status: undefined,
    };
    this.#traced.set(pid, traced);
    return traced;
  }

  #watch(traced: Traced): void {
    traced.pidfd = this.#view.openProcess(traced.pid);
    if (traced.pidfd !== null) this.#hooks.watch(traced.pidfd, traced.pid);
  }

  /** The image that the nearest recorded ancestor runs; forks in between made no image. */
  #parentOf(parent: number): number {
    for (let pid = parent, depth = 0; pid > 1 && depth < 64; depth++) {
      const traced = this.#traced.get(pid);
      if (traced !== undefined) this.#settle(traced, true);
      if (traced?.current) return traced.current.id;
      pid = this.#view.processIds(pid)?.parent ?? 0;
    }
    return 0;
  }

  /** Finds out whether the last execve took place. `early`: it may still be under way, so only success counts. */
  #settle(traced: Traced, early = false): void {
    const { candidate, pid } = traced;
    if (candidate === null) return;
    const file = this.#view.runningInode(pid);
    if (file === null) return;
    const success = file !== candidate.file || candidate.mark === null || !this.#view.hasMark(pid, candidate.mark);
    if (success || !early) this.#decide(traced, success);
    if (success && traced.current !== null) this.#images.identify(traced.current, traced.pid);
  }

  #decide(traced: Traced, success: boolean): void {
    const { candidate } = traced;
    if (candidate === null) return;
    traced.candidate = null;
    const { start } = candidate;
    // A search along PATH fails name by name; only a file that is there and may not be executed is worth a record.
    if (!success && !this.#view.mayExist(traced.pid, start.requested)) return;
    const image = this.#images.start(start);
    if (!success) {
      this.#images.end(image, { kind: 'failed' });
      return;
    }
    if (traced.current !== null) this.#images.end(traced.current, { kind: 'replaced' });
    traced.current = image;
  }

  #statusOf(traced: Traced): number | undefined {
    if (traced.status !== undefined) return traced.status;
    return (
      this.#view.zombieStatus(traced.pid) ?? (traced.pidfd === null ? undefined : this.#view.endedStatus(traced.pidfd))
    );
  }

  #finish(traced: Traced): void {
    traced.gone = true;
    const status = this.#statusOf(traced);
    if (status === undefined && traced.looks++ < STATUS_LOOKS) {
      this.#unsettled.add(traced);
      return;
    }
    this.#decide(traced, true);
    this.#end(traced, status === undefined ? { kind: 'unknown' } : endingOf(status));
  }

  #end(traced: Traced, how: Ending): void {
    if (traced.current !== null) this.#images.end(traced.current, how);
    this.#traced.delete(traced.pid);
    this.#unsettled.delete(traced);
    if (traced.pidfd === null) return;
    this.#hooks.unwatch(traced.pidfd);
    this.#view.close(traced.pidfd);
  }
}
