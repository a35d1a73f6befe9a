import { defineConfig } from 'vitest/config';

// Two kinds of tests: pure ones beside the code, and whole-system ones under test/ that start real sandboxes.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
  },
});
