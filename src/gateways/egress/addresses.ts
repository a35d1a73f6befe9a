import { isIP, isIPv4 } from 'node:net';

/**
 * Where a dial may go. An address is judged by its bytes; one that carries an IPv4 address inside (mapped, NAT64, 6to4,
 * ISATAP) is judged by both. Ranges: the special-purpose registries of RFC 6890, as of 2026.
 */
export type AddressKind = 'global' | 'private' | 'local' | 'link-local' | 'reserved';

const V4: readonly (readonly [string, number, AddressKind])[] = [
  ['0.0.0.0', 8, 'reserved'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'private'], // carrier-grade NAT, and 100.100.100.200, a metadata service
  ['127.0.0.0', 8, 'local'],
  ['168.63.129.16', 32, 'link-local'], // Azure's platform address, reached from every machine there
  ['169.254.0.0', 16, 'link-local'], // with 169.254.169.254, the metadata services
  ['172.16.0.0', 12, 'private'],
  ['192.0.0.0', 24, 'reserved'],
  ['192.0.2.0', 24, 'reserved'],
  ['192.88.99.0', 24, 'reserved'],
  ['192.168.0.0', 16, 'private'],
  ['198.18.0.0', 15, 'reserved'], // and the addresses that stand for names inside a run
  ['198.51.100.0', 24, 'reserved'],
  ['203.0.113.0', 24, 'reserved'],
  ['224.0.0.0', 3, 'reserved'], // multicast, class E, broadcast
];

const V6: readonly (readonly [string, number, AddressKind])[] = [
  ['::1', 128, 'local'],
  ['64:ff9b:1::', 48, 'private'],
  ['fd00:ec2::', 32, 'link-local'], // metadata service
  ['fc00::', 7, 'private'],
  ['fe80::', 10, 'link-local'],
  ['2001::', 23, 'reserved'], // Teredo, ORCHID, benchmarking
  ['2001:db8::', 32, 'reserved'],
  ['3fff::', 20, 'reserved'],
];

const tables = {
  4: V4.map(([text, bits, kind]) => ({ bytes: addressBytes(text), bits, kind })),
  6: V6.map(([text, bits, kind]) => ({ bytes: addressBytes(text), bits, kind })),
};

/** What is not written as one plain address (a zone id, a name, octal) is reserved. */
export function addressKind(text: string): AddressKind {
  const bytes = addressBytes(text);
  if (bytes === null) return 'reserved';
  return bytes.length === 4 ? kindOf4(bytes) : kindOf6(bytes);
}

function kindOf4(bytes: Uint8Array): AddressKind {
  return tables[4].find((range) => within(bytes, range))?.kind ?? 'global';
}

function kindOf6(bytes: Uint8Array): AddressKind {
  const own = tables[6].find((range) => within(bytes, range))?.kind;
  if (own !== undefined) return own;
  const prefix = (hex: string) => Buffer.from(bytes.subarray(0, hex.length / 2)).toString('hex') === hex;
  // Mapped (RFC 4291 §2.5.5.2) and well-known NAT64 (RFC 6052): a dial ends at the address inside.
  if (prefix('00000000000000000000ffff') || prefix('0064ff9b0000000000000000')) return kindOf4(bytes.subarray(12));
  // Only 2000::/3 is handed out as global unicast (RFC 4291 §2.4).
  if (((bytes[0] ?? 0) & 0xe0) !== 0x20) return 'reserved';
  if (prefix('2002')) return worse(kindOf4(bytes.subarray(2, 6)));
  const isatap = bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe && ((bytes[8] ?? 0) & 0xfd) === 0;
  return isatap ? worse(kindOf4(bytes.subarray(12))) : 'global';
}

/** A tunnel's address leads to the one inside or to nowhere: whatever is special about that one stays refused. */
function worse(kind: AddressKind): AddressKind {
  return kind === 'global' ? 'global' : 'reserved';
}

function within(bytes: Uint8Array, range: { bytes: Uint8Array | null; bits: number }): boolean {
  const whole = range.bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== range.bytes?.[i]) return false;
  const mask = (0xff00 >> (range.bits & 7)) & 0xff;
  return mask === 0 || ((bytes[whole] ?? 0) & mask) === ((range.bytes?.[whole] ?? 0) & mask);
}

/** 4 or 16 bytes; null for what `net.isIP` does not take, and for zone ids. */
export function addressBytes(text: string): Uint8Array | null {
  if (isIP(text) === 0 || text.includes('%')) return null;
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain = dotted === null ? text : `${dotted[1]}${hex2(dotted[2], dotted[3])}:${hex2(dotted[4], dotted[5])}`;
  const [head = '', tail] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return Uint8Array.from(
    groups.flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 255];
    }),
  );
}

function hex2(high = '0', low = '0'): string {
  return (Number(high) * 256 + Number(low)).toString(16);
}

export function sameAddress(a: string, b: string): boolean {
  const [x, y] = [addressBytes(a), addressBytes(b)];
  return x !== null && y !== null && Buffer.compare(plainBytes(x), plainBytes(y)) === 0;
}

function plainBytes(bytes: Uint8Array): Uint8Array {
  const mapped =
    bytes.length === 16 && bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return mapped ? bytes.subarray(12) : bytes;
}
