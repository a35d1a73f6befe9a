import { UsageError } from '../base/errors.ts';
import { canonicalHost } from '../policy/hosts.ts';
import { Secret } from './secret.ts';

/** How a run uses a secret. `header` is the only one in which the value stays outside the sandbox. */
export type SecretUse =
  | {
      readonly kind: 'header';
      /** Canonical (policy/hosts.ts). */
      readonly host: string;
      /** Lower case. */
      readonly header: string;
      /** The header's value, with `{}` where the secret goes. */
      readonly template: string;
    }
  | { readonly kind: 'env'; readonly variable: string }
  | { readonly kind: 'file'; readonly path: string };

export const DEFAULT_HEADER = 'Authorization: Bearer {}';
const HEADER = /^([A-Za-z0-9-]{1,64}): ([^\r\n{}]*\{\}[^\r\n{}]*)$/;
/** These say where a message ends or goes (RFC 9112 §6, RFC 9110 §7.6): a secret in one of them would change the request itself. */
const FORBIDDEN = new Set(
  'host content-length transfer-encoding connection proxy-connection keep-alive te trailer upgrade expect'.split(' '),
);

/** From the words of a policy: `{host, header}` or `{env}`. Throws `UsageError` for what cannot be. */
export function parseUse(use: { readonly host?: string; readonly header?: string; readonly env?: string }): SecretUse {
  if (use.env !== undefined) return { kind: 'env', variable: use.env };
  const host = canonicalHost(use.host ?? '');
  if (!host.ok) throw new UsageError(host.message);
  const [, name, template] = HEADER.exec(use.header ?? DEFAULT_HEADER) ?? [];
  if (name === undefined || template === undefined || FORBIDDEN.has(name.toLowerCase())) {
    throw new UsageError(`"${use.header}" is no header that a secret can stand in`, {
      remedy: `write it with {} for the value: "${DEFAULT_HEADER}"`,
    });
  }
  return { kind: 'header', host: host.value, header: name.toLowerCase(), template };
}

/**
 * The header's whole value. Throws `UsageError` for a secret with bytes that would end the header or that no header may hold
 * (RFC 9110 §5.5): it would become part of the request's structure.
 */
export function fillHeader(template: string, secret: Secret, name: string): Secret {
  const bytes = secret.reveal();
  if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) {
    throw new UsageError(
      `the value of ${name} cannot stand in a header: it has line ends or other characters than ASCII`,
      {
        remedy: 'set it again without them, or use it as env where it is needed as it is',
      },
    );
  }
  const [before = '', after = ''] = template.split('{}');
  return new Secret(Buffer.concat([Buffer.from(before, 'latin1'), bytes, Buffer.from(after, 'latin1')]), name);
}
