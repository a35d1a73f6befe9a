/**
 * The sandbox of one machine: namespaces and mounts by `cordon-init` and bubblewrap, the system call filter, cgroups
 * or their fallbacks, the exec recorder. Everything of it lives in kernel objects that end with its processes.
 */
import { openSync } from 'node:fs';
import { EnforcementError } from '../../base/errors.ts';
import { Cell } from '../cell.ts';
import { copyOut, type WorkspaceViews, workspaceChanges } from '../changes.ts';
import { EventQueue } from '../event-queue.ts';
import { guestBinary, guestProgram } from '../guest-binary.ts';
import { guestEtc } from '../guest-etc.ts';
import { type AppliedLimits, applyLimits, planLimits } from '../limits.ts';
import type { Operation } from '../mount-operations.ts';
import { copyCheckout, planBox, planHome, planSecrets, separate } from '../mount-plan.ts';
import { close } from '../native.ts';
import { Outer } from '../outer.ts';
import { type OutsidePlan, planOutside } from '../outside-plan.ts';
import { guestOwner } from '../owner.ts';
import { planRoot } from '../root-plan.ts';
import type {
  Control,
  ExecSpec,
  Execution,
  FileChange,
  ListeningPlace,
  ListeningSocket,
  Sandbox,
  SandboxDriver,
  SandboxEvent,
  SandboxSpec,
  Toolbox,
} from '../sandbox.ts';
import { buildFilter, notifiedByDefault, seccompArch } from '../seccomp.ts';
import { supervisorThread } from '../supervisor-client.ts';
import { type WorkspaceEntry, workspaceState } from '../workspace-state.ts';
import { fixedControls } from './bubblewrap-controls.ts';
import { probeControls } from './bubblewrap-probe.ts';
import { bubblewrapArguments, findBubblewrap } from './bubblewrap-program.ts';

/** Remembered for the process: the kernel will not think better of it. */
let overlayRefused = false;

export const bubblewrap: SandboxDriver = {
  name: 'bubblewrap',
  probe: () => probeControls(bubblewrap.create),
  create: (spec) => new BubblewrapSandbox(spec).up(),
  warm(digestFile) {
    try {
      supervisorThread(digestFile);
    } catch {
      // create() says what is wrong.
    }
  },
};

/** The same sandbox whose commands nobody records: what bench/recorder.ts compares with. No driver, and no way from a run to it. */
export function createUnrecorded(spec: SandboxSpec): Promise<Sandbox> {
  return new BubblewrapSandbox(spec, []).up();
}

class BubblewrapSandbox implements Sandbox {
  readonly id: string;
  readonly #spec: SandboxSpec;
  /** System calls that wait for the recorder. */
  readonly #notify: readonly string[];
  readonly #events = new EventQueue<SandboxEvent>();
  readonly #cells: Cell[] = [];
  #limits: AppliedLimits | null = null;
  #outer: Outer | null = null;
  #outside: OutsidePlan | null = null;
  #main: Cell | null = null;
  #folders: number[] = [];
  #controls: readonly Control[] = [];
  #roots = 0;
  #lastEvent = 0;
  #destroyed: Promise<void> | null = null;

  constructor(spec: SandboxSpec, notify: readonly string[] = notifiedByDefault) {
    this.id = spec.runId;
    this.#spec = spec;
    this.#notify = notify;
  }

  get controls(): readonly Control[] {
    return this.#controls;
  }

  get events(): AsyncIterable<SandboxEvent> {
    return this.#events;
  }

  async up(): Promise<Sandbox> {
    try {
      await this.#prepare();
      this.#main = await this.#start(this.#spec.toolbox, this.#spec.secretFiles);
      return this;
    } catch (error) {
      await this.destroy();
      throw error instanceof EnforcementError
        ? error
        : new EnforcementError('sandbox', `the sandbox could not be made: ${(error as Error).message}`, {
            cause: error,
            remedy: 'run `cordon doctor`: it names what this machine lacks',
          });
    }
  }

