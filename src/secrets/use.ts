import { UsageError } from '../base/errors.ts';
import { canonicalHost } from '../policy/hosts.ts';
import { Secret } from './secret.ts';

/** How an agent uses a secret. `header` is the only one in which the value stays outside the sandbox. */
export type GuestUse =
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

/** By a gateway itself, for its own requests to a provider of language models; nothing of it is inside, not even a placeholder. */
export interface ProviderUse {
  readonly kind: 'provider';
  readonly provider: string;
  readonly host: string;
}

export type SecretUse = GuestUse | ProviderUse;

const DEFAULT_HEADER = 'Authorization: Bearer {}';
const HEADER = /^([A-Za-z0-9-]{1,64}): ([^\r\n{}]*\{\}[^\r\n{}]*)$/;
/** These say where a message ends or goes (RFC 9112 §6, RFC 9110 §7.6): a secret in one of them would change the request itself. */
const FORBIDDEN = new Set(
  'host content-length transfer-encoding connection proxy-connection keep-alive te trailer upgrade expect'.split(' '),
);

/** A secret's use in the words of a policy: one of `host`, `env` and `file`. */
export interface UseWords {
  readonly host?: string | undefined;
  readonly header?: string | undefined;
  readonly env?: string | undefined;
  readonly file?: string | undefined;
}

/** Throws `UsageError` for what cannot be. */
export function parseUse(use: UseWords): GuestUse {
  if (use.env !== undefined) return { kind: 'env', variable: use.env };
  if (use.file !== undefined) return { kind: 'file', path: use.file };
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

/** True when two secrets cannot both be used so: one would stand where the other should. */
export function samePlace(one: SecretUse, other: SecretUse): boolean {
  if (one.kind === 'header') return other.kind === 'header' && one.host === other.host && one.header === other.header;
  if (one.kind === 'env') return other.kind === 'env' && one.variable === other.variable;
  if (one.kind === 'file') return other.kind === 'file' && one.path === other.path;
  return false;
}

/** As it stands in events: what is around the value in its header is nobody's concern. */
export type ShownUse =
  | { readonly kind: 'header'; readonly host: string; readonly header: string }
  | Exclude<SecretUse, { kind: 'header' }>;

export function shownUse(use: SecretUse): ShownUse {
  return use.kind === 'header' ? { kind: use.kind, host: use.host, header: use.header } : use;
}

/** Where a secret is used, for a person. */
export function placeOf(use: SecretUse): string {
  if (use.kind === 'header') return `${use.header} of ${use.host}`;
  if (use.kind === 'provider') return `requests to ${use.provider}`;
  return use.kind === 'env' ? `$${use.variable}` : use.path;
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
