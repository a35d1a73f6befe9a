/** Whether two requests to a host had the same body. */
import { isUtf8 } from 'node:buffer';
import { sha256Hex } from '../../base/digest.ts';
import type { Redactor } from '../../base/redact/index.ts';
import type { AskedBody } from '../../gateways/egress/tape.ts';
import type { EndEntry } from './entry.ts';
import { likeness, partOf } from './parts.ts';
import type { Own } from './volatile.ts';

export type BodyKey = NonNullable<EndEntry['body']>;

/** Null where not all of it was seen. A body that is no text, or is longer than is kept, is like itself alone. */
export function bodyKey(asked: AskedBody, own: Own, redactor: Redactor): BodyKey | null {
  if (!asked.whole) return null;
  const { bytes, size } = asked;
  const text = bytes !== null && isUtf8(bytes) ? redactor.redact(bytes.toString('utf8')) : null;
  if (text === null) return { digest: asked.digest, like: asked.digest, bytes: size };
  return { digest: sha256Hex(text), like: likeness([partOf(meaning(text, asked.type), own)]), bytes: size };
}

/** What is JSON is compared as that; the boundary of a form, which is drawn each time, is left out. */
function meaning(text: string, type: string): unknown {
  const boundary = /^multipart\/.*;\s*boundary="?([^";]{8,70})"?/i.exec(type)?.[1];
  if (boundary !== undefined) return text.replaceAll(boundary, '<boundary>');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
