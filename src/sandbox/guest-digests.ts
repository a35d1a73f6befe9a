/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: 'e3cf4a112a588c34f3ba9c9516e583a76c0f45a025607ebb52084719f624aa2e',
  arm64: 'b8c5282fb147deee749a1305eb3b152593ddc80e719328a210dbbd1891d4e999',
} as const;
