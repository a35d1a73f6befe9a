/**
 * A PKCS#11 module (OASIS PKCS #11 v2.40, pkcs11t.h and pkcs11f.h), reached through its one exported function
 * `C_GetFunctionList`: a structure of a version and then pointers, in an order that never changes. All of CK_ULONG's kind are
 * 64 bits on the machines that Cordon runs on, little-endian.
 */
import koffi from 'koffi';
import { EnforcementError } from '../../base/errors.ts';

/** Place of each function in CK_FUNCTION_LIST, and its parameters. Pointers to memory of ours are buffers. */
const functions = {
  C_Initialize: [0, ['void *']],
  C_GetSlotList: [4, ['uint8', 'void *', 'void *']],
  C_GetTokenInfo: [6, ['uint64', 'void *']],
  C_OpenSession: [12, ['uint64', 'uint64', 'void *', 'void *', 'void *']],
  C_CloseSession: [13, ['uint64']],
  C_Login: [18, ['uint64', 'uint64', 'void *', 'uint64']],
  C_FindObjectsInit: [26, ['uint64', 'void *', 'uint64']],
  C_FindObjects: [27, ['uint64', 'void *', 'uint64', 'void *']],
  C_FindObjectsFinal: [28, ['uint64']],
  C_EncryptInit: [29, ['uint64', 'void *', 'uint64']],
  C_Encrypt: [30, ['uint64', 'void *', 'uint64', 'void *', 'void *']],
  C_DecryptInit: [33, ['uint64', 'void *', 'uint64']],
  C_Decrypt: [34, ['uint64', 'void *', 'uint64', 'void *', 'void *']],
} as const satisfies Record<string, readonly [number, readonly string[]]>;

export type FunctionName = keyof typeof functions;
export type Argument = number | bigint | Buffer | null;

/** What a call returns (CK_RV), as far as something is made of it. */
export const Rv = {
  ok: 0,
  deviceError: 0x30,
  deviceRemoved: 0x32,
  encryptedDataInvalid: 0x40,
  encryptedDataLength: 0x41,
  pinIncorrect: 0xa0,
  pinInvalid: 0xa1,
  pinLength: 0xa2,
  pinExpired: 0xa3,
  pinLocked: 0xa4,
  sessionClosed: 0xb0,
  sessionHandle: 0xb3,
  tokenAbsent: 0xe0,
  alreadyLoggedIn: 0x100,
  notLoggedIn: 0x101,
  pinNotSet: 0x102,
  alreadyInitialized: 0x191,
} as const;

type Call = { async(...args: unknown[]): void };

/** A module that is loaded and initialised; one a path for the whole process, since a module is that too. */
export class Pkcs11Module {
  static readonly #loaded = new Map<string, Promise<Pkcs11Module>>();
  readonly #calls: Readonly<Record<FunctionName, Call>>;

  private constructor(calls: Readonly<Record<FunctionName, Call>>) {
    this.#calls = calls;
  }

  /** Throws `EnforcementError` for what is no such module. */
  static load(path: string): Promise<Pkcs11Module> {
    let module = Pkcs11Module.#loaded.get(path);
    if (module === undefined) {
      module = Pkcs11Module.#open(path);
      Pkcs11Module.#loaded.set(path, module);
      module.catch(() => Pkcs11Module.#loaded.delete(path));
    }
    return module;
  }

  static async #open(path: string): Promise<Pkcs11Module> {
    const module = new Pkcs11Module(functionsOf(path));
    const initialize = Buffer.alloc(48);
    initialize.writeBigUInt64LE(2n, 32); // CKF_OS_LOCKING_OK: calls come from several threads
    const rv = await module.call('C_Initialize', initialize);
    if (rv === Rv.ok || rv === Rv.alreadyInitialized) return module;
    throw refused(path, `it cannot be initialised (${rvName(rv)})`);
  }

  /** On a thread of the pool: tokens take their time. Resolves with what it returned. */
  call(name: FunctionName, ...args: Argument[]): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#calls[name].async(...args, (error: Error | null, rv: number | bigint) => {
        // The module reads and writes their memory until now, whether or not anybody still waits for it.
        void args;
        if (error === null) resolve(Number(rv));
        else reject(error);
      });
    });
  }
}

/** What structures point to, for as long as they are there. */
const held = new WeakMap<Buffer, readonly Buffer[]>();

/** Fields of 8 bytes each: numbers, and the addresses of buffers. */
export function structure(...fields: (bigint | Buffer)[]): Buffer {
  const bytes = Buffer.alloc(8 * fields.length);
  fields.forEach((field, i) => {
    bytes.writeBigUInt64LE(typeof field === 'bigint' ? field : koffi.address(field), 8 * i);
  });
  held.set(
    bytes,
    fields.filter((field) => typeof field !== 'bigint'),
  );
  return bytes;
}

function functionsOf(path: string): Record<FunctionName, Call> {
  const out = [null];
  let list: unknown;
  try {
    const getList = koffi.load(path).func('C_GetFunctionList', 'uint64', [koffi.out(koffi.pointer('void *'))]);
    if (Number(getList(out)) === Rv.ok) list = out[0];
  } catch (cause) {
    throw refused(path, `it cannot be loaded: ${(cause as Error).message.slice(0, 200)}`, cause);
  }
  if (!list) throw refused(path, 'it gives no list of functions');
  // CK_VERSION takes two bytes, and the pointers are aligned.
  const pointers = koffi.decode(list, 8, koffi.array('void *', 68)) as unknown[];
  const calls = Object.entries(functions).map(([name, [place, parameters]]) => {
    const type = koffi.proto('uint64', parameters as unknown as string[]);
    return [name, koffi.decode(pointers[place], type) as Call];
  });
  return Object.fromEntries(calls) as Record<FunctionName, Call>;
}

function refused(path: string, why: string, cause?: unknown): EnforcementError {
  return new EnforcementError('secrets', `${path} cannot be used as a PKCS#11 module: ${why}`, {
    remedy: 'name the module of the token in secrets.master_key.pkcs11.module, such as /usr/lib/softhsm/libsofthsm2.so',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** For messages: its name in pkcs11t.h where it is one that people meet, else its number. */
export function rvName(rv: number): string {
  const names: Record<number, string> = {
    [Rv.deviceError]: 'CKR_DEVICE_ERROR',
    [Rv.deviceRemoved]: 'CKR_DEVICE_REMOVED',
    [Rv.pinIncorrect]: 'CKR_PIN_INCORRECT',
    [Rv.pinInvalid]: 'CKR_PIN_INVALID',
    [Rv.pinLength]: 'CKR_PIN_LEN_RANGE',
    [Rv.pinExpired]: 'CKR_PIN_EXPIRED',
    [Rv.pinLocked]: 'CKR_PIN_LOCKED',
    [Rv.sessionClosed]: 'CKR_SESSION_CLOSED',
    [Rv.sessionHandle]: 'CKR_SESSION_HANDLE_INVALID',
    [Rv.tokenAbsent]: 'CKR_TOKEN_NOT_PRESENT',
    [Rv.notLoggedIn]: 'CKR_USER_NOT_LOGGED_IN',
    [Rv.pinNotSet]: 'CKR_USER_PIN_NOT_INITIALIZED',
  };
  return names[rv] ?? `CKR 0x${rv.toString(16)}`;
}
