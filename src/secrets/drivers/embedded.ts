import { randomBytes } from 'node:crypto';
import { mkdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { canonicalJson } from '../../base/canonical-json.ts';
import { type Clock, systemClock } from '../../base/clock.ts';
import { writeDurably } from '../../base/durable-file.ts';
import { CordonError, EnforcementError, NotFoundError } from '../../base/errors.ts';
import { FileLock } from '../../base/file-lock.ts';
import type { RandomSource } from '../../base/ids.ts';
import { readOwnFile } from '../../base/own-file.ts';
import { checkName, type SecretEntry, type SecretStore } from '../driver.ts';
import { KEY_BYTES, loadMasterKey, type MasterKey, seal, unseal, wrongMasterKey } from '../master-key.ts';
import { checkScopes, type Scopes } from '../scopes.ts';
import { Secret } from '../secret.ts';
import { checkIndex, INDEX_CONTEXT, type Index, type IndexEntry, readIndex, writeIndex } from './embedded-index.ts';

export interface EmbeddedOptions {
  /** Folder of the sealed values; made (0700) when missing. */
  readonly dir: string;
  /** Folder of the keys. */
  readonly keys: string;
  /** Instead of `keys/master.key`: the value of CORDON_MASTER_KEY. */
  readonly masterKey?: string | undefined;
  /** Instead of both: a key that lives in a service. */
  readonly service?: MasterKey | undefined;
  readonly clock?: Clock;
  readonly random?: RandomSource;
}

const LOCK_TIMEOUT = 10_000;
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

  constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? randomBytes;
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

  /** The index, checked, and the key it is sealed with; both null before the first secret. */
  async #open(): Promise<{ index: Index; master: MasterKey } | { index: null; master: null }> {
    const { keys } = this.#options;
    const file = await readIndex(keys);
    if (file === null) return { index: null, master: null };
    const master = await this.#masterKey(false);
    if (master?.id !== file.master) {
      throw wrongMasterKey(file.master, Object.keys(file.entries).length, master, keys);
    }
    return { index: await checkIndex(keys, file, master), master };
  }

  async #openOrBegin(): Promise<{ index: Index; master: MasterKey }> {
    const opened = await this.#open();
    if (opened.index !== null) return opened;
    const master = await this.#masterKey(true);
    if (master === null) throw new Error('a master key was to be made');
    const key = await wrap(master, Buffer.from(this.#random(KEY_BYTES)), INDEX_CONTEXT);
    return { index: { v: 1, master: master.id, key, entries: {}, gone: {} }, master };
  }

  async #masterKey(create: boolean): Promise<MasterKey | null> {
    const { keys, masterKey: variable, service } = this.#options;
    return service ?? loadMasterKey({ keys, variable, random: this.#random }, create);
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
