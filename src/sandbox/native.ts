/**
 * The few system calls Node has no binding for, through koffi (prebuilt; no compiler on the user's machine).
 * Every function throws {@link SystemCallError} with the errno. Descriptors returned are close-on-exec.
 * The structures stand where they are filled in; their layout is that of 64-bit Linux, the same on x86-64 and arm64
 * (man 2 sendmsg, man 2 seccomp_unotify, linux/pidfd.h).
 */
import { closeSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

class SystemCallError extends Error {
  readonly call: string;
  readonly errno: number;

  constructor(call: string, errno: number) {
    super(`${call}: ${errorName(errno)}`);
    this.name = 'SystemCallError';
    this.call = call;
    this.errno = errno;
  }
}

export function errorName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

const Errno = { ENOENT: 2, EINTR: 4, EAGAIN: 11, ENOTTY: 25, EINPROGRESS: 115 } as const;

const libc = koffi.load(null);
const c = {
  socketpair: libc.func('int socketpair(int domain, int type, int protocol, _Out_ int *pair)'),
  pipe2: libc.func('int pipe2(_Out_ int *pair, int flags)'),
  sendmsg: libc.func('int64_t sendmsg(int fd, void *message, int flags)'),
  recvmsg: libc.func('int64_t recvmsg(int fd, void *message, int flags)'),
  shutdown: libc.func('int shutdown(int fd, int how)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t size)'),
  ioctl: libc.func('int ioctl(int fd, ulong request, void *argument)'),
  epollCreate: libc.func('int epoll_create1(int flags)'),
  epollCtl: libc.func('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
  epollWait: libc.func('int epoll_wait(int epoll, void *events, int max, int timeout)'),
  eventfd: libc.func('int eventfd(uint32_t initial, int flags)'),
  read: libc.func('int64_t read(int fd, void *buffer, size_t size)'),
  processVmReadv: libc.func(
    'int64_t process_vm_readv(int pid, void *local, ulong locals, void *remote, ulong remotes, ulong flags)',
  ),
  syscall3: libc.func('long syscall(long number, long a, long b, long c)'),
};

function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}

const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;

/** Two ends of a connection that keeps message boundaries; senders are named by the kernel (SO_PASSCRED). */
export function messagePair(): [number, number] {
  const pair = [-1, -1];
  check('socketpair', c.socketpair(1, 5 | CLOEXEC, 0, pair));
  const size = Buffer.alloc(4);
  size.writeInt32LE(1);
  check('setsockopt', c.setsockopt(pair[0], 1, 16 /* SO_PASSCRED */, size, 4));
  size.writeInt32LE(1 << 20);
  c.setsockopt(pair[0], 1, 7 /* SO_SNDBUF: a mount plan is one message */, size, 4);
  return [pair[0] as number, pair[1] as number];
}

/** Ends a connection in both directions and keeps the descriptor: the other end reads the end of it. */
export function hangUp(fd: number): void {
  c.shutdown(fd, 2);
}

/** A pipe: [reading end, writing end]. */
export function pipe(): [number, number] {
  const pair = [-1, -1];
  check('pipe2', c.pipe2(pair, CLOEXEC));
  return [pair[0] as number, pair[1] as number];
}

/* One arena per thread: msghdr (56) · iovec (16) · control (256) · payload. Addresses are fixed, so the headers are
 * written once. */
const CONTROL_SIZE = 256;
const PAYLOAD = 56 + 16 + CONTROL_SIZE;
const MAX_MESSAGE = 196_608;
const arenaAddress = koffi.alloc('uint8_t', PAYLOAD + MAX_MESSAGE) as bigint;
const arena = Buffer.from(koffi.view(arenaAddress, PAYLOAD + MAX_MESSAGE));
const controlBuffer = arena.subarray(72, 72 + CONTROL_SIZE);
arena.writeBigUInt64LE(arenaAddress + 56n, 16); // msg_iov
arena.writeBigUInt64LE(1n, 24); // msg_iovlen
arena.writeBigUInt64LE(arenaAddress + BigInt(PAYLOAD), 56); // iov_base

/** Sends one message with descriptors. Throws when it is too long or the other end is gone. */
export function sendMessage(fd: number, payload: Uint8Array, descriptors: readonly number[] = []): void {
  if (payload.length > MAX_MESSAGE) throw new SystemCallError(`sendmsg of ${payload.length} bytes`, 90 /* EMSGSIZE */);
  arena.set(payload, PAYLOAD);
  arena.writeBigUInt64LE(BigInt(payload.length), 64);
  if (descriptors.length > 0) {
    controlBuffer.writeBigUInt64LE(BigInt(16 + 4 * descriptors.length), 0);
    controlBuffer.writeInt32LE(1 /* SOL_SOCKET */, 8);
    controlBuffer.writeInt32LE(1 /* SCM_RIGHTS */, 12);
    descriptors.forEach((descriptor, i) => {
      controlBuffer.writeInt32LE(descriptor, 16 + 4 * i);
    });
  }
  const controlLength = descriptors.length === 0 ? 0 : 16 + 8 * Math.ceil((4 * descriptors.length) / 8);
  arena.writeBigUInt64LE(controlLength === 0 ? 0n : arenaAddress + 72n, 32);
  arena.writeBigUInt64LE(BigInt(controlLength), 40);
  for (;;) {
    const sent = c.sendmsg(fd, arenaAddress, 0x4000 /* MSG_NOSIGNAL */);
    if (sent >= 0) return;
    if (koffi.errno() !== Errno.EINTR) throw new SystemCallError('sendmsg', koffi.errno());
  }
}

export interface ReceivedMessage {
  /** A copy. */
  readonly data: Buffer;
  readonly descriptors: readonly number[];
  /** The sender's process id in our namespace, by the kernel's word. */
  readonly pid: number;
}

/** One message that is there already; null at the end of the connection, undefined when none is there. */
export function receiveMessage(fd: number): ReceivedMessage | null | undefined {
  arena.writeBigUInt64LE(BigInt(MAX_MESSAGE), 64);
  arena.writeBigUInt64LE(arenaAddress + 72n, 32);
  arena.writeBigUInt64LE(BigInt(CONTROL_SIZE), 40);
  const size = Number(c.recvmsg(fd, arenaAddress, 0x40000000 /* MSG_CMSG_CLOEXEC */ | 0x40 /* MSG_DONTWAIT */));
  if (size < 0) {
    const errno = koffi.errno();
    if (errno === Errno.EAGAIN || errno === Errno.EINTR) return undefined;
    if (errno === 104 /* ECONNRESET: it died with our message unread */) return null;
    throw new SystemCallError('recvmsg', errno);
  }
  if (size === 0) return null;
  const descriptors: number[] = [];
  let pid = 0;
  const controlLength = Number(arena.readBigUInt64LE(40));
  for (let at = 0; at + 16 <= controlLength; ) {
    const length = Number(controlBuffer.readBigUInt64LE(at));
    if (length < 16) break;
    const type = controlBuffer.readInt32LE(at + 12);
    if (type === 1) for (let i = at + 16; i + 4 <= at + length; i += 4) descriptors.push(controlBuffer.readInt32LE(i));
    if (type === 2 /* SCM_CREDENTIALS */) pid = controlBuffer.readInt32LE(at + 16);
    at += 8 * Math.ceil(length / 8);
  }
  return { data: Buffer.from(arena.subarray(PAYLOAD, PAYLOAD + size)), descriptors, pid };
}

/** Waits for many descriptors at once; each carries a number of the caller's. */
export class Poller {
  readonly #epoll: number;
  readonly #events = Buffer.alloc(64 * EPOLL_EVENT_SIZE);
  readonly #event = Buffer.alloc(16);

  constructor() {
    this.#epoll = check('epoll_create1', c.epollCreate(CLOEXEC));
  }

  add(fd: number, token: number): void {
    this.#event.writeUInt32LE(1 /* EPOLLIN; errors and hang-ups come anyway */, 0);
    this.#event.writeBigUInt64LE(BigInt(token), EPOLL_EVENT_SIZE - 8);
    check('epoll_ctl', c.epollCtl(this.#epoll, 1, fd, this.#event));
  }

  remove(fd: number): void {
    c.epollCtl(this.#epoll, 2, fd, this.#event);
  }

  /** Tokens that are ready, with the kernel's event bits; [] after `timeout` milliseconds (-1: never). */
  wait(timeout: number): { token: number; bits: number }[] {
    const count = c.epollWait(this.#epoll, this.#events, 64, timeout);
    if (count < 0) {
      if (koffi.errno() === Errno.EINTR) return [];
      throw new SystemCallError('epoll_wait', koffi.errno());
    }
    const ready = [];
    for (let i = 0; i < count; i++) {
      const at = i * EPOLL_EVENT_SIZE;
      const token = Number(this.#events.readBigUInt64LE(at + EPOLL_EVENT_SIZE - 8));
      ready.push({ token, bits: this.#events.readUInt32LE(at) });
    }
    return ready;
  }
}

/* struct epoll_event is packed on x86-64 only. */
const EPOLL_EVENT_SIZE = process.arch === 'x64' ? 12 : 16;

/** A counter that wakes a poller of another thread. */
export function wakeupDescriptor(): number {
  return check('eventfd', c.eventfd(0, CLOEXEC | NONBLOCK));
}

const counter = Buffer.alloc(8);

export function drainWakeups(fd: number): void {
  c.read(fd, counter, 8);
}

const NOTIF_RECV = 0xc0502100;
const NOTIF_SEND = 0xc0182101;
const NOTIF_ID_VALID = 0x40082102;

/** struct seccomp_notif, read into a buffer of 80 bytes: id 0, pid 8, flags 12, nr 16, arch 20, ip 24, args 32…79. */
export function receiveNotification(listener: number, into: Buffer): boolean {
  into.fill(0); // the kernel refuses a buffer that is not zero
  if (c.ioctl(listener, NOTIF_RECV, into) === 0) return true;
  const errno = koffi.errno();
  if (errno === Errno.EINTR || errno === Errno.ENOENT || errno === Errno.EAGAIN) return false; // it was killed meanwhile
  throw new SystemCallError('ioctl SECCOMP_IOCTL_NOTIF_RECV', errno);
}

const response = Buffer.alloc(24);

/** Answers a notification: goes on with the call, or fails it with `errno`. False when the caller is gone. */
export function answerNotification(listener: number, id: bigint, errno: number): boolean {
  response.writeBigUInt64LE(id, 0);
  response.writeBigInt64LE(0n, 8);
  response.writeInt32LE(errno === 0 ? 0 : -errno, 16);
  response.writeUInt32LE(errno === 0 ? 1 /* SECCOMP_USER_NOTIF_FLAG_CONTINUE */ : 0, 20);
  if (c.ioctl(listener, NOTIF_SEND, response) === 0) return true;
  if (koffi.errno() === Errno.ENOENT || koffi.errno() === Errno.EINPROGRESS) return false;
  throw new SystemCallError('ioctl SECCOMP_IOCTL_NOTIF_SEND', koffi.errno());
}

/**
 * Lets the kernel run us on the processor of the caller that has just stopped: half the latency of waking another one.
 * Linux ≥ 6.6; elsewhere nothing changes.
 */
export function preferSameProcessor(listener: number): void {
  response.writeBigUInt64LE(1n /* SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP */, 0);
  c.ioctl(listener, 0x40082104 /* SECCOMP_IOCTL_NOTIF_SET_FLAGS */, response);
}

/* Two pieces of memory at once: iovecs for our side (32 bytes) and for the other (32), then the bytes. */
const MEMORY = 16_384;
const memoryAddress = koffi.alloc('uint8_t', 64 + MEMORY) as bigint;
const memory = Buffer.from(koffi.view(memoryAddress, 64 + MEMORY));
memory.writeBigUInt64LE(memoryAddress + 64n, 0);

/**
 * Copies up to 16 KiB of another process's memory, pieces one behind the other. The view is good until the next call.
 * Shorter than asked for where a page is not there; null when nothing could be read.
 */
export function readMemory(
  pid: number,
  address: bigint,
  size: number,
  second?: { address: bigint; size: number },
): Buffer | null {
  memory.writeBigUInt64LE(BigInt(size + (second?.size ?? 0)), 8);
  memory.writeBigUInt64LE(address, 32);
  memory.writeBigUInt64LE(BigInt(size), 40);
  memory.writeBigUInt64LE(second?.address ?? 0n, 48);
  memory.writeBigUInt64LE(BigInt(second?.size ?? 0), 56);
  const count = Number(c.processVmReadv(pid, memoryAddress, 1, memoryAddress + 32n, second === undefined ? 1 : 2, 0));
  return count <= 0 ? null : memory.subarray(64, 64 + count);
}

/** True while the notifying thread still waits: what was read of its process until now was of that process. */
export function notificationValid(listener: number, id: bigint): boolean {
  response.writeBigUInt64LE(id, 0);
  return c.ioctl(listener, NOTIF_ID_VALID, response) === 0;
}

/** A descriptor of the process; null when it is gone. */
export function openProcess(pid: number): number | null {
  const fd = Number(c.syscall3(434 /* pidfd_open, the same on all architectures */, pid, 0, 0));
  if (fd >= 0) return fd;
  if (koffi.errno() === 3 /* ESRCH */) return null;
  throw new SystemCallError('pidfd_open', koffi.errno());
}

const info = Buffer.alloc(64);

/** The wait status of an ended process (Linux ≥ 6.15, after it was reaped); undefined where the kernel does not tell. */
export function endedStatus(pidfd: number): number | undefined {
  info.fill(0);
  info.writeBigUInt64LE(8n /* PIDFD_INFO_EXIT */, 0);
  if (c.ioctl(pidfd, 0xc040ff0b /* PIDFD_GET_INFO, struct of 64 bytes */, info) !== 0) return undefined;
  return (info.readBigUInt64LE(0) & 8n) === 0n ? undefined : info.readInt32LE(60);
}

export function close(fd: number): void {
  closeSync(fd);
}
