import { defineConfig } from 'vitest/config';

// Two kinds of tests: pure ones beside the code, and whole-system ones under test/ that start real sandboxes.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A condition is waited for as long as its test may take: how soon it comes is the machine's affair.
    expect: { poll: { timeout: 50_000, interval: 20 } },
    pool: 'forks',
  },
});
