/**
 * JSON-RPC 2.0 as MCP has it (https://modelcontextprotocol.io/specification/2026-07-28/basic): one message, never a batch;
 * an id is text or a whole number, never null.
 *
 *   request       {"jsonrpc":"2.0","id":…,"method":…,"params":{…}}
 *   notification  {"jsonrpc":"2.0","method":…,"params":{…}}
 *   response      {"jsonrpc":"2.0","id":…,"result":{…}}  or  {…,"error":{"code":…,"message":…}}
 */
import { strictJsonParse } from '../../base/strict-json.ts';

export type JsonObject = Readonly<Record<string, unknown>>;
export type Id = string | number;

export type Message =
  | { readonly kind: 'request'; readonly id: Id; readonly method: string; readonly params: JsonObject }
  | { readonly kind: 'notification'; readonly method: string; readonly params: JsonObject }
  | { readonly kind: 'result'; readonly id: Id; readonly result: JsonObject }
  | { readonly kind: 'error'; readonly id: Id | null; readonly code: number; readonly message: string };

export const Code = {
  parse: -32700,
  invalid: -32600,
  method: -32601,
  params: -32602,
  internal: -32603,
  /** Of the protocol's own (revision 2026-07-28). */
  headerMismatch: -32020,
  version: -32022,
} as const;

export class MessageError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const METHOD = /^[A-Za-z][A-Za-z0-9_/.-]{0,99}$/;
/** Deeper than any tool's arguments; far from what would exhaust a stack. */
const DEPTH = 48;

/** Throws {@link MessageError} for what is no message. `text` is bounded by the caller. */
export function parseMessage(text: string): Message {
  let value: unknown;
  try {
    value = strictJsonParse(text, DEPTH);
  } catch (error) {
    throw new MessageError(Code.parse, `this is no JSON that can be taken: ${(error as Error).message.slice(0, 200)}`);
  }
  if (Array.isArray(value)) throw new MessageError(Code.invalid, 'batches are not taken: send one message at a time');
  if (!isObject(value) || value.jsonrpc !== '2.0')
    throw new MessageError(Code.invalid, 'this is no JSON-RPC 2.0 message');
  return 'method' in value ? asked(value) : answered(value);
}

function asked(value: JsonObject): Message {
  const { method, params = {} } = value;
  only(value, ['jsonrpc', 'id', 'method', 'params']);
  if (typeof method !== 'string' || !METHOD.test(method)) throw new MessageError(Code.invalid, 'this is no method');
  if (!isObject(params)) throw new MessageError(Code.params, 'params must be an object');
  if (!('id' in value)) return { kind: 'notification', method, params };
  return { kind: 'request', id: readId(value.id), method, params };
}

function answered(value: JsonObject): Message {
  only(value, ['jsonrpc', 'id', 'result', 'error']);
  if ('result' in value && 'error' in value) throw new MessageError(Code.invalid, 'a result and an error at once');
  if ('error' in value) {
    const { error } = value;
    if (!isObject(error) || typeof error.code !== 'number' || typeof error.message !== 'string')
      throw new MessageError(Code.invalid, 'this is no error of JSON-RPC');
    return { kind: 'error', id: value.id == null ? null : readId(value.id), code: error.code, message: error.message };
  }
  if (!isObject(value.result)) throw new MessageError(Code.invalid, 'neither a request nor an answer');
  return { kind: 'result', id: readId(value.id), result: value.result };
}

function readId(id: unknown): Id {
  const fits = (typeof id === 'number' && Number.isSafeInteger(id)) || (typeof id === 'string' && id.length <= 128);
  if (!fits) throw new MessageError(Code.invalid, 'an id is a whole number, or text of at most 128 characters');
  return id as Id;
}

function only(value: JsonObject, names: readonly string[]): void {
  const stray = Object.keys(value).find((name) => !names.includes(name));
  if (stray !== undefined) throw new MessageError(Code.invalid, 'a member that JSON-RPC does not know');
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const request = (id: Id, method: string, params: JsonObject) =>
  ({ jsonrpc: '2.0', id, method, params }) as const;
export const notification = (method: string, params: JsonObject) => ({ jsonrpc: '2.0', method, params }) as const;
export const result = (id: Id, value: JsonObject) => ({ jsonrpc: '2.0', id, result: value }) as const;
export const failure = (id: Id | null, code: number, message: string, data?: JsonObject) =>
  ({ jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } }) as const;
