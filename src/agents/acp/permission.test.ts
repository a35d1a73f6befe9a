import type { PermissionOption } from '@agentclientprotocol/sdk';
import { describe, expect, test } from 'vitest';
import { answerWith, canonicalTool } from './permission.ts';

describe('the name that is decided upon', () => {
  test.each([
    ['execute', 'git push', 'execute: git push'],
    ['execute', '  git \t\r\n push  ', 'execute: git push'],
    ['edit', '', 'edit'],
    ['', 'x', 'other: x'],
    ['constructor', 'x', 'other: x'],
    ['execute', 'a\x1b[2Jb', 'execute: a\\x1b[2Jb'],
    ['execute', 'a\u202eb\u200bc\0', 'execute: a\\u{202e}b\\u{200b}c\\x00'],
    ['read', 'e\u0301', 'read: \u00e9'],
    ['read', '\ud800', 'read: \\u{d800}'],
  ])('%j %j', (kind, title, tool) => {
    expect(canonicalTool(kind, title)).toBe(tool);
  });

  test('a long title is cut, and no other has its name', () => {
    const [one, two] = ['a', 'b'].map((end) => canonicalTool('execute', `${'x'.repeat(100_000)}${end}`));
    expect(one?.length).toBeLessThan(300);
    expect(one).toMatch(/^execute: x{200}… sha256:[0-9a-f]{64}$/);
    expect(one).not.toBe(two);
  });
});

describe('the answer', () => {
  const option = (kind: string, optionId: string) => ({ kind, optionId, name: 'Allow' }) as PermissionOption;
  const all = [
    option('allow_always', '1'),
    option('reject_always', '2'),
    option('reject_once', '3'),
    option('allow_once', '4'),
  ];

  test('goes by kind, for this one call', () => {
    expect(answerWith(all, true).response.outcome).toEqual({ outcome: 'selected', optionId: '4' });
    expect(answerWith(all, false).response.outcome).toEqual({ outcome: 'selected', optionId: '3' });
    expect(answerWith(all.slice(0, 2), false)).toMatchObject({ option: 'reject_always' });
  });

  test('is none where there is no fitting one: leave for ever is not given', () => {
    for (const [options, permitted] of [
      [all.slice(0, 1), true],
      [[option('allow_once', 'x')], false],
      [[], true],
      [[], false],
    ] as const) {
      expect(answerWith(options, permitted)).toEqual({ response: { outcome: { outcome: 'cancelled' } }, option: null });
    }
  });
});
