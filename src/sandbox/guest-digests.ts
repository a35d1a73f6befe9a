/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: '09d18f36586e436ebc8f99e1a308b40c133bcd750c8d0c7e3ac8d885ec971e38',
  arm64: '2e441c306bf35ebfdc1be2f781e06cfe1a8d7b8c3af598af0e1c484bf766e986',
} as const;
