/*
 * cordon-init: the only native code of Cordon. Three roles, chosen by argv[1]:
 *
 *   outer   runs on the trusted side of one sandbox. Moves itself into fresh user, mount, network and ipc namespaces,
 *           carries out a list of mount operations made by mount-plan.ts, then starts bubblewrap. Knows no policy.
 *   init    is process 1 inside. Applies limits and the seccomp program it is sent, hands the notification descriptor
 *           to the trusted side, then starts commands and reaps. Its own memory and descriptors are closed to the guest
 *           (not dumpable, close-on-exec), and it holds nothing secret.
 *   -Y sign   the guest's stand-in for ssh-keygen, bound at /run/cordon/git-sign: hands the commit that git wants signed to the
 *             git gateway, and writes the signature where git looks for it. An ordinary program of the guest's, with no
 *             privilege and no key.
 *
 * The first two speak over descriptor 3, a SOCK_SEQPACKET socket: one message, one request. Every string ends with NUL, numbers
 * are decimal strings, so that messages can be read in a debugger. The wire format stands in src/sandbox/control-protocol.ts.
 *
 * No libc: a static program of a few kilobytes that needs nothing in the sandbox to load, and is the same bytes from the
 * same compiler everywhere (scripts/build-guest.ts). It parses only what the trusted side sends, except wait statuses.
 */
typedef unsigned long ulong;
typedef unsigned int uint;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned long long u64;

