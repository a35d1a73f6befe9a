import { GUEST_HOME, GUEST_UID } from './mount-operations.ts';

/** The generated `/etc`: enough for programs that ask who they are and where names come from; nothing of the host's. */
export const guestEtc: Readonly<Record<string, string>> = {
  passwd: `root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:${GUEST_UID}:${GUEST_UID}:agent:${GUEST_HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
  group: `root:x:0:\nagent:x:${GUEST_UID}:\nnogroup:x:65534:\n`,
  hosts: '127.0.0.1 localhost cordon\n::1 localhost\n',
  hostname: 'cordon\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  'resolv.conf': '',
  services: 'http 80/tcp\nhttps 443/tcp\nssh 22/tcp\ngit 9418/tcp\ndomain 53/udp\n',
  protocols: 'ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n',
  'ld.so.conf': 'include /etc/ld.so.conf.d/*.conf\n',
  'os-release': 'NAME=cordon\nID=cordon\nPRETTY_NAME="cordon sandbox"\n',
};

/** The whole environment every command starts from: an allow-list, not a filter over the host's. */
export function guestEnvironment(runId: string): Record<string, string> {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin',
    HOME: GUEST_HOME,
    USER: 'agent',
    LOGNAME: 'agent',
    SHELL: '/bin/sh',
    LANG: 'C.UTF-8',
    TERM: 'dumb',
    TMPDIR: '/tmp',
    CI: 'true',
    CORDON_RUN_ID: runId,
  };
}
