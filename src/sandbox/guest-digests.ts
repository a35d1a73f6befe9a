/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: '8abff2a6755826b476c71327ab07f547ed4b0ae10972bcec30fb890a4d0ad8a3',
  arm64: '6d2513aff12bebb839e18214b45a83672ac7c197e8aa0570d94c39b26771b895',
} as const;