#if defined(__x86_64__)
enum {
  SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_ioctl = 16, SYS_socket = 41, SYS_connect = 42, SYS_sendto = 44, SYS_sendmsg = 46, SYS_recvmsg = 47,
  SYS_bind = 49, SYS_listen = 50, SYS_setsockopt = 54, SYS_clone = 56, SYS_execve = 59, SYS_exit = 60, SYS_exit_group = 231, SYS_wait4 = 61,
  SYS_kill = 62, SYS_fcntl = 72, SYS_chdir = 80, SYS_fchdir = 81, SYS_setsid = 112, SYS_setgroups = 116,
  SYS_setresuid = 117, SYS_setresgid = 119, SYS_umask = 95, SYS_rt_sigprocmask = 14, SYS_prctl = 157, SYS_mount = 165,
  SYS_sched_setaffinity = 203, SYS_openat = 257, SYS_mkdirat = 258, SYS_symlinkat = 266, SYS_faccessat = 269,
  SYS_unshare = 272, SYS_signalfd4 = 289, SYS_dup3 = 292, SYS_prlimit64 = 302, SYS_seccomp = 317, SYS_ppoll = 271,
  SYS_close_range = 436, SYS_mount_setattr = 442, SYS_umount2 = 166, SYS_fchmodat = 268
};
static inline long sys6(long n, long a, long b, long c, long d, long e, long f) {
  long r;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return r;
}
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call entry\n hlt\n");
#elif defined(__aarch64__)
enum {
  SYS_read = 63, SYS_write = 64, SYS_close = 57, SYS_ioctl = 29, SYS_socket = 198, SYS_connect = 203, SYS_sendto = 206, SYS_sendmsg = 211, SYS_recvmsg = 212,
  SYS_bind = 200, SYS_listen = 201, SYS_setsockopt = 208, SYS_clone = 220, SYS_execve = 221, SYS_exit = 93,
  SYS_exit_group = 94,
  SYS_wait4 = 260, SYS_kill = 129, SYS_fcntl = 25, SYS_chdir = 49, SYS_fchdir = 50, SYS_setsid = 157,
  SYS_setgroups = 159, SYS_setresuid = 147, SYS_setresgid = 149, SYS_umask = 166, SYS_rt_sigprocmask = 135,
  SYS_prctl = 167, SYS_mount = 40, SYS_sched_setaffinity = 122, SYS_openat = 56, SYS_mkdirat = 34, SYS_symlinkat = 36,
  SYS_faccessat = 48, SYS_unshare = 97, SYS_signalfd4 = 74, SYS_dup3 = 24, SYS_prlimit64 = 261, SYS_seccomp = 277,
  SYS_ppoll = 73, SYS_close_range = 436, SYS_mount_setattr = 442, SYS_umount2 = 39, SYS_fchmodat = 53
};
static inline long sys6(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n bl entry\n brk #0\n");
#else
#error "x86-64 and arm64 only"
#endif

#define S1(n, a) sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define S2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define S3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define S4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define S5(n, a, b, c, d, e) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

enum { EINTR = 4, EIO = 5, EAGAIN = 11, EACCES = 13, EINVAL = 22, ENOENT = 2, E2BIG = 7, ECHILD = 10 };
enum { CONTROL = 3, AT_FDCWD = -100, SIGKILL = 9, SIGCHLD = 17, O_CLOEXEC = 02000000 };
enum { MESSAGE = 196608, MAX_FDS = 4, MAX_WORDS = 16384 };

/* gcc emits calls to these even without a libc */
void *memset(void *d, int c, ulong n) {
  u8 *p = d;
  while (n--) *p++ = (u8)c;
  return d;
}
void *memcpy(void *d, const void *s, ulong n) {
  u8 *p = d;
  const u8 *q = s;
  while (n--) *p++ = *q++;
  return d;
}
static ulong length(const char *s) {
  ulong n = 0;
  while (s[n]) n++;
  return n;
}
static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}
static long number(const char *s) {
  long v = 0, sign = 1;
  if (*s == '-') sign = -1, s++;
  while (*s >= '0' && *s <= '9') v = v * 10 + (*s++ - '0');
  return v * sign;
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

struct iovec { void *base; ulong size; };
struct msghdr { void *name; uint namelen; struct iovec *iov; ulong iovlen; void *control; ulong controllen; int flags; };
struct cmsg { ulong len; int level, type; int fds[MAX_FDS]; };

static char message[MESSAGE + 1];
static char *words[MAX_WORDS + 1];
static int word_count;
static int fds[MAX_FDS];
static int fd_count;

static int word_at(int i) { return i < word_count; }

/* One message into `message`, its strings into `words`, its descriptors into `fds`. 0 at the end of the connection. */
static long receive(void) {
  struct iovec io = {message, MESSAGE};
  struct cmsg c;
  struct msghdr m = {0, 0, &io, 1, &c, sizeof c, 0};
  long n;
  do n = S3(SYS_recvmsg, CONTROL, &m, 0x40000000 /* MSG_CMSG_CLOEXEC */);
  while (n == -EINTR);
  fd_count = 0;
  word_count = 0;
  if (n <= 0) return n;
  if (m.controllen >= 16 && c.level == 1 && c.type == 1) {
    fd_count = (int)((c.len - 16) / 4);
    for (int i = 0; i < fd_count && i < MAX_FDS; i++) fds[i] = c.fds[i];
  }
  message[n] = 0;
  for (long i = 0; i < n && word_count < MAX_WORDS;) {
    words[word_count++] = message + i;
    i += (long)length(message + i) + 1;
  }
  words[word_count] = 0;
  return n;
}

static char *put(char *at, const char *s) {
  while (*s) *at++ = *s++;
  *at++ = 0;
  return at;
}
static char *put_number(char *at, long v) {
  char digits[24];
  int n = 0;
  if (v < 0) *at++ = '-', v = -v;
  do digits[n++] = (char)('0' + v % 10), v /= 10;
  while (v);
  while (n) *at++ = digits[--n];
  *at++ = 0;
  return at;
}

static void reply(const char *kind, long a, long b, int fd) {
  char text[64];
  char *end = put(text, kind);
  end = put_number(end, a);
  end = put_number(end, b);
  struct iovec io = {text, (ulong)(end - text)};
  struct cmsg c = {16 + 4, 1, 1, {fd}};
  struct msghdr m = {0, 0, &io, 1, fd >= 0 ? &c : 0, fd >= 0 ? 24 : 0, 0};
  long n;
  do n = S3(SYS_sendmsg, CONTROL, &m, 0x4000 /* MSG_NOSIGNAL */);
  while (n == -EINTR);
}

/* `exit`, not `exit_group`: the latter waits for the recorder, which may be what has just died. */
__attribute__((noreturn)) static void leave(int code) {
  for (;;) S1(SYS_exit, code);
}

/* ---- outer ---------------------------------------------------------------------------------------------------- */

struct mount_attr { u64 set, clear, propagation, userns_fd; };

static long write_file(const char *path, long mode, const char *text) {
  long fd = S4(SYS_openat, AT_FDCWD, path, 01 | 0100 | 01000 | O_CLOEXEC, mode), n;
  if (fd < 0) return fd;
  n = S3(SYS_write, fd, text, length(text));
  S1(SYS_close, fd);
  return n < 0 ? n : 0;
}

static long loopback_up(void) {
  struct { char name[16]; short flags; char rest[22]; } request = {"lo", 0x1 | 0x40, {0}};
  long fd = S3(SYS_socket, 2, 2 | O_CLOEXEC, 0), r;
  if (fd < 0) return fd;
  r = S3(SYS_ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &request);
  S1(SYS_close, fd);
  return r;
}

/* "198.18.0.1" into its four bytes; only the trusted side writes such words. */
static void read_address(const char *text, u8 *address) {
  for (int i = 0; i < 4; i++) {
    address[i] = (u8)number(text);
    while (*text && *text != '.') text++;
    if (*text) text++;
  }
}

/* how: "tcp" on 127.0.0.1, "tcp-any" on every address of these namespaces, "udp" on 127.0.0.1, else tcp on the address that it is */
static long listen_on(long port, const char *how) {
  struct { u16 family; u8 port[2]; u8 address[4]; u8 zero[8]; } a = {2, {(u8)(port >> 8), (u8)port}, {127, 0, 0, 1}, {0}};
  int one = 1, udp = same(how, "udp");
  long fd = S3(SYS_socket, 2, (udp ? 2 : 1) | O_CLOEXEC, 0), r;
  if (fd < 0) return fd;
  if (same(how, "tcp-any")) memset(a.address, 0, 4);
  else if (*how >= '0' && *how <= '9') read_address(how, a.address);
  S5(SYS_setsockopt, fd, 1, 2, &one, 4);
  r = S3(SYS_bind, fd, &a, 16);
  if (r == 0 && !udp) r = S2(SYS_listen, fd, 511);
  if (r < 0) return S1(SYS_close, fd), r;
  return fd;
}

/* 198.18.0.0/15 (RFC 2544, for tests of networks) is ours: addresses that stand for names. `ip route add local … dev lo`. */
static long synthetic_route(void) {
  struct {
    uint length; u16 type, flags; uint sequence, pid;
    u8 family, destination_bits, source_bits, tos, table, protocol, scope, kind; uint route_flags;
    u16 length_1, type_1; u8 destination[4];
    u16 length_2, type_2; uint interface;
  } m = {44, 24 /* RTM_NEWROUTE */, 0x605 /* REQUEST, ACK, CREATE, EXCL */, 1, 0, 2, 15, 0, 0, 255 /* local */, 4, 254 /* host */, 2 /* RTN_LOCAL */, 0,
         8, 1 /* RTA_DST */, {198, 18, 0, 0}, 8, 4 /* RTA_OIF */, 1};
  int answer[32];
  long fd = S3(SYS_socket, 16 /* AF_NETLINK */, 3 | O_CLOEXEC, 0), r;
  if (fd < 0) return fd;
  r = S3(SYS_write, fd, &m, sizeof m);
  if (r > 0) r = S3(SYS_read, fd, answer, sizeof answer);
  S1(SYS_close, fd);
  if (r < 0) return r;
  return r >= 20 && (answer[1] & 0xffff) == 2 /* NLMSG_ERROR, which also says that all is well */ ? answer[4] : -EIO;
}

/* Groups of the caller's (docker, sudo) must not go in with it; where the map forbids setgroups the kernel keeps them. */
static long become_root_of_namespace(void) {
  S2(SYS_setgroups, 0, 0);
  long r = S3(SYS_setresgid, 0, 0, 0);
  if (r < 0) return r;
  r = S3(SYS_setresuid, 0, 0, 0);
  if (r < 0) return r;
  S5(SYS_prctl, 1 /* PR_SET_PDEATHSIG, cleared by the change of ids */, SIGKILL, 0, 0, 0);
  return 0;
}

/*
 * In a process namespace of its own: when it is killed, the kernel ends what it has just cloned too. bubblewrap's own child
 * waits for its parent before it asks to die with it, and one whose parent died in between would wait for ever.
 */
static long start(int at, char **env) {
  long pid = sys6(SYS_clone, SIGCHLD | 0x20000000 /* CLONE_NEWPID */, 0, 0, 0, 0, 0);
  if (pid != 0) return pid;
  S5(SYS_prctl, 1, SIGKILL, 0, 0, 0);
  for (int i = 0; i < fd_count; i++) S3(SYS_dup3, fds[i], CONTROL + i, 0);
  S3(SYS_close_range, CONTROL + fd_count, ~0u, 0);
  S3(SYS_execve, words[at], &words[at], env);
  leave(127);
}

static int opened[256];
static int opened_count;

/* One operation; `*at` moves behind it. Names are those of control-protocol.ts. */
static long operate(int *at, char **env) {
  const char *op = words[*at];
  char **w = &words[*at + 1];
#define TAKE(n) if (!word_at(*at + n)) return -E2BIG; *at += n + 1
  if (same(op, "unshare")) { TAKE(1); return S1(SYS_unshare, number(w[0])); }
  if (same(op, "root")) { TAKE(0); return become_root_of_namespace(); }
  if (same(op, "loopback")) { TAKE(0); return loopback_up(); }
  if (same(op, "umask")) { TAKE(1); return S1(SYS_umask, number(w[0])), 0; }
  if (same(op, "cd")) { TAKE(1); return S1(SYS_chdir, w[0]); }
  if (same(op, "mkdir")) { TAKE(2); return S3(SYS_mkdirat, AT_FDCWD, w[0], number(w[1])); }
  if (same(op, "chmod")) { TAKE(2); return S3(SYS_fchmodat, AT_FDCWD, w[0], number(w[1])); }
  if (same(op, "file")) { TAKE(3); return write_file(w[0], number(w[1]), w[2]); }
  if (same(op, "link")) { TAKE(2); return S3(SYS_symlinkat, w[0], AT_FDCWD, w[1]); }
  if (same(op, "mount")) { TAKE(5); return S5(SYS_mount, w[0], w[1], w[2], number(w[3]), w[4]); }
  if (same(op, "attributes")) {
    TAKE(3);
    struct mount_attr a = {(u64)number(w[1]), 0, 0, 0};
    return S5(SYS_mount_setattr, AT_FDCWD, w[0], number(w[2]) ? 0x8000 /* AT_RECURSIVE */ : 0, &a, sizeof a);
  }
  if (same(op, "open")) {
    TAKE(1);
    long fd = S4(SYS_openat, AT_FDCWD, w[0], 010000000 | O_CLOEXEC /* O_PATH */, 0);
    if (fd < 0) return fd;
    if (opened_count == 256) return -E2BIG;
    opened[opened_count++] = (int)fd;
    reply("opened", fd, 0, -1);
    return 0;
  }
  if (same(op, "hand-over")) {
    TAKE(1);
    long fd = S4(SYS_openat, AT_FDCWD, w[0], 010000000 | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    reply("descriptor", 0, 0, (int)fd);
    S1(SYS_close, fd);
    return 0;
  }
  if (same(op, "synthetic-route")) { TAKE(0); return synthetic_route(); }
  if (same(op, "listen")) {
    TAKE(2);
    long fd = listen_on(number(w[0]), w[1]);
    if (fd < 0) return fd;
    reply("descriptor", 0, 0, (int)fd);
    S1(SYS_close, fd);
    return 0;
  }
  if (same(op, "run")) {
    int status;
    long pid = start(*at + 1, env), r;
    if (pid < 0) return pid;
    do r = S4(SYS_wait4, pid, &status, 0, 0);
    while (r == -EINTR);
    *at = word_count;
    return r < 0 ? r : status == 0 ? 0 : -EIO;
  }
  if (same(op, "start")) {
    long pid = start(*at + 1, env);
    if (pid < 0) return pid;
    for (int i = 0; i < fd_count; i++) S1(SYS_close, fds[i]);
    fd_count = 0;
    reply("started", pid, 0, -1);
    *at = word_count;
    return 0;
  }
  return -EINVAL;
}

static void outer(char **env) {
  S5(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL, 0, 0, 0);
  S3(SYS_fcntl, CONTROL, 2 /* F_SETFD */, 1);
  while (receive() > 0) {
    long r = 0;
    int at = 0;
    while (at < word_count) {
      int was = at;
      r = operate(&at, env);
      if (r < 0) {
        reply("error", was, -r, -1);
        break;
      }
    }
    if (r >= 0) reply("done", 0, 0, -1);
    int status;
    while (S4(SYS_wait4, -1, &status, 1 /* WNOHANG */, 0) > 0) {}
  }
  leave(0);
}

/* ---- init ----------------------------------------------------------------------------------------------------- */

/* The first place of PATH where the name can be executed: one execve for the recorder instead of one for each place. */
static const char *look_up(const char *name, char **env) {
  static char found[4096];
  const char *path = 0;
  for (const char *s = name; *s; s++)
    if (*s == '/') return name;
  for (; *env; env++)
    if ((*env)[0] == 'P' && (*env)[1] == 'A' && (*env)[2] == 'T' && (*env)[3] == 'H' && (*env)[4] == '=') path = *env + 5;
  while (path && *path) {
    ulong n = 0;
    while (path[n] && path[n] != ':') n++;
    if (n > 0 && n + length(name) + 2 < sizeof found) {
      memcpy(found, path, n);
      found[n] = '/';
      memcpy(found + n + 1, name, length(name) + 1);
      if (S3(SYS_faccessat, AT_FDCWD, found, 1) == 0) return found;
    }
    path += n;
    if (*path == ':') path++;
  }
  return 0;
}

/* "exec" id cwd argc argv… env… with three descriptors: standard input, output, error. */
static void execute(void) {
  long id = number(words[1]), argc = number(words[3]);
  if (fd_count != 3 || argc < 1 || 4 + argc > word_count) {
    reply("failed", id, EINVAL, -1);
    return;
  }
  long pid = sys6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
  if (pid == 0) {
    u64 none = 0;
    static char *argv[MAX_WORDS + 1];
    for (long i = 0; i < argc; i++) argv[i] = words[4 + i];
    argv[argc] = 0;
    char **env = &words[4 + argc];
    S4(SYS_rt_sigprocmask, 2, &none, 0, 8);
    S1(SYS_setsid, 0);
    for (int i = 0; i < 3; i++) S3(SYS_dup3, fds[i], i, 0);
    S3(SYS_close_range, 4, ~0u, 0);
    long r = S1(SYS_chdir, words[2]);
    if (r == 0) {
      const char *file = look_up(argv[0], env);
      r = file ? S3(SYS_execve, file, argv, env) : -ENOENT;
    }
    reply("failed", id, -r, -1);
    S1(SYS_exit_group, 127); /* stops once more: only so does the recorder see that the execve before it failed */
    leave(127);
  }
  for (int i = 0; i < fd_count; i++) S1(SYS_close, fds[i]);
  if (pid < 0) reply("failed", id, -pid, -1);
  else reply("running", id, pid, -1);
}

static void reap(void) {
  int status;
  long pid;
  while ((pid = S4(SYS_wait4, -1, &status, 1, 0)) > 0) reply("reaped", pid, status, -1);
}

/* Ends everything but this process. A fork that races with the signal is caught by the next round. */
static void quiesce(void) {
  int status;
  long pid;
  do {
    S2(SYS_kill, -1, SIGKILL);
    pid = S4(SYS_wait4, -1, &status, 0, 0);
    if (pid > 0) reply("reaped", pid, status, -1);
  } while (pid > 0 || pid == -EINTR);
  reply("quiet", 0, 0, -1);
}

/* "filter" flags program-in-hex: the program may hold NUL bytes, which end a word. */
static long load_filter(void) {
  static u8 program[4096 * 8];
  struct { u16 count; u8 *program; } fprog = {0, program};
  const char *hex = words[2];
  ulong n = length(hex) / 2;
  if (word_count < 3 || n % 8 || n > sizeof program) return -EINVAL;
  for (ulong i = 0; i < n; i++) {
    int hi = hex[2 * i], lo = hex[2 * i + 1];
    program[i] = (u8)(((hi > '9' ? hi - 'a' + 10 : hi - '0') << 4) | (lo > '9' ? lo - 'a' + 10 : lo - '0'));
  }
  fprog.count = (u16)(n / 8);
  return S3(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, number(words[1]), &fprog);
}

static void init(void) {
  static int filtered;
  S5(SYS_prctl, 4 /* PR_SET_DUMPABLE: keeps the guest out of /proc/1/{mem,fd,exe} */, 0, 0, 0, 0);
  S5(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0);
  S3(SYS_fcntl, CONTROL, 2, 1);
  S3(SYS_close_range, CONTROL + 1, ~0u, 0);
  u64 chld = 1ull << (SIGCHLD - 1);
  S4(SYS_rt_sigprocmask, 0, &chld, 0, 8);
  long events = S4(SYS_signalfd4, -1, &chld, 8, O_CLOEXEC | 04000);
  if (events < 0) leave(1);
  reply("ready", 0, 0, -1);
  for (;;) {
    struct { int fd; short events, revents; } polled[2] = {{CONTROL, 1, 0}, {(int)events, 1, 0}};
    long n = S5(SYS_ppoll, polled, 2, 0, 0, 8);
    if (n < 0 && n != -EINTR) leave(1);
    if (polled[1].revents) {
      char seen[128];
      S3(SYS_read, events, seen, sizeof seen);
      reap();
    }
    if (!polled[0].revents) continue;
    if (receive() <= 0) leave(0);
    const char *op = words[0];
    if (same(op, "limit") && word_count == 4) {
      u64 pair[2] = {(u64)number(words[2]), (u64)number(words[3])};
      long r = S4(SYS_prlimit64, 0, number(words[1]), pair, 0);
      if (r < 0) reply("error", number(words[1]), -r, -1);
    } else if (same(op, "affinity") && word_count >= 2) {
      u8 mask[128];
      memset(mask, 0, sizeof mask);
      for (int i = 1; i < word_count; i++) {
        long cpu = number(words[i]);
        if (cpu >= 0 && cpu < 1024) mask[cpu / 8] |= (u8)(1 << (cpu % 8));
      }
      long r = S3(SYS_sched_setaffinity, 0, sizeof mask, mask);
      if (r < 0) reply("error", -1, -r, -1);
    } else if (same(op, "filter") && !filtered) {
      long fd = load_filter();
      if (fd < 0) {
        reply("error", 0, -fd, -1);
        continue;
      }
      filtered = 1;
      reply("listener", 0, 0, (int)fd);
      S1(SYS_close, fd);
    } else if (same(op, "exec") && filtered && word_count >= 5) {
      execute();
    } else if (same(op, "kill") && word_count == 3) {
      S2(SYS_kill, -number(words[1]), number(words[2]));
    } else if (same(op, "quiesce")) {
      quiesce();
    } else {
      reply("error", 0, EINVAL, -1);
    }
  }
}

/* ---- sign ----------------------------------------------------------------------------------------------------- */

enum { PAYLOAD = 1 << 20, ANSWER = 1 << 16 };

static void say(const char *text) { S3(SYS_write, 2, text, length(text)); }

__attribute__((noreturn)) static void give_up(const char *why) {
  say("cordon: ");
  say(why);
  say("\n");
  S1(SYS_exit_group, 1);
  leave(1);
}

/* All of `n` bytes, or less at the end of the stream; negative for an error. */
static long read_all(long fd, char *at, long n) {
  long have = 0;
  while (have < n) {
    long r = S3(SYS_read, fd, at + have, n - have);
    if (r == -EINTR) continue;
    if (r < 0) return r;
    if (r == 0) break;
    have += r;
  }
  return have;
}
static long write_all(long fd, const char *at, long n) {
  while (n > 0) {
    long r = S3(SYS_write, fd, at, n);
    if (r == -EINTR) continue;
    if (r < 0) return r;
    at += r, n -= r;
  }
  return 0;
}
/* Likewise, to a socket whose other end may have gone: that is an error here and no signal. */
static long send_all(long fd, const char *at, long n) {
  while (n > 0) {
    long r = sys6(SYS_sendto, fd, (long)at, n, 0x4000 /* MSG_NOSIGNAL */, 0, 0);
    if (r == -EINTR) continue;
    if (r < 0) return r;
    at += r, n -= r;
  }
  return 0;
}

/* Appends without a NUL. */
static char *add(char *at, const char *text) {
  ulong n = length(text);
  memcpy(at, text, n);
  return at + n;
}

/* One request to the gateway (src/gateways/git/sign.ts); the answer, headers and all, ends with the connection. */
static long ask(const char *payload, long size, char *answer) {
  struct { u16 family; u8 port[2]; u8 address[4]; u8 zero[8]; } a = {2, {9418 >> 8, 9418 & 255}, {127, 0, 0, 1}, {0}};
  char head[256];
  char *end = add(head, "POST /sign/git HTTP/1.1\r\nHost: 127.0.0.1:9418\r\nConnection: close\r\n"
                        "Content-Type: application/x-git-commit\r\nContent-Length: ");
  end = put_number(end, size) - 1;
  end = add(end, "\r\n\r\n");
  long fd = S3(SYS_socket, 2, 1 | O_CLOEXEC, 0), r;
  if (fd < 0) return fd;
  r = S3(SYS_connect, fd, &a, 16);
  if (r >= 0) {
    /* A gateway that refuses early does not read to the end: what it says is worth reading all the same. */
    if (send_all(fd, head, end - head) >= 0) send_all(fd, payload, size);
    r = read_all(fd, answer, ANSWER);
  }
  S1(SYS_close, fd);
  return r;
}

/* `-Y sign -n git -f KEY [-U] FILE`, as git calls it. The key's name says nothing: there is one key, and it is not here. */
static void git_sign(long argc, char **argv) {
  static char payload[PAYLOAD + 1], answer[ANSWER + 1], name[4096 + 8];
  const char *space = 0, *file = 0;
  if (argc < 3 || !same(argv[2], "sign"))
    give_up("signatures are made here, not verified: look at them outside, with git verify-commit or cordon verify");
  for (long i = 3; i < argc; i++) {
    if (same(argv[i], "-n") && i + 1 < argc) space = argv[++i];
    else if (same(argv[i], "-f") && i + 1 < argc) i++;
    else if (same(argv[i], "-U")) continue;
    else if (argv[i][0] != '-' && !file) file = argv[i];
    else give_up("expected -Y sign -n git -f KEY FILE, as git calls it");
  }
  if (!space || !same(space, "git")) give_up("only commits are signed here, in the namespace git");
  if (!file || length(file) > 4096) give_up("expected the file to sign");
  long fd = S4(SYS_openat, AT_FDCWD, file, O_CLOEXEC, 0);
  if (fd < 0) give_up("the file to sign cannot be opened");
  long size = read_all(fd, payload, PAYLOAD + 1);
  S1(SYS_close, fd);
  if (size < 0) give_up("the file to sign cannot be read");
  if (size > PAYLOAD) give_up("refuses to sign: it is larger than 1048576 bytes");
  long got = ask(payload, size, answer);
  if (got < 0) give_up("the git gateway of this run cannot be reached: nothing is signed");
  answer[got] = 0;
  long body = 0;
  while (body + 4 <= got && !(answer[body] == '\r' && answer[body + 1] == '\n' && answer[body + 2] == '\r' && answer[body + 3] == '\n')) body++;
  if (body + 4 > got || got < 12) give_up("the git gateway of this run gave no answer: nothing is signed");
  body += 4;
  if (answer[9] != '2' || answer[10] != '0' || answer[11] != '0') {
    write_all(2, answer + body, got - body);
    S1(SYS_exit_group, 1);
  }
  add(add(name, file), ".sig")[0] = 0;
  fd = S4(SYS_openat, AT_FDCWD, name, 01 | 0100 | 01000 | O_CLOEXEC, 0666);
  if (fd < 0 || write_all(fd, answer + body, got - body) < 0) give_up("the signature cannot be written beside the file");
  S1(SYS_exit_group, 0);
}

__attribute__((used)) void entry(long *stack) {
  long argc = stack[0];
  char **argv = (char **)(stack + 1);
  char **env = argv + argc + 1;
  if (argc > 1 && same(argv[1], "outer")) outer(env);
  if (argc > 1 && same(argv[1], "init")) init();
  if (argc > 1 && same(argv[1], "-Y")) git_sign(argc, argv);
  leave(2);
}
