import { findCredential } from '../../base/redact/index.ts';
import type { Finding } from './checks.ts';
import { looseCredential } from './loose-credentials.ts';

/** Names one by one; what is more changes nothing about the verdict. */
const NAMED = 100;

/**
 * Looks for credentials in all that a push brings: contents, commits with every header they have, names of files and refs. What it
 * finds is `evidence`; whether that is a reason to refuse is the policy's to say.
 */
export class SecretScan {
  found = false;
  readonly #findings: Finding[];
  readonly #secretIn: ((bytes: Buffer | string) => string | null) | undefined;
  #named = 0;

  /** `secretIn`: the name of a secret of this run in the bytes, in any encoding, or null. */
  constructor(secretIn: ((bytes: Buffer | string) => string | null) | undefined, findings: Finding[]) {
    this.#secretIn = secretIn;
    this.#findings = findings;
  }

  commit(bytes: Buffer, commit: string): void {
    const hit = this.#look(bytes);
    if (hit === null) return;
    const end = bytes.indexOf('\n\n');
    const part =
      hit.at === null
        ? 'it'
        : hit.at < end
          ? 'one of its headers'
          : `line ${newlines(bytes, end + 2, hit.at) + 1} of its message`;
    this.#add(commit, null, undefined, hit.kind, part);
  }

  names(ref: string, paths: ReadonlyMap<string, string>): void {
    const hit = this.#look(Buffer.from(ref));
    if (hit !== null) this.#add(null, null, undefined, hit.kind, 'the name of the branch');
    for (const [path, commit] of paths) {
      const name = this.#look(Buffer.from(path));
      if (name !== null) this.#add(commit, null, undefined, name.kind, 'the name of a file');
    }
  }

  /** `place`: a path at which it stands, and the commit that puts it there. */
  blob(bytes: Buffer, oid: string, place: readonly [path: string, commit: string] | undefined): void {
    const hit = this.#look(bytes);
    if (hit === null) return;
    const line = hit.at === null ? undefined : newlines(bytes, 0, hit.at) + 1;
    const where = place === undefined ? `blob ${oid.slice(0, 12)}` : 'the file';
    this.#add(place?.[1] ?? null, place?.[0] ?? null, line, hit.kind, where);
  }

  /** `at` is null where only the whole is known to hold it: encoded, a value has no one place. */
  #look(bytes: Buffer): { kind: string; at: number | null } | null {
    const shape = findCredential(bytes) ?? looseCredential(bytes);
    if (shape !== null) return shape;
    const name = this.#secretIn?.(bytes) ?? null;
    return name === null ? null : { kind: name, at: null };
  }

  #add(commit: string | null, path: string | null, line: number | undefined, kind: string, where: string): void {
    this.found = true;
    if (this.#named++ >= NAMED) return;
    this.#findings.push({
      severity: 'evidence',
      path,
      commit,
      ...(line === undefined ? {} : { line }),
      message: `${where} holds what looks like a credential (${kind})`,
    });
  }
}

function newlines(bytes: Buffer, from: number, to: number): number {
  let lines = 0;
  for (let at = bytes.indexOf(10, from); at >= 0 && at < to; at = bytes.indexOf(10, at + 1)) lines++;
  return lines;
}