  async #prepare(): Promise<void> {
    const spec = this.#spec;
    findBubblewrap();
    const plan = await planLimits(spec.limits);
    this.#limits = await applyLimits(plan, spec.runId);
    this.#limits.watch((hit) => this.#events.push({ type: 'limit', time: Date.now(), ...hit }));
    const box = await this.#box(plan.tmpfs);
    this.#controls = [...fixedControls(spec.toolbox, box.copied), ...plan.controls];
    this.#folders = box.folders;
    this.#limits.observeDisk(`/proc/self/fd/${box.folders[0]}`);
    for (const request of planHome(spec.homeFiles ?? {})) await this.#outer?.request(request);
  }

  /** The namespaces and the writable places: an overlay over the checkout, or a copy of it where the kernel refuses one. */
  async #box(tmpfs: string): Promise<{ folders: number[]; copied: boolean }> {
    const { workspace } = this.#spec;
    const checkout = workspace.kind === 'checkout' ? workspace.dir : null;
    this.#outside = planOutside(this.#spec, () => guestProgram(guestOwner() !== null));
    const plan = { ...this.#outside, checkout, tmpfs };
    if (checkout !== null && !overlayRefused && !(workspace.kind === 'checkout' && workspace.copy)) {
      try {
        return { folders: await (await this.#separate()).request(planBox({ ...plan, overlay: true })), copied: false };
      } catch (error) {
        if (!(error instanceof EnforcementError) || error.control !== 'workspace.overlay') throw error;
        overlayRefused = true;
        this.#outer?.kill();
        await this.#outer?.ended();
      }
    }
    const outer = await this.#separate();
    const folders = await outer.request(planBox({ ...plan, overlay: false }));
    this.#folders = folders; // closed in the end also when the copy fails
    if (checkout !== null) await outer.request(copyCheckout);
    return { folders, copied: checkout !== null };
  }

  /** The outer half in fresh namespaces, inside the run's limits. */
  async #separate(): Promise<Outer> {
    const limits = this.#limits as AppliedLimits;
    const outer = new Outer(supervisorThread(), guestBinary());
    this.#outer = outer;
    // It enters its group by itself, before it is anything: moving it would wait for all processors.
    await outer.request([...limits.entry.map((file): Operation => ['file', file, 0, '0']), ...separate]);
    limits.addProcess(outer.pid);
    outer.mapIds(guestOwner());
    return outer;
  }

  /** One more view of the same files, and process 1 in it. */
  async #start(toolbox: Toolbox, secretFiles: SandboxSpec['secretFiles'] = {}): Promise<Cell> {
    const [outer, outside, spec] = [this.#outer, this.#outside, this.#spec];
    if (outer === null || outside === null) throw new Error('the sandbox is not prepared');
    const root = `root-${++this.#roots}`;
    const secrets = Object.keys(secretFiles).length > 0;
    for (const request of secrets ? planSecrets(secretFiles) : []) await outer.request(request);
    await outer.request(
      planRoot({
        ...outside,
        name: root,
        toolbox,
        etc: { ...guestEtc, ...spec.etc },
        files: spec.files ?? {},
        secrets,
      }),
    );
    const ids = new Map<number, number>();
    const cell = new Cell(supervisorThread(), (event) => this.#events.push(this.#renumber(ids, event)));
    this.#cells.push(cell);
    await this.#launch(outer, cell, root);
    await this.#confine(cell);
    return cell;
  }

  /** Starts bubblewrap over a root that is planned, and process 1 in it. Resolves when that answers. */
  async #launch(outer: Outer, cell: Cell, root: string): Promise<void> {
    const helper = openSync(guestBinary(), 'r');
    try {
      const started = outer.request(
        [['start', ...bubblewrapArguments(findBubblewrap(), root)]],
        [cell.childSocket, helper],
      );
      const ready = cell.ready();
      ready.catch(() => {});
      await started.finally(() => close(cell.childSocket)); // else its end would never be seen
      await ready.catch((cause) => {
        const why = outer.complaint || (cause as Error).message;
        throw new EnforcementError('bubblewrap', `bubblewrap did not start: ${why}`, {
          remedy: 'run `cordon doctor`: it names what this machine lacks',
        });
      });
    } finally {
      close(helper);
    }
  }

  async #confine(cell: Cell): Promise<void> {
    const arch = seccompArch();
    if (arch === null) throw new EnforcementError('seccomp', `there is no system call filter for ${process.arch}`);
    const { affinity, rlimits } = (this.#limits as AppliedLimits).plan;
    const filter = buildFilter({
      arch,
      notify: this.#notify,
      ...(affinity === null ? {} : { refuse: ['sched_setaffinity'] }),
    });
    await cell.confine({ rlimits, affinity, filter });
  }

  /** Images are counted through all views of a sandbox. */
  #renumber(ids: Map<number, number>, event: SandboxEvent): SandboxEvent {
    if (event.type === 'started') {
      ids.set(event.id, ++this.#lastEvent);
      return { ...event, id: this.#lastEvent, parent: ids.get(event.parent) ?? 0 };
    }
    return event.type === 'ended' ? { ...event, id: ids.get(event.id) ?? 0 } : event;
  }

  #current(): Cell {
    if (this.#main === null || this.#destroyed !== null) throw new EnforcementError('sandbox', 'the sandbox is gone');
    return this.#main;
  }

  async exec(spec: ExecSpec): Promise<Execution> {
    return this.#current().exec(spec);
  }

  async listen(places: readonly ListeningPlace[]): Promise<readonly ListeningSocket[]> {
    this.#current();
    if (places.length === 0) return []; // to the helper, a message without words is the end
    const sockets = await (this.#outer as Outer).request(places.map(({ port, how }) => ['listen', port, how]));
    if (sockets.length === places.length) return sockets;
    for (const fd of sockets) close(fd);
    throw new EnforcementError('network', `${sockets.length} sockets for ${places.length} ports`);
  }

  async quiesce(): Promise<void> {
    await this.#current().quiesce();
    this.#limits?.check(); // what was hit since the last sample counts too
  }

  async sibling(toolbox: Toolbox): Promise<Sandbox> {
    this.#current();
    const cell = await this.#start(toolbox);
    return {
      id: this.id,
      controls: this.#controls,
      events: this.#events,
      exec: (spec) => cell.exec(spec),
      listen: (places) => this.listen(places),
      quiesce: () => cell.quiesce(),
      sibling: (other) => this.sibling(other),
      changes: () => this.changes(),
      state: () => this.state(),
      copyOut: (path, limit) => this.copyOut(path, limit),
      destroy: () => cell.quiesce(),
    };
  }

  #views(): WorkspaceViews {
    const [upper, lower, merged] = this.#folders.map((fd) => `/proc/self/fd/${fd}`);
    if (upper === undefined || lower === undefined || merged === undefined)
      throw new EnforcementError('sandbox', 'the sandbox is gone');
    return { upper, lower: this.#spec.workspace.kind === 'checkout' ? lower : null, merged };
  }

  async *changes(): AsyncIterable<FileChange> {
    yield* workspaceChanges(this.#views(), this.#spec.limits.disk);
  }

  state(): Iterable<WorkspaceEntry> {
    return workspaceState(this.#views());
  }

  async copyOut(path: string, limit: number): Promise<Buffer> {
    return copyOut(this.#views().merged, path, limit);
  }

  destroy(): Promise<void> {
    this.#destroyed ??= this.#end();
    return this.#destroyed;
  }

  async #end(): Promise<void> {
    await this.#limits?.killAll();
    this.#outer?.kill();
    await this.#outer?.ended();
    for (const cell of this.#cells) cell.hangUp();
    await Promise.all(this.#cells.map((cell) => cell.gone));
    await Promise.all(this.#cells.map((cell) => cell.forget()));
    for (const fd of this.#folders.splice(0)) close(fd);
    await this.#limits?.remove();
    this.#events.close();
  }
}
