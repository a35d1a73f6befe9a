import { createHash } from 'node:crypto';

/**
 * A Java keystore (JKS, version 2) that trusts the certificates of a PEM bundle: Java reads no PEM. Layout:
 *
 *   u4 0xFEEDFEED · u4 2 · u4 count · count × (u4 2 · alias · u8 milliseconds · "X.509" · u4 length · DER) · SHA-1
 *
 * Texts are u2 length + bytes. The digest is over the password in UTF-16BE, a fixed phrase, and all before: with a
 * password that everybody knows it shows damage, and guards nothing.
 */
export function javaTruststore(bundle: string, now: number): Buffer {
  const certificates = [...bundle.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g)];
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(now));
  const parts = [u4(0xfeedfeed), u4(2), u4(certificates.length)];
  for (const [i, [, base64 = '']] of certificates.entries()) {
    const der = Buffer.from(base64, 'base64');
    parts.push(u4(2), text(`authority-${i}`), time, text('X.509'), u4(der.length), der);
  }
  const store = Buffer.concat(parts);
  const password = Buffer.from(TRUSTSTORE_PASSWORD, 'utf16le').swap16();
  const digest = createHash('sha1').update(password).update('Mighty Aphrodite').update(store).digest();
  return Buffer.concat([store, digest]);
}

/** Java's own for its list of authorities. */
export const TRUSTSTORE_PASSWORD = 'changeit';

function u4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.alloc(2 + value.length);
  bytes.writeUInt16BE(value.length);
  bytes.write(value, 2, 'latin1');
  return bytes;
}
