import { createHash } from 'node:crypto';
import { timestamp } from '../../../base/clock.ts';
import type { DownloadedPackage } from './hook.ts';

/** CycloneDX 1.6 (ECMA-424), as JSON. Licences are not in it: nobody opened the packages. */
export const SBOM_MEDIA_TYPE = 'application/vnd.cyclonedx+json; version=1.6';

export interface SbomOf {
  readonly runId: string;
  /** What the run worked on, for a person. */
  readonly subject: string;
  readonly policyDigest: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly packages: readonly DownloadedPackage[];
}

/** The same packages at the same time make the same document. */
export function sbomOf({ runId, subject, policyDigest, at, packages }: SbomOf) {
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(runId)}`,
    version: 1,
    metadata: {
      timestamp: timestamp(at),
      tools: { components: [{ type: 'application', name: 'cordon' }] },
      component: { type: 'application', 'bom-ref': `cordon:run:${runId}`, name: subject },
      properties: properties({ run: runId, policy: policyDigest }),
    },
    components: packages.map(component),
  };
}

function component(entry: DownloadedPackage) {
  const { ecosystem, name, version, purl, sha256, integrity, url, registry, published, bytes, verified } = entry;
  const slash = ecosystem === 'npm' ? name.indexOf('/') : -1;
  const hashes = [
    { alg: 'SHA-512', content: Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex') },
    { alg: 'SHA-256', content: sha256 },
  ];
  return {
    type: 'library',
    'bom-ref': `${purl}#${sha256.slice(0, 16)}-${short(registry)}`,
    ...(slash === -1 ? { name } : { group: name.slice(0, slash), name: name.slice(slash + 1) }),
    version,
    hashes,
    purl,
    externalReferences: [{ type: 'distribution', url, hashes }],
    properties: properties({
      registry,
      ...(published === null ? {} : { published: timestamp(published) }),
      bytes: String(bytes),
      verified: String(verified),
    }),
  };
}

function properties(values: Readonly<Record<string, string>>) {
  return Object.entries(values).map(([name, value]) => ({ name: `cordon:${name}`, value }));
}

const short = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8);

/** RFC 9562, version 8: of the run's id, which nobody has twice. */
function uuidOf(runId: string): string {
  const hash = createHash('sha256').update(`cordon sbom ${runId}`).digest().subarray(0, 16);
  hash[6] = 0x80 | ((hash[6] ?? 0) & 0x0f);
  hash[8] = 0x80 | ((hash[8] ?? 0) & 0x3f);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
