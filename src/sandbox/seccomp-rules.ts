/**
 * What the filter says of each system call: data only (seccomp.ts turns it into a program).
 *
 * The base is Docker's default profile for a container without any capability (github.com/moby/profiles,
 * seccomp/default.json): a test asserts that nothing is allowed here that is not allowed there. What is taken away
 * from it, and why, stands beside each entry.
 *
 * Arguments: the kernel declares every argument tested here as `int` or `unsigned int` (clone's flags go through
 * `lower_32_bits`), so it drops the upper half of the register, and a test that looked at it could be passed by a value
 * the kernel then reads differently. Tests therefore see the low 32 bits only, exactly as the kernel does.
 */

export type Verdict = 'allow' | 'notify' | 'kill' | { readonly errno: number };

/** Holds when `(low 32 bits of argument arg) & mask` is one of `values`; mask defaults to all bits. */
export interface ArgTest {
  readonly arg: 0 | 1 | 2 | 3 | 4 | 5;
  readonly mask?: number;
  readonly values: readonly number[];
}

/** Clauses are tried in order; one applies when all its tests hold. */
export interface ArgRule {
  readonly clauses: readonly { readonly when: readonly ArgTest[]; readonly verdict: Verdict }[];
  readonly otherwise: Verdict;
  /** One line for people. */
  readonly note: string;
}

const EPERM = 1;
const EINVAL = 22;
const ENOSYS = 38;
const EPROTONOSUPPORT = 93;
const EAFNOSUPPORT = 97;

/** What an unknown or newer system call gets: libraries then fall back to what they know. */
export const unknown: Verdict = { errno: ENOSYS };

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** Allowed whatever their arguments. A name that one architecture lacks is skipped there. */
export const allowed: readonly string[] = words(`
  accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_getres clock_gettime
  clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
  epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve exit exit_group faccessat faccessat2 fadvise64 fallocate
  fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr
  fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu getcwd
  getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority
  getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt gettid gettimeofday
  getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
  io_getevents io_pgetevents io_setup io_submit ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
  landlock_restrict_self lchown lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek
  lsetxattr lstat madvise map_shadow_stack membarrier mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap
  mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv
  msgsnd msync munlock munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal
  pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev
  pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat
  rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
  rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
  sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
  sched_setparam sched_setscheduler sched_yield select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto
  setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit
  set_robust_list setsid setsockopt set_tid_address setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown
  sigaltstack signalfd signalfd4 splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
  tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
  timerfd_settime times tkill truncate umask uname unlink unlinkat uretprobe utime utimensat utimes vfork vmsplice wait4
  waitid write writev
`);

/** Known and refused: EPERM, as a kernel without the capability would say. */
export const refused: readonly string[] = words(`
  acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init fanotify_mark finit_module
  fsconfig fsmount fsopen fspick get_mempolicy init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl
  lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
  open_by_handle_at open_tree open_tree_attr perf_event_open pidfd_getfd pivot_root process_madvise process_mrelease
  process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot request_key sethostname setdomainname
  set_mempolicy set_mempolicy_home_node setns settimeofday swapoff swapon syslog umount2 unshare uselib userfaultfd
  ustat vhangup
`);

/**
 * Known and answered as if the kernel had none of it (ENOSYS), because what uses them has a fallback for exactly that:
 * - clone3: its flags lie in memory where a filter cannot see them; C libraries fall back to clone (as in Docker).
 * - io_uring: asks the kernel for opens, connects and more behind the filter's back, and has a long history of holes.
 * - memfd_create: a file in memory on a mount that no mount option of ours reaches. MFD_NOEXEC_SEAL stops execve but not
 *   `mmap(PROT_EXEC)`, so `ld.so /proc/self/fd/3` would still run a program that no list of commands has (seen on 6.18).
 * - memfd_secret: pages that the trusted side could neither read nor account for.
 * - modify_ldt: only for 16-bit and Wine; segment descriptors were the way into the kernel more than once.
 */
export const absent: readonly string[] = words(`
  clone3 io_uring_enter io_uring_register io_uring_setup listmount lsm_get_self_attr lsm_list_modules lsm_set_self_attr
  memfd_create memfd_secret modify_ldt statmount
`);

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. CLONE_NEWTIME (0x80) is part of clone's exit signal. */
const CLONE_NAMESPACES = 0x7e020000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK] = [1, 2, 10, 16];
const INET: ArgTest = { arg: 0, values: [AF_INET, AF_INET6] };
/** SOCK_TYPE_MASK; the rest is SOCK_NONBLOCK and SOCK_CLOEXEC. */
const socketType = (...values: number[]): ArgTest => ({ arg: 1, mask: 0xf, values });

