import { hash } from 'node:crypto';

/** SHA-256 as 64 lower-case hex digits. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex');
}

/** SHA-256 as it stands in records: `sha256:` and 64 hex digits. */
export function digest(data: string | Uint8Array): string {
  return `sha256:${sha256Hex(data)}`;
}
