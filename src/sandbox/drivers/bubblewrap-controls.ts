import type { Control, Toolbox } from '../sandbox.ts';

/** What enforces each control that does not depend on limits: it is applied in full, or the sandbox is not made. */
export function fixedControls(toolbox: Toolbox, copied: boolean): Control[] {
  const enforced = (name: string, what: string, mechanism: string): Control => ({
    name,
    what,
    mechanism,
    state: 'enforced',
    required: true,
  });
  return [
    enforced(
      'namespaces',
      'own processes, mounts, network, ids, host name',
      'user, pid, mount, net, ipc, uts and cgroup namespaces (bubblewrap)',
    ),
    enforced(
      'nested-namespaces',
      'no further user namespaces inside',
      'max_user_namespaces and the system call filter',
    ),
    enforced('privileges', 'no capability, none to gain', 'empty capability sets, no_new_privs'),
    enforced('seccomp', 'system calls by allow-list', 'seccomp filter, 32-bit and x32 entry killed'),
    enforced('exec-recorder', 'every process image is seen from outside', 'seccomp user notification'),
    enforced('files', 'nothing of the host but system folders, read-only', 'an empty root with named mounts'),
    copied
      ? {
          ...enforced('workspace.overlay', 'writes never reach the checkout', 'a copy of the checkout, in memory'),
          state: 'fallback',
          remedy:
            'use a kernel with overlayfs in user namespaces (Linux 5.11 or later) and user attributes on tmpfs (6.6)',
        }
      : enforced(
          'workspace.overlay',
          'writes never reach the checkout',
          'overlayfs over a read-only checkout, in memory',
        ),
    enforced('network', 'no interface but loopback', 'network namespace without a device'),
    toolbox.kind === 'list'
      ? enforced('exec-list', 'only the listed files can be executed', 'no-exec mounts, listed files bound by content')
      : enforced('exec-list', 'programs of /usr and scripts of the workspace', 'read-only /usr; no list in the policy'),
  ];
}
