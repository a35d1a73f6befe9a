import { constants, createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { isAddress } from '../../policy/hosts.ts';
import { addressBytes } from './addresses.ts';
import { bits, boolean, integer, octets, oid, sequence, set, tagged, time, utf8 } from './der.ts';

/**
 * The certificate authority of one run: it lives in this process's memory, signs names that the policy has inspected,
 * and is gone with the run. Nothing outside the run's sandbox is ever told to trust it.
 */
export interface Authority {
  /** PEM, for the guest's trust store. */
  readonly certificate: string;
  /** What the gateway shows the guest in place of the host. */
  contextFor(host: string): SecureContext;
}

const DAY = 86_400_000;
/** Longer than any run; short enough that a leaked bundle is soon worth nothing. */
const LIFETIME = 7 * DAY;
/** A wildcard has as many names as a guest can think of. */
const MAX_CONTEXTS = 512;

/** Each further one of TLS 1.2 costs this process a signature, and Node's limit holds for sockets of its servers only. */
export const ONE_HANDSHAKE = constants.SSL_OP_NO_RENEGOTIATION;

const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

export function createAuthority(runName: string, now: number): Authority {
  const ca = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  // One key for all leaves: a key per name would cost the guest's first request and guard nothing, both are in this memory.
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const name = commonName(`Cordon inspection of ${runName}`);
  const window = { from: now - DAY, to: now + LIFETIME };
  const certificate = pem(
    issue({ subject: name, issuer: name, publicKey: ca.publicKey, signer: ca, window, host: null }),
  );
  const contexts = new Map<string, SecureContext>();
  return {
    certificate,
    contextFor(host) {
      const known = contexts.get(host);
      if (known !== undefined) return known;
      const subject = commonName(host.slice(0, 64));
      const cert = pem(issue({ subject, issuer: name, publicKey: leaf.publicKey, signer: ca, window, host }));
      const context = createSecureContext({ key, cert, minVersion: 'TLSv1.2', secureOptions: ONE_HANDSHAKE });
      if (contexts.size >= MAX_CONTEXTS) contexts.delete(contexts.keys().next().value ?? '');
      contexts.set(host, context);
      return context;
    },
  };
}

interface Issue {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly window: { readonly from: number; readonly to: number };
  /** Null for the authority itself. */
  readonly host: string | null;
}

/** RFC 5280 §4.1. */
function issue(options: Issue): Buffer {
  const { subject, issuer, publicKey, signer, window, host } = options;
  const keyInfo = spki(publicKey);
  const extensions =
    host === null
      ? [
          extension('2.5.29.19', true, sequence(boolean(true), integer(Buffer.from([0])))), // CA, no CA below it
          extension('2.5.29.15', true, bits(Buffer.from([0x06]), 1)), // keyCertSign, cRLSign
          extension('2.5.29.14', false, octets(keyId(keyInfo))),
        ]
      : [
          extension('2.5.29.19', true, sequence()),
          extension('2.5.29.15', true, bits(Buffer.from([0x80]), 7)), // digitalSignature
          extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))), // serverAuth
          extension('2.5.29.17', false, sequence(alternativeName(host))),
          extension('2.5.29.14', false, octets(keyId(keyInfo))),
          extension('2.5.29.35', false, sequence(tagged(0x80, keyId(spki(signer.publicKey))))),
        ];
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and of one length (RFC 5280 §4.1.2.2)
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_SHA256,
    issuer,
    sequence(time(window.from), time(window.to)),
    subject,
    keyInfo,
    tagged(0xa3, sequence(...extensions)),
  );
  return sequence(body, ECDSA_SHA256, bits(sign('sha256', body, signer.privateKey)));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function alternativeName(host: string): Buffer {
  const address = isAddress(host) ? addressBytes(host.replace(/^\[|\]$/g, '')) : null;
  return address === null ? tagged(0x82, Buffer.from(host, 'latin1')) : tagged(0x87, Buffer.from(address));
}

function commonName(text: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), utf8(text))));
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

function keyId(keyInfo: Buffer): Buffer {
  return createHash('sha256').update(keyInfo).digest().subarray(0, 20);
}

function pem(der: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}
