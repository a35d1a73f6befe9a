import type { IncomingMessage, ServerResponse } from 'node:http';
import { safeText } from '../../base/term.ts';
import { answer, bodyOf, HttpRefusal } from './http.ts';
import { MAX_PAYLOAD } from './sign-payload.ts';

/**
 * What the guest's `git commit -S` asks, through the shim that stands in for ssh-keygen:
 *
 *     POST /sign/git   Content-Type: application/x-git-commit   the commit without its signature
 *     200  the armoured signature      403  why not, as one line for git to show
 *
 * The path's last part is the namespace (PROTOCOL.sshsig): nothing but `git` is ever signed.
 */
export type SignVerdict = { readonly signature: string } | { readonly refusal: string };

export type SignCommit = (payload: Buffer) => Promise<SignVerdict>;

export const SIGN_PATH = '/sign/';

export async function takeSigning(
  sign: SignCommit | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (sign === undefined) throw new HttpRefusal(404, 'nothing is signed here');
  if (request.url !== `${SIGN_PATH}git`)
    throw new HttpRefusal(403, 'only commits are signed here, in the namespace git');
  if (request.method !== 'POST') throw new HttpRefusal(405, 'signatures are asked for with POST');
  if (request.headers['content-type'] !== 'application/x-git-commit')
    throw new HttpRefusal(415, 'this is not a commit to be signed');
  if (Number(request.headers['content-length'] ?? 0) > MAX_PAYLOAD)
    throw new HttpRefusal(413, `refuses to sign: it is larger than ${MAX_PAYLOAD} bytes`);
  const chunks: Buffer[] = [];
  for await (const chunk of bodyOf(request, MAX_PAYLOAD)) chunks.push(chunk);
  if (!request.complete) throw new HttpRefusal(400, 'the commit was cut off');
  const verdict = await sign(Buffer.concat(chunks));
  if ('signature' in verdict) answer(response, 200, 'text/plain', verdict.signature, { Connection: 'close' });
  else {
    const line = `cordon refuses to sign: ${safeText(verdict.refusal)}\n`;
    answer(response, 403, 'text/plain; charset=utf-8', line, { Connection: 'close' });
  }
}
