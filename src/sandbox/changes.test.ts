import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sha256Hex } from '../base/digest.ts';
import { LimitError, OutsideError } from '../base/errors.ts';
import { copyOut, workspaceChanges } from './changes.ts';

// Overlays themselves are tried in test/conformance/sandbox.ts; here are bounds, and what no overlay is needed for.
let root: string;
let lower: string;
let upper: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cordon-changes-'));
  lower = join(root, 'lower');
  upper = join(root, 'upper');
  mkdirSync(lower);
  mkdirSync(upper);
});
afterEach(() => rmSync(root, { recursive: true }));

const PLENTY = 1 << 30;
/** As of a workspace that is a copy: what is there now is all in one folder. */
const changes = (bytes = PLENTY, limit?: number) => [
  ...workspaceChanges({ upper, lower, merged: upper }, bytes, limit),
];
const began = (bytes = PLENTY) => [...workspaceChanges({ upper, lower: null, merged: upper }, bytes)];

describe('changes', () => {
  test('a workspace that began empty: all of it is new', () => {
    mkdirSync(join(upper, 'dir'));
    writeFileSync(join(upper, 'dir/file'), 'x');
    symlinkSync('/etc/passwd', join(upper, 'link'));
    expect(began()).toEqual([
      { path: 'dir', change: 'added', kind: 'directory', before: null, after: null },
      { path: 'dir/file', change: 'added', kind: 'file', before: null, after: sha256Hex('x') },
      { path: 'link', change: 'added', kind: 'symlink', before: null, after: sha256Hex('/etc/passwd') },
    ]);
  });

  test('what is the same on both sides is no change', () => {
    for (const side of [lower, upper]) {
      writeFileSync(join(side, 'same'), 'x');
      symlinkSync('same', join(side, 'link'));
      mkdirSync(join(side, 'dir'));
    }
    expect(changes()).toEqual([]);
  });

  test('a link whose target is not there, and one in place of a file', () => {
    writeFileSync(join(lower, 'file'), 'x');
    symlinkSync('nowhere', join(upper, 'file'));
    expect(changes()).toEqual([
      { path: 'file', change: 'modified', kind: 'symlink', before: sha256Hex('x'), after: sha256Hex('nowhere') },
    ]);
  });

  test('more entries than the limit, deeper folders than any program makes: refused, not endless', () => {
    for (let i = 0; i < 11; i++) writeFileSync(join(upper, `${i}`), '');
    expect(() => changes(PLENTY, 10)).toThrow(LimitError);
    expect(changes(PLENTY, 11)).toHaveLength(11);
    let at = upper;
    for (let i = 0; i < 300; i++) {
      at = join(at, 'd');
      mkdirSync(at);
    }
    expect(() => changes()).toThrow(LimitError);
  });

  test('holes do not make us read for ever', () => {
    writeFileSync(join(upper, 'sparse'), '');
    truncateSync(join(upper, 'sparse'), 1 << 30);
    expect(() => changes(1 << 20)).toThrow(LimitError);
  });
});

describe('copyOut', () => {
  test('a file, up to its limit', () => {
    mkdirSync(join(upper, 'a'));
    writeFileSync(join(upper, 'a/b'), 'bytes');
    expect(copyOut(upper, 'a/b', 5).toString()).toBe('bytes');
    expect(() => copyOut(upper, 'a/b', 4)).toThrow(LimitError);
  });

  test.each([
    '..',
    '../lower/x',
    'a/../a/b',
    '/a/b',
    './a/b',
    'a//b',
    '',
    'a/b/',
    'a\0b',
    'absent',
    'a',
    'out/x',
    'loop',
  ])('%j is refused', (path) => {
    mkdirSync(join(upper, 'a'));
    writeFileSync(join(upper, 'a/b'), 'bytes');
    writeFileSync(join(lower, 'x'), 'not yours');
    symlinkSync('../lower', join(upper, 'out'));
    symlinkSync('loop', join(upper, 'loop'));
    expect(() => copyOut(upper, path, 100)).toThrow(OutsideError);
  });
});
