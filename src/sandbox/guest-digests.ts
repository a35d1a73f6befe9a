/** SHA-256 of the programs in src/guest/bin; written by scripts/build-guest.ts. */
export const guestDigests = {
  x64: 'c3374b4a186e0f15cdd52ee8e49195270db021cf11804c07856b5257af1c59dc',
  arm64: '360eb52405d5370d0551ef64c19c3dd46f561af453983d40aed94e7df9db4387',
} as const;
