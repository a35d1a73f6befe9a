import { userInfo } from 'node:os';

/** The name of the user this process runs as; `uid-1234` where the system has none for it, as in many containers. */
export function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.geteuid?.() ?? 'unknown'}`;
  }
}
