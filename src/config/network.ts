/** How this machine's network lets a run out: an authority of its own, a proxy in between. Set by the user, never by a policy. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UsageError } from '../base/errors.ts';
import type { NetworkSettings } from './schema.ts';

export interface NetworkAccess {
  /** PEM. */
  readonly extraCa?: string;
  readonly upstreamProxy?: { readonly host: string; readonly port: number };
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Throws `UsageError` for a file that cannot be read, or holds anything but authorities' certificates. */
export async function loadNetworkAccess(settings: NetworkSettings | undefined): Promise<NetworkAccess> {
  const { ca_file: file, proxy } = settings ?? {};
  return {
    ...(file === undefined ? {} : { extraCa: await readAuthorities(file) }),
    ...(proxy === undefined ? {} : { upstreamProxy: proxy }),
  };
}

async function readAuthorities(file: string): Promise<string> {
  const wrong = (what: string, cause?: unknown) =>
    new UsageError(`the file of network.ca_file, ${file}, ${what}`, {
      cause,
      remedy: 'name a PEM file with the certificates of the authorities of your network, and nothing else',
    });
  let text: string;
  try {
    text = await readFile(file, 'latin1');
  } catch (cause) {
    throw wrong(`cannot be read: ${(cause as Error).message}`, cause);
  }
  if (text.includes('PRIVATE KEY')) throw wrong('holds a private key');
  const blocks = text.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) throw wrong('holds no certificate');
  for (const [i, block] of blocks.entries()) {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(block);
    } catch (cause) {
      throw wrong(`holds something that is no certificate (the ${i + 1}.)`, cause);
    }
    if (!certificate.ca) throw wrong(`holds a certificate that is no authority's: ${certificate.subject}`);
  }
  return `${blocks.join('\n')}\n`;
}
