/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: '61b67c06e04771b8bc7d90134e580cc3692392f97e4dffaa5e9a3aa70af00b64',
  arm64: '650c5fcc2fae4f708b4caf430a5edb463a0bd4bf2bd0d39d405fe86e1b2bfd6b',
} as const;
