import { createHash } from 'node:crypto';

const FLAG_EXTENDED = 0x4000;
const NAME_MASK = 0x0fff;
const STAT_BYTES = 40;

/**
 * Rewrites the modification time that a git index (gitformat-index(5), versions 2 and 3) records for every file that is
 * in the working tree, and its checksum. Why: all files of a cached checkout carry one time in the past, so that
 * a change a guest makes can never hide in git's race window (same second, same size), and so that `git status` reads
 * no file to find that out. Doing it here costs milliseconds; `update-index --refresh` would hash every file again.
 *
 * `seconds` is Unix time. Throws `RangeError` for anything but an index that this git just wrote.
 */
export function setIndexTimes(index: Uint8Array, seconds: number, algorithm: 'sha1' | 'sha256'): Buffer {
  const bytes = Buffer.from(index);
  const hashBytes = algorithm === 'sha1' ? 20 : 32;
  const version = bytes.readUInt32BE(4);
  if (bytes.toString('latin1', 0, 4) !== 'DIRC' || (version !== 2 && version !== 3)) {
    throw new RangeError(`not a git index of version 2 or 3 (${version})`);
  }
  let at = 12;
  for (let left = bytes.readUInt32BE(8); left > 0; left--) {
    const start = at;
    // Entries outside of a sparse checkout are all zero and stay so.
    if (bytes.readUInt32BE(start + 8) !== 0) {
      bytes.writeUInt32BE(seconds, start + 8);
      bytes.writeUInt32BE(0, start + 12);
    }
    const flags = bytes.readUInt16BE(start + STAT_BYTES + hashBytes);
    const name = start + STAT_BYTES + hashBytes + (flags & FLAG_EXTENDED ? 4 : 2);
    const end = (flags & NAME_MASK) === NAME_MASK ? bytes.indexOf(0, name) : name + (flags & NAME_MASK);
    if (end < 0 || bytes[end] !== 0) throw new RangeError('git index entry without an end');
    at = start + (Math.floor((end - start) / 8) + 1) * 8;
  }
  const body = bytes.subarray(0, bytes.length - hashBytes);
  createHash(algorithm).update(body).digest().copy(bytes, body.length);
  return bytes;
}
