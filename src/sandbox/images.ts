/** Images of processes as they are told: each once when it starts and once when it ends, numbered from 1. */
import type { ProcessView } from './process-view.ts';
import type { SandboxEvent } from './sandbox.ts';

type Started = Extract<SandboxEvent, { type: 'started' }>;
type Ended = Extract<SandboxEvent, { type: 'ended' }>;

/** What is asked for, before it has a number. */
export type StartedImage = Omit<Started, 'id'>;
export type Ending = Ended['how'];

export interface Image {
  readonly id: number;
  readonly requested: string;
  readonly argv: readonly string[];
  identity: { path: string; sha256: string | null } | null;
  /** The words that it runs with were looked at. */
  looked: boolean;
  argvSeen: readonly string[] | undefined;
}

export class Images {
  readonly #view: ProcessView;
  readonly #emit: (event: SandboxEvent) => void;
  #last = 0;

  constructor(view: ProcessView, emit: (event: SandboxEvent) => void) {
    this.#view = view;
    this.#emit = emit;
  }

  start(start: StartedImage): Image {
    const id = ++this.#last;
    this.#emit({ ...start, id });
    return { id, requested: start.requested, argv: start.argv, identity: null, looked: false, argvSeen: undefined };
  }

  /** Reads which file runs, and with which words, from the kernel; must be called while the process still lives. */
  identify(image: Image, pid: number): void {
    image.identity ??= this.#view.identify(pid);
    if (image.looked) return;
    // Always: whose memory the words lay in cannot be told (threads, vfork, CLONE_VM, pages shared with another process).
    const seen = this.#view.commandLine(pid);
    // The kernel maps the file a moment before it lays out the words: whoever is looked at in between is looked at again.
    if (seen === null) return;
    image.looked = true;
    if (sameStart(seen, image.argv) || sameScript(seen, image)) return;
    image.argvSeen = seen;
  }

  end(image: Image, how: Ending): void {
    this.#emit({
      type: 'ended',
      id: image.id,
      time: this.#view.now(),
      path: image.identity?.path ?? image.requested,
      sha256: image.identity?.sha256 ?? null,
      identity: image.identity === null ? 'request' : 'kernel',
      how,
      ...(image.argvSeen === undefined ? {} : { argvSeen: image.argvSeen }),
    });
  }
}

/** Of a wait status (wait(2)). */
export function endingOf(status: number): Ending {
  const signal = status & 0x7f;
  return signal === 0 ? { kind: 'exited', code: (status >> 8) & 0xff } : { kind: 'signalled', signal };
}

/** True for what execve makes of a script: `interpreter [argument] script` before the words asked for. */
function sameScript(seen: readonly string[], { requested, argv }: Image): boolean {
  const at = seen.length - argv.length;
  return at > 0 && seen[at] === requested && argv.slice(1).every((word, i) => seen[at + 1 + i] === word);
}

/** True when what was seen is what was asked for, as far as both were kept. */
function sameStart(seen: readonly string[], asked: readonly string[]): boolean {
  const count = Math.min(seen.length, asked.length);
  for (let i = 0; i < count; i++) if (seen[i] !== asked[i]) return false;
  return seen.length === asked.length || count >= 64;
}
