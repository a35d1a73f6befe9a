import { randomBytes } from 'node:crypto';
import { mkdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { canonicalJson } from '../../base/canonical-json.ts';
import { type Clock, systemClock } from '../../base/clock.ts';
import { writeDurably } from '../../base/durable-file.ts';
import { CordonError, EnforcementError, NotFoundError, UsageError } from '../../base/errors.ts';
import { FileLock } from '../../base/file-lock.ts';
import type { RandomSource } from '../../base/ids.ts';
import { readOwnFile } from '../../base/own-file.ts';
import { checkName, type Rotation, type SecretEntry, type SecretStore } from '../driver.ts';
import { KEY_BYTES, type MasterKey, seal, unseal, wrongMasterKey } from '../master-key.ts';
import { checkScopes, type Scopes } from '../scopes.ts';
import { Secret } from '../secret.ts';
import {
  checkIndex,
  INDEX_CONTEXT,
  type Index,
  type IndexEntry,
  type IndexFile,
  readIndex,
  writeIndex,
} from './embedded-index.ts';
import { type KeyPlaces, KeyRing } from './embedded-keys.ts';

export interface EmbeddedOptions extends KeyPlaces {
  /** Folder of the sealed values; made (0700) when missing. */
  readonly dir: string;
  readonly clock?: Clock;
}

const HOW_TO_CHANGE =
  'make another one, name that in the settings or the variable, and the one before under previous_master_key or in CORDON_MASTER_KEY_PREVIOUS';
const LOCK_TIMEOUT = 10_000;
/** How often a reader looks again when the key changes under it. */
const LOOKS = 50;
const MAX_FILE = 256 * 1024;
const fileSchema = z.strictObject({ v: z.literal(1), name: z.string(), version: z.int(), sealed: z.base64() });

/**
 * Secrets on this machine. Each value is sealed (AES-256-GCM) with a data key of its own into `NAME.VERSION.json`; the
 * data key, wrapped by the master key, stands in the index (embedded-index.ts). Name, version and scopes are part of what is
 * authenticated: a value that is moved to another name, or taken back to an earlier one, does not open.
 */
export class EmbeddedSecrets implements SecretStore {
  readonly source = 'embedded';
  readonly #options: EmbeddedOptions;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #ring: KeyRing;

  constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? randomBytes;
    this.#ring = new KeyRing(options);
  }

  async list(): Promise<readonly SecretEntry[]> {
    const { index } = await this.#open();
    return Object.entries(index?.entries ?? {})
      .map(([name, entry]) => described(name, entry))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async find(name: string): Promise<SecretEntry | null> {
    const { index } = await this.#open();
    const entry = own(index?.entries, name);
    return entry === undefined ? null : described(name, entry);
  }

  async read(name: string): Promise<{ entry: SecretEntry; value: Secret }> {
    checkName(name);
    // A value that is set anew between the two reads has taken its file with it: the index then names another.
    for (let attempt = 0; ; attempt++) {
      const { index, master } = await this.#open();
      const entry = own(index?.entries, name);
      if (entry === undefined || master === null) throw unknown(name);
      const sealed = await this.#readValue(name, entry);
      if (sealed === null && attempt < 3 && (await this.find(name))?.version !== String(entry.version)) continue;
      const value = sealed === null ? null : await open(name, entry, sealed, master);
      if (value === null) throw this.#tampered(name, entry);
      return { entry: described(name, entry), value };
    }
  }

  async set(name: string, value: Secret, scopes?: Scopes): Promise<SecretEntry> {
    checkName(name);
    return this.#exclusively(async () => {
      const { index, master } = await this.#openOrBegin();
      const before = own(index.entries, name);
      const now = this.#clock.now();
      const fields = {
        version: (before?.version ?? own(index.gone, name) ?? 0) + 1,
        scopes: scopes === undefined ? (before?.scopes ?? {}) : checkScopes(scopes),
        created: before?.created ?? now,
        updated: now,
      };
      const dataKey = Buffer.from(this.#random(KEY_BYTES));
      const entry = { ...fields, key: await wrap(master, dataKey, context('key', name, fields)) };
      const sealed = seal(dataKey, value.reveal(), context('value', name, fields), this.#random).toString('base64');
      dataKey.fill(0);
      await writeDurably(
        this.#file(name, entry),
        `${JSON.stringify({ v: 1, name, version: entry.version, sealed })}\n`,
      );
      const { [name]: _, ...gone } = index.gone;
      await writeIndex(this.#options.keys, { ...index, gone, entries: { ...index.entries, [name]: entry } }, master);
      if (before !== undefined) await this.#forget(name, before);
      return described(name, entry);
    });
  }

  async remove(name: string): Promise<SecretEntry> {
    checkName(name);
    return this.#exclusively(async () => {
      const { index, master } = await this.#open();
      const entry = own(index?.entries, name);
      if (index === null || master === null || entry === undefined) throw unknown(name);
      const { [name]: _, ...entries } = index.entries;
      await writeIndex(
        this.#options.keys,
        { ...index, entries, gone: { ...index.gone, [name]: entry.version } },
        master,
      );
      await this.#forget(name, entry);
      return described(name, entry);
    });
  }

  /**
   * Every data key is wrapped by the new master key before one replacement of the index makes that the key; the one before stays
   * until then. Cut short at any point, everything opens, and another try goes on.
   */
  async rotateMasterKey(): Promise<Rotation> {
    return this.#exclusively(async () => {
      const { keys } = this.#options;
      const file = await readIndex(keys);
      if (file === null) throw new NotFoundError('there is no secret on this machine, and so no master key to change');
      const { index, master: before } = await this.#openWithAny(file);
      const after = await this.#ring.next(before);
      if (after.id === before.id && !after.renewable) {
        await this.#ring.settle(after.id);
        throw new UsageError(`${after.where} is the master key already`, { remedy: HOW_TO_CHANGE });
      }
      const rewrap = async (wrapped: string, what: string) => {
        const key = await before.unwrap(Buffer.from(wrapped, 'base64'), what);
        const again = await wrap(after, key, what);
        // What the new key does not open must not be what is left.
        if (!(await after.unwrap(Buffer.from(again, 'base64'), what)).equals(key))
          throw new Error('another key came back');
        key.fill(0);
        return again;
      };
      const entries: Record<string, IndexEntry> = {};
      for (const [name, entry] of Object.entries(index.entries)) {
        entries[name] = { ...entry, key: await rewrap(entry.key, context('key', name, entry)) };
      }
      const changed = { ...index, master: after.id, key: await rewrap(index.key, INDEX_CONTEXT), entries };
      await writeIndex(keys, changed, after);
      await this.#ring.settle(after.id);
      const to = (await this.#ring.sealing(after.id)) ?? after; // a new file has got its name
      return { from: before.where, to: to.where, secrets: Object.keys(entries).length };
    });
  }

  async #openWithAny(file: IndexFile): Promise<{ index: Index; master: MasterKey }> {
    const { keys } = this.#options;
    const candidates = await this.#ring.candidates(file.master);
    for (const [i, master] of candidates.entries()) {
      try {
        return { index: await checkIndex(keys, file, master), master };
      } catch (error) {
        if (i === candidates.length - 1) throw error;
      }
    }
    throw wrongMasterKey(file.master, Object.keys(file.entries).length, await this.#ring.configured(false), keys);
  }

  /** The index, checked, and the key it is sealed with; both null before the first secret. */
  async #open(): Promise<{ index: Index; master: MasterKey } | { index: null; master: null }> {
    const { keys } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const file = await readIndex(keys);
      if (file === null) return { index: null, master: null };
      const master = await this.#ring.sealing(file.master);
      if (master?.id === file.master) return { index: await checkIndex(keys, file, master), master };
      // The key was changed between the two looks: on a busy machine, by one change after another.
      if (attempt < LOOKS && (await readIndex(keys))?.master !== file.master) continue;
      throw wrongMasterKey(file.master, Object.keys(file.entries).length, master, keys);
    }
  }

  async #openOrBegin(): Promise<{ index: Index; master: MasterKey }> {
    const opened = await this.#open();
    if (opened.index !== null) return opened;
    const master = await this.#ring.configured(true);
    if (master === null) throw new Error('a master key was to be made');
    const key = await wrap(master, Buffer.from(this.#random(KEY_BYTES)), INDEX_CONTEXT);
    return { index: { v: 1, master: master.id, key, entries: {}, gone: {} }, master };
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    await mkdir(this.#options.dir, { recursive: true, mode: 0o700 });
    const lock = new FileLock(join(this.#options.dir, '.lock'), this.#clock);
    try {
      await lock.acquire(LOCK_TIMEOUT);
      return await work();
    } finally {
      lock.close();
    }
  }

  async #readValue(name: string, entry: IndexEntry): Promise<Buffer | null> {
    try {
      const file = fileSchema.safeParse(JSON.parse(readOwnFile(this.#file(name, entry), MAX_FILE).toString()));
      return file.success ? Buffer.from(file.data.sealed, 'base64') : Buffer.alloc(0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      if (error instanceof SyntaxError) return Buffer.alloc(0);
      throw error;
    }
  }

  /** The index is what counts: a file that stays behind opens nothing. */
  async #forget(name: string, entry: IndexEntry): Promise<void> {
    await unlink(this.#file(name, entry)).catch(() => {});
  }

  #file(name: string, { version }: { readonly version: number }): string {
    return join(this.#options.dir, `${name}.${version}.json`);
  }

  #tampered(name: string, entry: IndexEntry): EnforcementError {
    const path = this.#file(name, entry);
    return new EnforcementError('secrets', `${path} does not hold the value that was set: changed, exchanged or gone`, {
      remedy: `set it again (cordon secrets set ${name}), and find out who could write there`,
    });
  }
}

/** What the seals of a secret are bound to. */
function context(purpose: 'key' | 'value', name: string, fields: Pick<IndexEntry, 'version' | 'scopes'>): string {
  const scopes = Object.fromEntries(Object.entries(fields.scopes).filter(([, patterns]) => patterns !== undefined));
  return `cordon secret ${canonicalJson({ purpose, name, version: fields.version, scopes })}`;
}

async function open(name: string, entry: IndexEntry, sealed: Buffer, master: MasterKey): Promise<Secret | null> {
  try {
    const key = await master.unwrap(Buffer.from(entry.key, 'base64'), context('key', name, entry));
    return new Secret(unseal(key, sealed, context('value', name, entry)), name);
  } catch (error) {
    if (error instanceof CordonError) throw error; // a service that does not answer says nothing about the value
    return null;
  }
}

async function wrap(master: MasterKey, key: Buffer, what: string): Promise<string> {
  return (await master.wrap(key, what)).toString('base64');
}

function described(name: string, { version, scopes, created, updated }: IndexEntry): SecretEntry {
  return { name, source: 'embedded', version: String(version), scopes, created, updated };
}

function own<T>(record: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
}

function unknown(name: string): NotFoundError {
  return new NotFoundError(`there is no secret ${name}`, { remedy: `cordon secrets set ${name}` });
}
