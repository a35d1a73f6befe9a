/** Keeps what an agent's tools leave in the workspace, so that its work can go on when the process that drives it is killed. */
import { setImmediate } from 'node:timers/promises';
import { LimitError } from '../base/errors.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { WorkspaceEntry } from '../sandbox/workspace-state.ts';
import type { RunScope } from './scope.ts';
import { LONGEST_FILE, PACK_MEDIA_TYPE, type PackRecord, packed } from './workspace-pack.ts';

/** Bytes of files that are kept of one run. */
const MOST = 1024 * 1024 * 1024;
/** Names that are looked at, and bytes that are read, before others have their turn. */
const TURN = 500;
const TURN_BYTES = 1024 * 1024;

/** Each time only what is other than the last time. */
export class WorkspaceKeeper {
  readonly #scope: RunScope;
  readonly #sandbox: Sandbox;
  readonly #signal: AbortSignal;
  #known: ReadonlyMap<string, string> = new Map();
  #room = MOST;
  #full = false;

  /** `signal`: the run is to end, and nothing more is kept. */
  constructor(scope: RunScope, sandbox: Sandbox, signal: AbortSignal) {
    this.#scope = scope;
    this.#sandbox = sandbox;
    this.#signal = signal;
  }

  /** Resolves when what is in the workspace now is durable. Throws when it cannot be: what cannot be recorded does not go on. */
  async keep(): Promise<void> {
    if (this.#full || this.#signal.aborted) return;
    const { run, system, redactor } = this.#scope;
    const look = new Look(this.#known, this.#sandbox.state(), this.#room, redactor, this.#signal);
    const records = look.records();
    try {
      const first = await records.next();
      const options = { mediaType: PACK_MEDIA_TYPE, maxBytes: MOST + 64 * 1024 * 1024 };
      const pack = first.done === true ? null : packed(chain(first.value, records));
      const content = pack === null ? {} : { content: await system.content.put(run.id, pack, options) };
      this.#known = look.now;
      this.#room -= look.bytes;
      await this.#record(look, null, content);
    } catch (error) {
      if (this.#signal.aborted) return;
      if (!(error instanceof LimitError)) throw error;
      this.#full = true;
      await this.#record({ files: 0, gone: 0, bytes: 0, withheld: 0 }, error.message, {});
      this.#scope.warn(`if this process dies, the run can go on from before this call only: ${error.message}`);
    } finally {
      await records.return(undefined);
    }
  }

  async #record(
    { files, gone, bytes, withheld }: Pick<Look, 'files' | 'gone' | 'bytes' | 'withheld'>,
    cut: string | null,
    content: object,
  ): Promise<void> {
    const resource = { files, gone, bytes, withheld, cut };
    await this.#scope.run.log.append({ type: 'workspace.kept', action: null, resource, ...content }, 'agent');
  }
}

async function* chain(first: PackRecord, rest: AsyncGenerator<PackRecord>): AsyncGenerator<PackRecord> {
  yield first;
  for await (const record of { [Symbol.asyncIterator]: () => ({ next: () => rest.next() }) }) yield record;
}

const NOTHING = Buffer.alloc(0);

/** One look at the whole workspace. */
class Look {
  readonly now = new Map<string, string>();
  readonly #known: ReadonlyMap<string, string>;
  readonly #entries: Iterable<WorkspaceEntry>;
  readonly #room: number;
  readonly #redactor: RunScope['redactor'];
  readonly #signal: AbortSignal;
  files = 0;
  gone = 0;
  bytes = 0;
  withheld = 0;

  constructor(
    known: ReadonlyMap<string, string>,
    entries: Iterable<WorkspaceEntry>,
    room: number,
    redactor: RunScope['redactor'],
    signal: AbortSignal,
  ) {
    this.#signal = signal;
    this.#known = known;
    this.#entries = entries;
    this.#room = room;
    this.#redactor = redactor;
  }

  async *records(): AsyncGenerator<PackRecord> {
    let [seen, read] = [0, 0];
    for (const entry of this.#entries) {
      if (++seen % TURN === 0 || this.bytes - read > TURN_BYTES) {
        read = this.bytes;
        await setImmediate();
        this.#signal.throwIfAborted();
      }
      const record = this.#record(entry);
      if (record !== null) yield record;
    }
    for (const path of this.#known.keys()) {
      // One that names a secret was never put into a pack.
      if (!this.now.has(path) && this.#redactor.nameIn(Buffer.from(path, 'latin1')) === null) yield this.#removed(path);
    }
  }

  #record(entry: WorkspaceEntry): PackRecord | null {
    const path = entry.path.toString('latin1');
    if (this.#known.get(path) === entry.stamp) {
      this.now.set(path, entry.stamp);
      return null;
    }
    if (this.#redactor.nameIn(entry.path) !== null) {
      this.now.set(path, entry.stamp);
      return this.#withheld(this.#redactor.redact(entry.path).toString('latin1'));
    }
    if (entry.kind === 'gone') {
      this.now.set(path, entry.stamp);
      return this.#removed(path);
    }
    const bytes = entry.kind === 'directory' ? NOTHING : this.#read(entry);
    // Gone or grown while it was looked at: seen the next time.
    if (bytes === null) return null;
    this.now.set(path, entry.stamp);
    const head = { p: path, m: entry.mode, t: entry.mtime, r: entry.replaces };
    if (this.#redactor.nameIn(bytes) !== null) return this.#withheld(path, head.r);
    this.files++;
    const k = { file: 'f', symlink: 'l', directory: 'd' } as const;
    return { head: { ...head, k: k[entry.kind], n: bytes.length }, bytes };
  }

  #read(entry: WorkspaceEntry): Buffer | null {
    const most = Math.min(this.#room - this.bytes, LONGEST_FILE);
    if (entry.size > most) {
      throw new LimitError(
        'disk',
        `the workspace holds more than is kept of it: ${MOST >> 20} MiB of a run, ${LONGEST_FILE >> 20} of a file`,
      );
    }
    const bytes = entry.read(most);
    this.bytes += bytes?.length ?? 0;
    return bytes;
  }

  /** What it holds may be a secret, or its name: neither is kept, and the agent is told what is missing. */
  #withheld(path: string, replaces = false): PackRecord {
    this.withheld++;
    return { head: { p: path, k: 'w', m: 0, t: 0, n: 0, r: replaces }, bytes: NOTHING };
  }

  #removed(path: string): PackRecord {
    this.gone++;
    return { head: { p: path, k: 'x', m: 0, t: 0, n: 0, r: false }, bytes: NOTHING };
  }
}
