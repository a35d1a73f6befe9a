/**
 * The supervisor thread: waits on all sandboxes of this process at once and answers the kernel's notifications.
 * A thread of its own, because a stopped process must not wait for the main thread's other work.
 * It blocks in epoll_wait; the main thread wakes it through an eventfd and leaves messages on its port. `STOP` ends it:
 * a thread that blocks in a system call cannot be terminated, and would keep the whole process from ending.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { systemClock } from '../base/clock.ts';
import { decodeReply } from './control-protocol.ts';
import {
  answerNotification,
  close,
  drainWakeups,
  endedStatus,
  notificationValid,
  openProcess,
  Poller,
  preferSameProcessor,
  receiveMessage,
  receiveNotification,
  wakeupDescriptor,
} from './native.ts';
import type { ProcessView } from './process-view.ts';
import * as processes from './process-view.ts';
import { Recorder } from './recorder.ts';
import { ENDED, STOP, type SupervisorNews, type SupervisorRequest, WAKEUP } from './supervisor-protocol.ts';
import { FileDigests } from './toolbox-digests.ts';

const EXECVE = process.arch === 'arm64' ? 221 : 59;
const EXECVEAT = process.arch === 'arm64' ? 281 : 322;
/** Milliseconds between looks at images that were just started or have just ended. */
const SWEEP = 5;
/** Milliseconds that events may be gathered for one message to the main thread; replies go at once. */
const GATHER = 1;

type Role = 'outer' | 'init';
type Source =
  | { readonly kind: 'wake' }
  | { readonly kind: 'control'; readonly cell: Cell; readonly role: Role; readonly fd: number }
  | { readonly kind: 'listener'; readonly cell: Cell; readonly fd: number }
  | { readonly kind: 'process'; readonly cell: Cell; readonly pid: number; readonly fd: number }
  | { readonly kind: 'first'; readonly cell: Cell; readonly fd: number };

interface Cell {
  readonly id: number;
  readonly recorder: Recorder;
  readonly tokens: Set<number>;
  first: boolean;
  /** A loss was told already that comes again with every look. */
  troubled: boolean;
}

const port = parentPort;
if (port === null) throw new Error('supervisor.ts is a worker thread');
const { shared, digestFile } = workerData as { shared: Int32Array; digestFile: string | null };
const wakeup = wakeupDescriptor();
const poller = new Poller();
const sources = new Map<number, Source>();
const cells = new Map<number, Cell>();
const digests = new FileDigests(systemClock, (key, digest) => news.push({ type: 'learned', key, digest }));
if (digestFile !== null) digests.load(digestFile);
let lastToken = 0;
let news: SupervisorNews[] = [];
let urgent = false;
let flushed = 0;

/**
 * Bytes of executables that are read for one cell's records. A guest could make any number of huge ones, and reading
 * them would keep every other sandbox waiting; what comes after is recorded by its path alone.
 */
const DIGEST_BUDGET = 2 * 1024 ** 3;

const view: Omit<ProcessView, 'identify'> = {
  ...processes,
  openProcess,
  endedStatus,
  close,
  now: () => Date.now(),
};

function identifier(): ProcessView['identify'] {
  let room = DIGEST_BUDGET;
  return (pid) => {
    const seen = processes.runningFile(pid);
    if (seen === null) return null;
    const known = digests.known(seen.stat);
    if (known !== undefined) return { path: seen.path, sha256: known };
    if (Number(seen.stat.size) > room) return { path: seen.path, sha256: null };
    room -= Number(seen.stat.size);
    const fd = processes.openRunning(pid);
    if (fd === null) return null;
    try {
      return { path: seen.path, sha256: digests.ofDescriptor(fd) };
    } finally {
      close(fd);
    }
  };
}

function add(source: Source, fd: number): number {
  const token = ++lastToken;
  sources.set(token, source);
  if (source.kind !== 'wake') source.cell.tokens.add(token);
  poller.add(fd, token);
  return token;
}

function drop(token: number): void {
  const source = sources.get(token);
  if (source === undefined || source.kind === 'wake') return;
  sources.delete(token);
  source.cell.tokens.delete(token);
  poller.remove(source.fd);
  // A recorder closes its own; a control socket is the main thread's, who may be about to write to it: a number that
  // was closed here could be another sandbox's by then.
  if (source.kind === 'listener' || source.kind === 'first') close(source.fd);
}

function newCell(id: number): Cell {
  const tokenOf = new Map<number, number>();
  const recorder = new Recorder(
    { ...view, identify: identifier() },
    {
      emit: (event) => news.push({ type: 'event', cell: id, event }),
      watch: (fd, pid) => tokenOf.set(fd, add({ kind: 'process', cell, pid, fd }, fd)),
      unwatch: (fd) => {
        drop(tokenOf.get(fd) ?? 0);
        tokenOf.delete(fd);
      },
    },
  );
  const cell: Cell = { id, recorder, tokens: new Set(), first: false, troubled: false };
  cells.set(id, cell);
  return cell;
}

function tell(item: SupervisorNews): void {
  news.push(item);
  urgent = true;
}

