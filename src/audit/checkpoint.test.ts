import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as cp from './checkpoint.ts';

/** The example of golang.org/x/mod/sumdb/note: Ed25519 is deterministic, so the bytes must come out the same. */
const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const skey = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const note = `${text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;
/** The example of c2sp.org/signed-note's test data. */
const other = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const otherNote =
  'This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n';

describe('signed notes', () => {
  test('are byte for byte what other implementations make and take', () => {
    const signer = cp.parseSignerKey(skey);
    expect(signer.vkey).toBe(vkey);
    expect(signer.skey).toBe(skey);
    expect(cp.signNote(text, signer)).toBe(note);
    expect(cp.openNote(note, cp.parseVerifierKey(vkey))).toBe(text);
    expect(cp.openNote(otherNote, cp.parseVerifierKey(other))).toBe('This is an example message.\n');
  });

  test('carry signatures of unknown keys, which prove nothing', () => {
    const witnessed = note + otherNote.slice(otherNote.indexOf('—'));
    expect(cp.openNote(witnessed, cp.parseVerifierKey(vkey))).toBe(text);
    expect(() => cp.openNote(note, cp.parseVerifierKey(other))).toThrow(cp.NoteError);
  });

  test('are refused after any change of a character', () => {
    const verifier = cp.parseVerifierKey(vkey);
    fc.assert(
      fc.property(fc.nat(note.length - 1), fc.constantFrom('a', 'B', '=', ' ', '\n', '\0', '+', '—'), (at, char) => {
        fc.pre(note[at] !== char);
        expect(() => cp.openNote(note.slice(0, at) + char + note.slice(at + 1), verifier)).toThrow(cp.NoteError);
      }),
      { numRuns: 500 },
    );
  });

  test.each(['', '\n', 'text', 'text\n', 'text\n\n', `${text}\n`, 'a'.repeat(1 << 20)])('refuse %j', (wrong) => {
    expect(() => cp.openNote(wrong, cp.parseVerifierKey(vkey))).toThrow(cp.NoteError);
  });
});

test('keys: any mangled one is refused', () => {
  for (let i = 0; i < vkey.length; i++) {
    expect(() => cp.parseVerifierKey(vkey.slice(0, i))).toThrow(cp.NoteError);
    expect(() => cp.parseVerifierKey(vkey.slice(0, i) + (vkey[i] === 'x' ? 'y' : 'x') + vkey.slice(i + 1))).toThrow(
      cp.NoteError,
    );
  }
  expect(() => cp.parseSignerKey(vkey)).toThrow(cp.NoteError);
  expect(() => cp.signerFromSeed('two words', Buffer.alloc(32))).toThrow(cp.NoteError);
});

describe('checkpoints', () => {
  const signer = cp.signerFromSeed('cordon/test', Buffer.alloc(32, 7));

  test('come back as they were signed', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.uint8Array({ minLength: 32, maxLength: 32 }), (size, root) => {
        const opened = cp.openCheckpoint(cp.signCheckpoint({ size, root }, signer), signer);
        expect(opened).toEqual({ origin: 'cordon/test', size, root: Buffer.from(root) });
      }),
    );
  });

  test.each([
    'o\n1\n',
    'o\n01\nAAAA\n',
    'o\n-1\nAAAA\n',
    `o\n9007199254740993\n${Buffer.alloc(32).toString('base64')}\n`,
    `o\n1\n${Buffer.alloc(31).toString('base64')}\n`,
    `\n1\n${Buffer.alloc(32).toString('base64')}\n`,
    `o\n1\n${Buffer.alloc(32).toString('base64')}`,
    `o\n1\n${Buffer.alloc(32).toString('base64')}\n\nx\n`,
  ])('refuse %j', (wrong) => {
    expect(() => cp.parseCheckpoint(wrong)).toThrow(cp.NoteError);
  });

  test('of another log under the same key are refused', () => {
    const forged = cp.signNote(cp.formatCheckpoint({ origin: 'cordon/else', size: 1, root: Buffer.alloc(32) }), signer);
    expect(() => cp.openCheckpoint(forged, signer)).toThrow(/not of cordon\/test/);
  });
});
