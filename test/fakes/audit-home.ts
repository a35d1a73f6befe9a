import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export * from './audit-events.ts';

/** A home for a log that goes away with the test. */
export function newHome(): { dir: string; keys: string } {
  const home = mkdtempSync(join(tmpdir(), 'cordon-audit-'));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  return { dir: join(home, 'audit'), keys: join(home, 'keys') };
}
