import { randomBytes } from 'node:crypto';
import { rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../../base/durable-file.ts';
import type { RandomSource } from '../../base/ids.ts';
import {
  loadMasterKey,
  MASTER_KEY_FILE,
  type MasterKey,
  NEXT_KEY_FILE,
  PREVIOUS_KEY_VARIABLE,
  variableKey,
} from '../master-key.ts';

export interface KeyPlaces {
  /** Folder of the keys. */
  readonly keys: string;
  /** Instead of `keys/master.key`: the value of CORDON_MASTER_KEY. */
  readonly masterKey?: string | undefined;
  /** Instead of both: a key that lives in a service. */
  readonly service?: MasterKey | undefined;
  /** Where the key may have been before: only a change of the key looks there. */
  readonly previousKey?: string | undefined;
  readonly previousService?: MasterKey | undefined;
  readonly random?: RandomSource;
}

/** Where master keys of this installation are, and the files of those that are files. */
export class KeyRing {
  readonly #places: KeyPlaces;

  constructor(places: KeyPlaces) {
    this.#places = places;
  }

  /** The key to seal with, made when there is none; not a file's when another place is named. */
  async configured(create: boolean): Promise<MasterKey | null> {
    const { keys, masterKey: variable, service, random = randomBytes } = this.#places;
    return service ?? loadMasterKey({ keys, variable, random }, create);
  }

  /** The key that the index says it is sealed with; where it is not there, what is in its place. */
  async sealing(id: string): Promise<MasterKey | null> {
    const key = await this.configured(false);
    if (key?.id === id || this.#elsewhere) return key;
    // Its change was cut short behind the index's: the new one is there under its first name.
    const next = await this.#file(NEXT_KEY_FILE, false);
    if (next?.id === id) return next;
    // Or the change ended between the two looks: a rename has put it where the first look found the one before.
    return this.#file(MASTER_KEY_FILE, false);
  }

  /** All that could be the key with that id, the likeliest first. */
  async candidates(id: string): Promise<readonly MasterKey[]> {
    const { previousService, previousKey } = this.#places;
    const before = previousKey === undefined ? null : variableKey(previousKey, PREVIOUS_KEY_VARIABLE);
    const files = [await this.#file(MASTER_KEY_FILE, false), await this.#file(NEXT_KEY_FILE, false)];
    const all = [previousService ?? null, before, await this.configured(false), ...files];
    return all.filter((key) => key !== null && key.id === id) as MasterKey[];
  }

  /** The key to go over to: what is configured, or a new file beside the one that is in use. */
  async next(current: MasterKey): Promise<MasterKey> {
    const configured = this.#elsewhere ? await this.configured(false) : null;
    if (configured !== null) return configured;
    await this.settle(current.id);
    await this.#remove(NEXT_KEY_FILE); // of a change that was cut short before it counted
    const next = await this.#file(NEXT_KEY_FILE, true);
    if (next === null) throw new Error('a master key was to be made');
    return next;
  }

  /** Ends what a change has left: the file in use gets its name, those that seal nothing any more go. */
  async settle(id: string): Promise<void> {
    const next = await this.#file(NEXT_KEY_FILE, false);
    if (next?.id === id) {
      await rename(join(this.#places.keys, NEXT_KEY_FILE), join(this.#places.keys, MASTER_KEY_FILE));
      await syncFolder(this.#places.keys);
    }
    if (!this.#elsewhere) return;
    await this.#remove(NEXT_KEY_FILE);
    if ((await this.#file(MASTER_KEY_FILE, false))?.id !== id) await this.#remove(MASTER_KEY_FILE);
  }

  get #elsewhere(): boolean {
    return this.#places.service !== undefined || this.#places.masterKey !== undefined;
  }

  #file(file: string, create: boolean): Promise<MasterKey | null> {
    const { keys, random = randomBytes } = this.#places;
    return loadMasterKey({ keys, random, file }, create);
  }

  async #remove(file: string): Promise<void> {
    await unlink(join(this.#places.keys, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}
