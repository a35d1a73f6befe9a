import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { guestOwner } from './owner.ts';

test('root’s guest is a user that is nobody on this machine; another’s guest is that user', () => {
  const owner = guestOwner();
  if (process.geteuid?.() !== 0) {
    expect(owner).toBeNull();
    return;
  }
  expect(owner).not.toBeNull();
  const [uid, gid] = [owner?.uid ?? 0, owner?.gid ?? 0];
  const ids = (file: string) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => Number(line.split(':')[2]));
  expect(uid).toBeGreaterThan(0);
  expect(ids('/etc/passwd')).not.toContain(uid);
  expect(ids('/etc/group')).not.toContain(gid);
});
