import type { Look, PatientLook } from './body.ts';
import { type Decoder, lookInside } from './compressed.ts';
import type { Crossing } from './crossing.ts';
import type { Gateway } from './gateway.ts';
import type { Header } from './head.ts';
import { Refusal } from './refusal.ts';
import type { Target } from './target.ts';

export interface OutgoingHead extends Target {
  readonly scheme: 'http' | 'https';
  readonly method: string;
  readonly path: string;
  readonly query: string | null;
  readonly headers: readonly Header[];
}

const PLAIN: Header = { name: 'Accept-Encoding', lower: 'accept-encoding', value: 'identity' };
const ECHOES = new Set(['TRACE', 'TRACK']);

/** Where a host is expected to speak plain HTTP. The guest chooses how it speaks: on other ports it could lay open what TLS would hide. */
function isClear(gateway: Gateway, target: Target): boolean {
  return target.port === 80 || (target.port !== 443 && gateway.ledger.facts(target).private);
}

/**
 * A permitted request's headers with the values of secrets in them. Every request in the clear is looked at, whatever its
 * host: a placeholder that goes elsewhere is stopped wherever it can be seen. Throws `Refusal`.
 */
export async function withSecrets(gateway: Gateway, request: OutgoingHead): Promise<readonly Header[]> {
  const { headers, host, port } = request;
  if (gateway.secrets === null) return headers;
  // RFC 9110 §9.3.8: the answer to it is the request, with the value in it.
  if (ECHOES.has(request.method) && gateway.secrets.wants(request))
    throw new Refusal('secret_refused', `${request.method} would have ${host} repeat the secret that is sent to it`, {
      host,
      port,
    });
  if (request.scheme === 'http' && !isClear(gateway, request) && gateway.secrets.wants(request))
    throw new Refusal('secret_refused', `the secret for ${host} does not go to port ${port} unencrypted`, {
      host,
      port,
      remedy: `use https: of plain HTTP, port 80 is taken, and hosts that the policy lists with private: true`,
    });
  const answer = await gateway.secrets.apply(request);
  if ('refuse' in answer) throw new Refusal('secret_refused', answer.refuse, { host, port });
  const names = new Set(answer.set.map((header) => header.lower));
  if (names.size === 0) return headers;
  // A value that the host repeats is to be found in what it answers.
  names.add('accept-encoding');
  return [...headers.filter((header) => !names.has(header.lower)), ...answer.set, PLAIN];
}

/** For what a guest sends after a head: throws `Refusal` at the piece that holds a placeholder. Undefined where nobody looks. */
export function watchBody(gateway: Gateway, { host, port }: Target): Look | undefined {
  const holds = gateway.secrets?.watchBody(host, () => gateway.ledger.broken());
  if (holds === undefined) return undefined;
  return (piece, last) => {
    if (holds(piece, last))
      throw new Refusal('secret_refused', 'the placeholder of a secret was in the body', { host, port });
  };
}

/** The same for a request's body, also in what it stands for where its head says that it is compressed. Throws `Refusal`. */
export function watchRequest(
  gateway: Gateway,
  target: Target,
  headers: readonly Header[],
  crossing: Crossing,
): PatientLook | undefined {
  const look = watchBody(gateway, target);
  if (look === undefined) return undefined;
  const open = (make: () => Decoder) => gateway.decoders.add(make, (close) => crossing.onEnd(close));
  return lookInside(headers, look, () => watchBody(gateway, target) ?? look, open);
}
