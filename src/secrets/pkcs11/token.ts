import { EnforcementError, OutsideError } from '../../base/errors.ts';
import { type Argument, type FunctionName, Pkcs11Module, Rv, rvName, structure } from './module.ts';

export interface TokenOptions {
  /** Absolute path of the module. */
  readonly module: string;
  /** The token's label. */
  readonly token: string;
  /** The key's label (CKA_LABEL), or its id (CKA_ID) as bytes. */
  readonly key: { readonly label: string } | { readonly id: Buffer };
  /** Read for each login; never kept. Throws when it cannot be had. */
  pin(): Buffer;
  /** Milliseconds for one call. Default 10,000. */
  readonly timeout?: number;
}

const MAX_SLOTS = 64;
/** CKF_SERIAL_SESSION; nothing is written to the token. */
const SESSION = 4;
const USER = 1;
const TOKEN_INFO_BYTES = 208;
const LABEL_BYTES = 32;
const CKA_CLASS = 0n;
const CKA_LABEL = 3n;
const CKA_KEY_TYPE = 0x100n;
const CKA_ID = 0x102n;
const SECRET_KEY = 4n;
const AES = 0x1fn;
const AES_GCM = 0x1087n;
const TAG_BITS = 128n;
/** Longest result: a data key, and what GCM adds. */
const MAX_RESULT = 4_096;
/** After these the session is of no more use; a new one may be. */
const LOST: readonly number[] = [
  Rv.deviceError,
  Rv.deviceRemoved,
  Rv.sessionClosed,
  Rv.sessionHandle,
  Rv.tokenAbsent,
  Rv.notLoggedIn,
];
const PIN_REFUSED: readonly number[] = [
  Rv.pinIncorrect,
  Rv.pinInvalid,
  Rv.pinLength,
  Rv.pinExpired,
  Rv.pinLocked,
  Rv.pinNotSet,
];

class LostSession extends Error {}

