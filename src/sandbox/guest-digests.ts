/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: '50a9d988e3fdbf7ac5292cee4ed27fb9b69595ee3026d91b35467bcc1b6ed3bc',
  arm64: '5c23ddcb6f7a3f307d859d998e397a3f4bdf705b5d95a03e94d1017e5073f935',
} as const;
