/** Revisions of the protocol that begin with a handshake (`initialize`), the newest first. */
export const LATEST = '2025-11-25';
export const OLDER: readonly string[] = ['2025-06-18', '2025-03-26', '2024-11-05'];

/** The one without: every request says in `_meta` what it speaks (https://modelcontextprotocol.io/specification/2026-07-28). */
export const STATELESS = '2026-07-28';
export const META_VERSION = 'io.modelcontextprotocol/protocolVersion';
