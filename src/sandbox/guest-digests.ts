/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: 'e96505d760270847300e962abc97a225f70b2dde6f345d4fa843598760316559',
  arm64: '5a0b03d62d8bde8a3ad9e3d590febe351e6d68878a400de38cd9ab28f3b2bbd1',
} as const;
