import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { CordonError, EnforcementError, OutsideError, UsageError } from '../base/errors.ts';
import { readOwnFile } from '../base/own-file.ts';

/** A secret's answer is small; anything longer is no answer of a Vault. Bytes. */
const MAX_ANSWER = 1024 * 1024;

export interface VaultAnswer {
  readonly status: number;
  /** Undefined when the body is no JSON. */
  readonly body: unknown;
}

export interface VaultRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A POST of JSON when there is one, else a GET. */
  readonly body?: string | undefined;
  /** PEM; besides those that Node trusts anyway, nothing else is trusted when it is given. */
  readonly ca?: string | undefined;
  /** Milliseconds for the whole exchange. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One request. Redirects are not followed: they would carry the token elsewhere. Throws `OutsideError` when there is no whole
 * answer in time.
 */
export function askVault({ url, headers, body, ca, timeout, signal }: VaultRequest): Promise<VaultAnswer> {
  const deadline = AbortSignal.timeout(timeout);
  const stop = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
  const where = url.origin;
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) => {
      const why = deadline.aborted ? `did not answer within ${timeout} ms` : `cannot be reached (${codeOf(cause)})`;
      reject(
        new OutsideError(`the Vault at ${where} ${why}`, {
          cause,
          remedy: 'see that it runs and that its address is right',
        }),
      );
    };
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const method = body === undefined ? 'GET' : 'POST';
    const request = send(url, { method, headers, signal: stop, agent: false, ...(ca === undefined ? {} : { ca }) });
    request.on('error', fail);
    request.on('response', (response) => {
      const pieces: Buffer[] = [];
      let length = 0;
      response.on('data', (piece: Buffer) => {
        pieces.push(piece);
        length += piece.length;
        if (length > MAX_ANSWER) response.destroy(new Error('too long'));
      });
      response.on('error', fail);
      response.on('end', () => {
        const bytes = Buffer.concat(pieces);
        resolve({ status: response.statusCode ?? 0, body: parse(bytes.toString()) });
        for (const piece of [...pieces, bytes]) piece.fill(0);
      });
    });
    request.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function codeOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code ?? message;
}

/** Where the token is: a file, read at each use, that only this user may read; or the token itself, from a variable. */
export type VaultToken = { readonly file: string } | { readonly value: string };

export async function readToken(token: VaultToken): Promise<string> {
  const text = 'value' in token ? token.value : await tokenFile(token.file);
  if (/^[\x21-\x7e]{1,4096}$/.test(text)) return text;
  throw new UsageError('the token for the Vault is empty or holds what no token has', {
    remedy: 'log in again: vault login, or let its agent write the token’s file',
  });
}

async function tokenFile(file: string): Promise<string> {
  try {
    return readOwnFile(file, 8_192).toString('latin1').trim();
  } catch (cause) {
    if (cause instanceof CordonError) throw cause;
    throw new EnforcementError('secrets', `the token for the Vault cannot be read from ${file}`, {
      cause,
      remedy: 'log in again: vault login, or let its agent write that file',
    });
  }
}

/** In the clear the token and every value could be read on the way. */
export function checkAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : null;
  const local = url !== null && /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(url.hostname);
  if (url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && local))) return url;
  throw new UsageError(`the Vault's address ${JSON.stringify(address)} is no https: URL`, {
    remedy: 'write https://vault.acme.example:8200; http: is only for this machine',
  });
}