function request(message: SupervisorRequest): void {
  if (message.type === 'watch') {
    const cell = cells.get(message.cell) ?? newCell(message.cell);
    add({ kind: 'control', cell, role: message.role, fd: message.fd }, message.fd);
    return;
  }
  const cell = cells.get(message.cell);
  if (cell !== undefined) {
    cell.recorder.close();
    for (const token of [...cell.tokens]) drop(token);
    cells.delete(message.cell);
  }
  tell({ type: 'forgotten', cell: message.cell });
}

function control(token: number, source: Extract<Source, { kind: 'control' }>): void {
  const { cell, role } = source;
  for (;;) {
    const message = receiveMessage(source.fd);
    if (message === undefined) return;
    if (message === null) {
      drop(token);
      tell({ type: 'closed', cell: cell.id, role });
      return;
    }
    const reply = decodeReply(message.data);
    const [fd = null, ...more] = message.descriptors;
    for (const extra of more) close(extra);
    if (reply === null) {
      if (fd !== null) close(fd);
      tell({
        type: 'failed',
        message: `cell ${cell.id}: not a reply: ${JSON.stringify(message.data.toString('latin1').slice(0, 80))}`,
      });
      continue;
    }
    if (reply.kind === 'ready' && !cell.first) {
      cell.first = true;
      const pidfd = openProcess(message.pid);
      if (pidfd !== null) add({ kind: 'first', cell, fd: pidfd }, pidfd);
      else tell({ type: 'gone', cell: cell.id }); // it was killed and reaped right after it said so
    }
    if (reply.kind === 'reaped') guarded(cell, () => cell.recorder.reaped(reply.a, reply.b));
    if (reply.kind === 'listener' && fd !== null) {
      preferSameProcessor(fd);
      add({ kind: 'listener', cell, fd }, fd);
      tell({ type: 'reply', cell: cell.id, role, reply, fd: null });
    } else tell({ type: 'reply', cell: cell.id, role, reply, fd });
  }
}

/** What one guest makes the recorder stumble over must not end the record of the others: it is a loss of its own run. */
function guarded(cell: Cell, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!cell.troubled) {
      news.push({ type: 'event', cell: cell.id, event: { type: 'lost', time: Date.now(), reason: String(error) } });
    }
    cell.troubled = true;
  }
}

const notification = Buffer.alloc(80);

function notified(token: number, source: Extract<Source, { kind: 'listener' }>, bits: number): void {
  if ((bits & 1) === 0) {
    drop(token); // hang-up: no process under this filter is left
    return;
  }
  if (!receiveNotification(source.fd, notification)) return;
  const id = notification.readBigUInt64LE(0);
  const nr = notification.readInt32LE(16);
  try {
    source.cell.recorder.stopped({
      thread: notification.readUInt32LE(8),
      kind: nr === EXECVE ? 'execve' : nr === EXECVEAT ? 'execveat' : 'exit_group',
      args: [notification.readBigUInt64LE(32), notification.readBigUInt64LE(40), notification.readBigUInt64LE(48)],
      valid: () => notificationValid(source.fd, id),
    });
  } catch (error) {
    news.push({
      type: 'event',
      cell: source.cell.id,
      event: { type: 'lost', time: Date.now(), reason: String(error) },
    });
  }
  answerNotification(source.fd, id, 0);
}

function ready(token: number, bits: number): void {
  const source = sources.get(token);
  if (source === undefined) return;
  switch (source.kind) {
    case 'wake': {
      drainWakeups(wakeup);
      takeRequests();
      return;
    }
    case 'control':
      control(token, source);
      return;
    case 'listener':
      notified(token, source, bits);
      return;
    case 'process':
      guarded(source.cell, () => source.cell.recorder.gone(source.pid));
      return;
    case 'first':
      drop(token);
      tell({ type: 'gone', cell: source.cell.id });
  }
}

function takeRequests(): void {
  for (let m = receiveMessageOnPort(inbox); m !== undefined; m = receiveMessageOnPort(inbox))
    request(m.message as SupervisorRequest);
}

function flush(): void {
  if (news.length === 0) return;
  inbox.postMessage(news);
  news = [];
  urgent = false;
  flushed = systemClock.monotonic();
}

const inbox = port;
add({ kind: 'wake' }, wakeup);
Atomics.store(shared, WAKEUP, wakeup);
takeRequests(); // of before: whoever asks from now on wakes us
let swept = 0;
while (Atomics.load(shared, STOP) === 0) {
  const busy = [...cells.values()].some((cell) => cell.recorder.unsettled);
  for (const { token, bits } of poller.wait(news.length > 0 ? GATHER : busy ? SWEEP : -1)) ready(token, bits);
  if (busy && systemClock.monotonic() - swept >= SWEEP) {
    swept = systemClock.monotonic();
    for (const cell of cells.values()) guarded(cell, () => cell.recorder.sweep());
  }
  if (urgent || systemClock.monotonic() - flushed >= GATHER) flush();
}
Atomics.store(shared, ENDED, 1);
Atomics.notify(shared, ENDED);
