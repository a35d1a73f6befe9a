import { gitText, isOid } from '../../base/git.ts';
import { flushPacket, packet } from '../../base/pktline.ts';
import type { Quarantine } from './quarantine.ts';
import { capabilities } from './receive.ts';

/** The quarantine's refs. Nobody else writes them, so they are read once. */
export class Refs {
  readonly #quarantine: Quarantine;
  #known: Promise<Map<string, string>> | null = null;

  constructor(quarantine: Quarantine) {
    this.#quarantine = quarantine;
  }

  all(): Promise<ReadonlyMap<string, string>> {
    this.#known ??= readRefs(this.#quarantine);
    return this.#known;
  }

  /** They have changed. */
  forget(): void {
    this.#known = null;
  }

  async at(ref: string): Promise<string | null> {
    return (await this.all()).get(ref) ?? null;
  }

  /** As `git receive-pack --advertise-refs` says it (gitprotocol-pack(5), "Reference Discovery"). */
  async advertisement(): Promise<Buffer> {
    const { objectFormat, shallow } = this.#quarantine;
    const refs = [...(await this.all())].sort(([a], [b]) => (a < b ? -1 : 1));
    const none = '0'.repeat(objectFormat === 'sha1' ? 40 : 64);
    const lines = refs.length === 0 ? [`${none} capabilities^{}`] : refs.map(([ref, oid]) => `${oid} ${ref}`);
    const offered = [...capabilities, `object-format=${objectFormat}`, 'agent=cordon'].join(' ');
    return Buffer.concat([
      ...lines.map((line, i) => packet(i === 0 ? `${line}\0${offered}\n` : `${line}\n`)),
      ...shallow.map((oid) => packet(`shallow ${oid}\n`)),
      flushPacket,
    ]);
  }
}

async function readRefs({ place }: Quarantine): Promise<Map<string, string>> {
  const lines = (await gitText(place, ['for-each-ref', '--format=%(objectname) %(refname)'])).split('\n');
  return new Map(
    lines.flatMap((line) => {
      const [oid = '', ref = ''] = line.split(' ');
      return isOid(oid) ? [[ref, oid] as const] : [];
    }),
  );
}