/** An AES key on a token, which never leaves it. Its operations follow one another, as those of a session must. */
export class TokenKey {
  readonly #options: TokenOptions;
  #open: { module: Pkcs11Module; session: bigint; key: bigint } | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: TokenOptions) {
    this.#options = options;
  }

  /** AES-GCM with a tag of 16 bytes behind the ciphertext. Null for what was not encrypted by this key with this context. */
  async crypt(way: 'encrypt' | 'decrypt', nonce: Buffer, context: Buffer, data: Buffer): Promise<Buffer | null> {
    const next = this.#last.then(() => this.#retried(way, nonce, context, data));
    this.#last = next.catch(() => {});
    return next;
  }

  /** A token that was pulled out and put back has forgotten its sessions: once more, with a new one. */
  async #retried(...args: Parameters<TokenKey['crypt']>): Promise<Buffer | null> {
    try {
      return await this.#crypt(...args);
    } catch (error) {
      if (!(error instanceof LostSession)) throw error;
    }
    try {
      return await this.#crypt(...args);
    } catch (error) {
      if (!(error instanceof LostSession)) throw error;
      throw this.#outside(`its session was lost (${error.message})`);
    }
  }

  async #crypt(way: 'encrypt' | 'decrypt', nonce: Buffer, context: Buffer, data: Buffer): Promise<Buffer | null> {
    this.#open ??= await this.#login();
    const { session, key } = this.#open;
    const [bytes, bits] = [BigInt(nonce.length), BigInt(nonce.length * 8)];
    const gcm = structure(nonce, bytes, bits, context, BigInt(context.length), TAG_BITS);
    const mechanism = structure(AES_GCM, gcm, BigInt(gcm.length));
    const encrypt = way === 'encrypt';
    const init = await this.#call(encrypt ? 'C_EncryptInit' : 'C_DecryptInit', session, mechanism, key);
    if (init !== Rv.ok) throw this.#refused(`its key cannot ${way} by AES-GCM (${rvName(init)})`);
    const result = Buffer.alloc(MAX_RESULT);
    const length = number(MAX_RESULT);
    const rv = await this.#call(
      encrypt ? 'C_Encrypt' : 'C_Decrypt',
      session,
      data,
      BigInt(data.length),
      result,
      length,
    );
    void mechanism; // holds what the module may look at until here
    if (rv === Rv.ok) return result.subarray(0, Number(length.readBigUInt64LE()));
    if (!encrypt) return null; // modules differ in what they call a wrong tag
    throw this.#refused(`its key cannot encrypt (${rvName(rv)})`);
  }

  async #login(): Promise<{ module: Pkcs11Module; session: bigint; key: bigint }> {
    const module = await Pkcs11Module.load(this.#options.module);
    const slot = await this.#slot(module);
    const handle = number(0);
    const opened = await this.#call('C_OpenSession', slot, SESSION, null, null, handle);
    if (opened !== Rv.ok) throw this.#outside(`it opens no session (${rvName(opened)})`);
    const session = handle.readBigUInt64LE();
    try {
      await this.#logIn(session);
      return { module, session, key: await this.#find(session) };
    } catch (error) {
      await module.call('C_CloseSession', session);
      throw error;
    }
  }

  /** The slot of the token with the label. Labels are padded with spaces to 32 bytes. */
  async #slot(module: Pkcs11Module): Promise<bigint> {
    const [slots, count] = [Buffer.alloc(8 * MAX_SLOTS), number(MAX_SLOTS)];
    const rv = await module.call('C_GetSlotList', 1, slots, count);
    if (rv !== Rv.ok) throw this.#outside(`its slots cannot be listed (${rvName(rv)})`);
    const found: string[] = [];
    for (let i = 0; i < Number(count.readBigUInt64LE()); i++) {
      const slot = slots.readBigUInt64LE(8 * i);
      const info = Buffer.alloc(TOKEN_INFO_BYTES);
      if ((await module.call('C_GetTokenInfo', slot, info)) !== Rv.ok) continue;
      const label = info.toString('utf8', 0, LABEL_BYTES).trimEnd();
      if (label === this.#options.token) return slot;
      if (label !== '') found.push(label);
    }
    const there =
      found.length === 0 ? 'there is none' : `there is ${found.map((label) => JSON.stringify(label)).join(', ')}`;
    throw this.#outside(`it is not there: ${there}`);
  }

  /** A wrong PIN is never tried again: tokens count, and lock themselves. */
  async #logIn(session: bigint): Promise<void> {
    const pin = this.#options.pin();
    const rv = await this.#call('C_Login', session, USER, pin, BigInt(pin.length));
    pin.fill(0);
    if (rv === Rv.ok || rv === Rv.alreadyLoggedIn) return;
    if (!PIN_REFUSED.includes(rv)) throw this.#outside(`nobody can log in (${rvName(rv)})`);
    const locked =
      rv === Rv.pinLocked
        ? 'its security officer unlocks it'
        : 'correct it before trying again: a token locks itself after a few wrong ones';
    throw new EnforcementError('secrets', `the PIN of ${this.#where} is refused (${rvName(rv)})`, { remedy: locked });
  }

  async #find(session: bigint): Promise<bigint> {
    const { key } = this.#options;
    const [name, value] = 'label' in key ? [CKA_LABEL, Buffer.from(key.label)] : [CKA_ID, key.id];
    const kind = [CKA_CLASS, number(SECRET_KEY), 8n, CKA_KEY_TYPE, number(AES), 8n] as const;
    const template = structure(...kind, name, value, BigInt(value.length));
    const init = await this.#call('C_FindObjectsInit', session, template, 3);
    const [handles, count] = [Buffer.alloc(16), number(0)];
    const rv = init === Rv.ok ? await this.#call('C_FindObjects', session, handles, 2, count) : init;
    if (init === Rv.ok) await this.#call('C_FindObjectsFinal', session);
    if (rv !== Rv.ok) throw this.#outside(`its keys cannot be listed (${rvName(rv)})`);
    const found = Number(count.readBigUInt64LE());
    if (found === 1) return handles.readBigUInt64LE();
    const what = 'label' in key ? `labelled ${JSON.stringify(key.label)}` : `with the id ${key.id.toString('hex')}`;
    throw this.#refused(`it has ${found === 0 ? 'no AES key' : 'several AES keys'} ${what}`);
  }

  /** Throws `LostSession`, and forgets the session, for what another one may do. */
  async #call(name: FunctionName, ...args: Argument[]): Promise<number> {
    const { module: path, timeout = 10_000 } = this.#options;
    const module = await Pkcs11Module.load(path);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, timeout, 'late');
    });
    const rv = await Promise.race([module.call(name, ...args), late]).finally(() => clearTimeout(timer));
    if (rv === 'late') {
      this.#open = null; // that session is still at work
      throw this.#outside(`it did not answer within ${timeout} ms`);
    }
    if (!LOST.includes(rv)) return rv;
    this.#open = null;
    throw new LostSession(rvName(rv));
  }

  get #where(): string {
    return `the token ${JSON.stringify(this.#options.token)}`;
  }

  #outside(why: string): OutsideError {
    return new OutsideError(`${this.#where} cannot be used: ${why}`, {
      remedy:
        'see that it is plugged in and that its service runs; its module may list it: softhsm2-util --show-slots, pkcs11-tool --list-slots',
    });
  }

  #refused(why: string): EnforcementError {
    return new EnforcementError('secrets', `${this.#where} cannot hold the master key: ${why}`, {
      remedy:
        'make one key there, for example: pkcs11-tool --login --keygen --key-type AES:32 --label NAME, and name it in secrets.master_key.pkcs11.key',
    });
  }
}

function number(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
