import { expect, test } from 'vitest';
import { addressBytes, addressKind, sameAddress } from './addresses.ts';

test.each([
  ['93.184.216.34', 'global'],
  ['2606:2800:220:1::1', 'global'],
  ['64:ff9b::5db8:d822', 'global'],
  ['::ffff:93.184.216.34', 'global'],
  ['10.255.255.255', 'private'],
  ['11.0.0.0', 'global'],
  ['100.63.255.255', 'global'],
  ['100.64.0.0', 'private'],
  ['100.127.255.255', 'private'],
  ['100.128.0.0', 'global'],
  ['172.15.255.255', 'global'],
  ['172.16.0.0', 'private'],
  ['172.32.0.0', 'global'],
  ['127.255.255.254', 'local'],
  ['169.254.169.254', 'link-local'],
  ['168.63.129.16', 'link-local'],
  ['168.63.129.17', 'global'],
  ['198.19.255.255', 'reserved'],
  ['223.255.255.255', 'global'],
  ['239.1.1.1', 'reserved'],
  ['255.255.255.255', 'reserved'],
  ['::1', 'local'],
  ['::', 'reserved'],
  ['::127.0.0.1', 'reserved'],
  ['::ffff:10.0.0.1', 'private'],
  ['::ffff:a9fe:a9fe', 'link-local'],
  ['64:ff9b::7f00:1', 'local'],
  ['64:ff9b:1::1', 'private'],
  ['fd12::1', 'private'],
  ['fd00:ec2::254', 'link-local'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'reserved'],
  ['fec0::1', 'reserved'],
  ['ff02::1', 'reserved'],
  ['2001:0:53aa:64c::1', 'reserved'],
  ['2001:db8::1', 'reserved'],
  ['2002:5db8:d822::1', 'global'],
  ['2002:a00:1::1', 'reserved'],
  ['2a00::5efe:a00:1', 'reserved'],
  ['4000::1', 'reserved'],
  ['010.0.0.1', 'reserved'],
  ['127.1', 'reserved'],
  ['localhost', 'reserved'],
  ['', 'reserved'],
])('%s is %s', (address, kind) => {
  expect(addressKind(address)).toBe(kind);
});

test('bytes of every spelling', () => {
  expect(addressBytes('1:2::8')).toEqual(Uint8Array.from([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8]));
  expect(sameAddress('::ffff:1.2.3.4', '1.2.3.4')).toBe(true);
  expect(sameAddress('2001:DB8:0:0::1', '2001:db8::1')).toBe(true);
  expect(sameAddress('1.2.3.4', '1.2.3.5')).toBe(false);
});