/** Allowed or not by their arguments. */
export const byArgument: Readonly<Record<string, ArgRule>> = {
  clone: {
    clauses: [{ when: [{ arg: 0, mask: CLONE_NAMESPACES, values: [0] }], verdict: 'allow' }],
    otherwise: { errno: EPERM },
    note: 'not with a namespace flag',
  },
  // Executing a descriptor (fexecve) would run what has no path: a deleted or never linked file. Flags that are newer
  // (AT_EXECVE_CHECK asks without executing, which would make a record of what never ran) get an older kernel's answer.
  execveat: {
    clauses: [
      { when: [{ arg: 4, mask: ~AT_SYMLINK_NOFOLLOW, values: [0] }], verdict: 'allow' },
      { when: [{ arg: 4, mask: AT_EMPTY_PATH, values: [AT_EMPTY_PATH] }], verdict: { errno: EPERM } },
    ],
    otherwise: { errno: EINVAL },
    note: 'only by path, not by descriptor (AT_EMPTY_PATH)',
  },
  // TIOCSTI types into the terminal, TIOCLINUX pastes into the console, TIOCSETD loads line disciplines.
  ioctl: {
    clauses: [{ when: [{ arg: 1, values: [0x5412, 0x541c, 0x5423] }], verdict: { errno: EPERM } }],
    otherwise: 'allow',
    note: 'not TIOCSTI, TIOCLINUX, TIOCSETD',
  },
  // PR_SET_MM rewrites what /proc/PID/cmdline and /proc/PID/exe say: the record would repeat a lie.
  prctl: {
    clauses: [{ when: [{ arg: 0, values: [35] }], verdict: { errno: EPERM } }],
    otherwise: 'allow',
    note: 'not PR_SET_MM',
  },
  // Of another process: process 1 is the guest's user too, and without memory or descriptors it ends, and all with it.
  prlimit64: {
    clauses: [{ when: [{ arg: 0, values: [0] }], verdict: 'allow' }],
    otherwise: { errno: EPERM },
    note: 'of the caller alone',
  },
  // A filter of the guest's own only tightens. A listener (SECCOMP_FILTER_FLAG_NEW_LISTENER, 8) answers calls for others.
  seccomp: {
    clauses: [
      {
        when: [
          { arg: 0, values: [1] },
          { arg: 1, mask: 8, values: [8] },
        ],
        verdict: { errno: EPERM },
      },
    ],
    otherwise: 'allow',
    note: 'own filters, without a listener',
  },
  // PER_LINUX, PER_LINUX32, both with UNAME26, and the query: as Docker. ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC stay out.
  personality: {
    clauses: [{ when: [{ arg: 0, values: [0, 8, 0x20000, 0x20008, 0xffffffff] }], verdict: 'allow' }],
    otherwise: { errno: EPERM },
    note: 'PER_LINUX and PER_LINUX32 only',
  },
  // TCP and UDP in name; MPTCP, SCTP, ICMP and raw sockets are kernel code that no build needs. NETLINK_ROUTE stays:
  // getifaddrs, getaddrinfo and os.networkInterfaces read it, and without CAP_NET_ADMIN it changes nothing.
  socket: {
    clauses: [
      { when: [{ arg: 0, values: [AF_UNIX] }], verdict: 'allow' },
      { when: [INET, socketType(1), { arg: 2, values: [0, 6] }], verdict: 'allow' },
      { when: [INET, socketType(2), { arg: 2, values: [0, 17] }], verdict: 'allow' },
      { when: [INET, socketType(1, 2)], verdict: { errno: EPROTONOSUPPORT } },
      { when: [INET], verdict: { errno: EPERM } },
      {
        when: [
          { arg: 0, values: [AF_NETLINK] },
          { arg: 2, values: [0] },
        ],
        verdict: 'allow',
      },
    ],
    otherwise: { errno: EAFNOSUPPORT },
    note: 'unix; TCP and UDP over IPv4 and IPv6; NETLINK_ROUTE',
  },
  socketpair: {
    clauses: [{ when: [{ arg: 0, values: [AF_UNIX] }], verdict: 'allow' }],
    otherwise: { errno: EAFNOSUPPORT },
    note: 'unix only',
  },
};
