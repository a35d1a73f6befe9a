import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { OutsideError } from '../../base/errors.ts';

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
  /** PEM; besides those that Node trusts anyway, nothing else is trusted when it is given. */
  readonly ca?: string | undefined;
  /** Milliseconds for the whole exchange. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One GET. Redirects are not followed: they would carry the token elsewhere. Throws `OutsideError` when there is no whole
 * answer in time.
 */
export function getJson({ url, headers, ca, timeout, signal }: VaultRequest): Promise<VaultAnswer> {
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
    const request = send(url, { headers, signal: stop, agent: false, ...(ca === undefined ? {} : { ca }) });
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
    request.end();
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
