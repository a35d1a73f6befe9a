import { createHmac, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import * as z from 'zod';
import { canonicalJson, type Json } from '../../base/canonical-json.ts';
import { writeDurably } from '../../base/durable-file.ts';
import { CordonError, EnforcementError } from '../../base/errors.ts';
import { readOwnFile } from '../../base/own-file.ts';
import type { MasterKey } from '../master-key.ts';
import { scopesSchema } from '../scopes.ts';

/**
 * `keys/secrets.json`: which secrets there are. It is what counts: a secret is set or removed when this file is replaced. It lies
 * with the keys, and not with the values, so that who can change only the values can neither bring an old one back nor give
 * a secret wider scopes.
 *
 *   {"v":1,"master":ID,"key":WRAPPED,"entries":{NAME:{"version","key","scopes","created","updated"}},"gone":{NAME:VERSION},"mac":…}
 *
 * `key` of the index is an HMAC key, `key` of an entry its data key; both are wrapped by the master key, with what they are for
 * as context. `mac` is HMAC-SHA-256 over the canonical JSON of all the rest.
 */
const INDEX_FILE = 'secrets.json';
const MAX_BYTES = 16 * 1024 * 1024;
export const INDEX_CONTEXT = 'cordon secrets index';

const base64 = z.base64().min(1);
const entrySchema = z.strictObject({
  version: z.int().positive(),
  key: base64,
  scopes: scopesSchema,
  created: z.int().nonnegative(),
  updated: z.int().nonnegative(),
});
const bodySchema = z.strictObject({
  v: z.literal(1),
  master: z.string().regex(/^[0-9a-f]{16}$/),
  key: base64,
  entries: z.record(z.string(), entrySchema),
  /** Of removed secrets the last version, so that a value sealed before cannot come back under its number. */
  gone: z.record(z.string(), z.int().positive()),
});
const fileSchema = bodySchema.extend({ mac: base64 });

export type IndexEntry = z.infer<typeof entrySchema>;
export type Index = z.infer<typeof bodySchema>;
export type IndexFile = z.infer<typeof fileSchema>;

/** Null when there is none: no secret was ever set. The seal is not checked yet. */
export async function readIndex(keys: string): Promise<IndexFile | null> {
  const path = join(keys, INDEX_FILE);
  try {
    return fileSchema.parse(JSON.parse(readOwnFile(path, MAX_BYTES).toString('utf8')));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (!(cause instanceof SyntaxError || cause instanceof z.ZodError)) throw cause;
    throw changed(path);
  }
}

export async function checkIndex(keys: string, { mac, ...index }: IndexFile, master: MasterKey): Promise<Index> {
  const path = join(keys, INDEX_FILE);
  const key = await master.unwrap(Buffer.from(index.key, 'base64'), INDEX_CONTEXT).catch((error: unknown) => {
    if (error instanceof CordonError) throw error;
    return null;
  });
  if (key === null) throw changed(path);
  const [given, expected] = [Buffer.from(mac, 'base64'), macOf(key, index)];
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw changed(path);
  return index;
}

export async function writeIndex(keys: string, index: Index, master: MasterKey): Promise<void> {
  const key = await master.unwrap(Buffer.from(index.key, 'base64'), INDEX_CONTEXT);
  const file: IndexFile = { ...index, mac: macOf(key, index).toString('base64') };
  await writeDurably(join(keys, INDEX_FILE), `${JSON.stringify(file)}\n`);
}

function macOf(key: Buffer, index: Index): Buffer {
  return createHmac('sha256', key)
    .update(canonicalJson(index as unknown as Json))
    .digest();
}

function changed(path: string): EnforcementError {
  return new EnforcementError('secrets', `${path} is not as Cordon wrote it: somebody changed it, or it is damaged`, {
    remedy: 'restore it from a backup, together with the folder secrets, and find out who could write there',
  });
}
