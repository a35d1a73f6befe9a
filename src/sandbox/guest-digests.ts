/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: '4a6d092c5c273d204127af9978bc0f8a4d8fcf27d4ef13df7b30ca973477adc5',
  arm64: '762f1c815f10f0a5dc43406d173657d1685d4f9cc670bfe03ef669323ea5d882',
} as const;
