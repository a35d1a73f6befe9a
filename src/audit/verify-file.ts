import { closeSync, constants, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { AuditInvalidError } from '../base/errors.ts';
import { strictJsonParse } from '../base/strict-json.ts';
import { summarise } from './bundle-check.ts';
import { type Checkpoint, NoteError, openCheckpoint, type Verifier } from './checkpoint.ts';
import { type ExportHeader, exportHeaderSchema, exportLineSchema } from './export.ts';
import { emptyFrontier, extend, type Frontier, frontierRoot, leafHash, verifyInclusion } from './merkle.ts';
import type { VerifyReport } from './problem.ts';
import { decodeProof, parseProof, verifyProof } from './proof.ts';
import { checkRecord } from './record-check.ts';
import type { VerifyOptions } from './verify.ts';
import { Findings } from './verify-state.ts';

/** A record of 64 KiB whose every byte is escaped as `\u00XX`, and a proof of 64 hashes, fit in well. Bytes. */
const MAX_LINE = 1024 * 1024;

class LineError extends Error {}

/** The lines of a file of any length, in bounded memory. Throws `LineError` for one that is too long. */
function* lines(path: string): Generator<string> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const buffer = Buffer.allocUnsafe(256 * 1024);
    let rest = Buffer.alloc(0);
    for (let got = readSync(fd, buffer); got > 0; got = readSync(fd, buffer)) {
      let data = Buffer.concat([rest, buffer.subarray(0, got)]);
      for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
        yield data.toString('utf8', 0, end);
        data = data.subarray(end + 1);
      }
      if (data.length > MAX_LINE) throw new LineError(`a line is longer than ${MAX_LINE} bytes`);
      rest = Buffer.from(data);
    }
    if (rest.length > 0) yield rest.toString();
  } finally {
    closeSync(fd);
  }
}

/** Verifies an export in one file, or a proof. */
export function verifyFile(path: string, verifier: Verifier, options: VerifyOptions): VerifyReport {
  const where = basename(path);
  const input = lines(path);
  let findings = new Findings(where);
  try {
    const text = input.next().value ?? '';
    const header = parseHeader(text);
    if (header === null) return verifyProofDocument([text, ...input].join('\n'), where, verifier);
    const seen = new Set<number>();
    findings = new Findings(where, header.kind === 'run' ? (seq) => seen.has(seq) : null);
    const check = new ExportCheck(header, openCheckpoint(header.checkpoint, verifier), where, findings, seen);
    check.trust(options.trusted ?? [], verifier);
    for (const line of input) if (!check.line(line)) break;
    check.finish();
    return findings.report(
      header.kind === 'log' ? 'export' : 'run',
      verifier,
      { size: check.size, note: header.checkpoint },
      options.aliveRuns,
    );
  } catch (error) {
    if (!(error instanceof NoteError || error instanceof LineError)) throw error;
    const code = error instanceof NoteError ? 'checkpoint_invalid' : 'file_malformed';
    findings.problem(
      code,
      null,
      where,
      error instanceof NoteError ? `the checkpoint cannot be used: ${error.message}` : error.message,
    );
    return findings.report('export', verifier, { size: 0, note: null }, options.aliveRuns);
  } finally {
    input.return(undefined);
  }
}

function parseHeader(line: string): ExportHeader | null {
  try {
    return exportHeaderSchema.parse(strictJsonParse(line));
  } catch {
    return null;
  }
}

function verifyProofDocument(text: string, where: string, verifier: Verifier): VerifyReport {
  const findings = new Findings(where);
  let size = 0;
  let note: string | null = null;
  try {
    const proof = parseProof(text);
    size = verifyProof(proof, verifier.vkey).size;
    note = proof.checkpoint;
  } catch (error) {
    if (!(error instanceof AuditInvalidError)) throw error;
    findings.problem('proof_invalid', null, where, error.message);
  }
  const report = findings.report('proof', verifier, { size, note });
  return { ...report, records: report.ok ? 1 : 0 };
}

class ExportCheck {
  readonly #header: ExportHeader;
  readonly #checkpoint: Checkpoint;
  readonly #where: string;
  readonly #findings: Findings;
  readonly #seen: Set<number>;
  #trusted: Checkpoint[] = [];
  #tree: Frontier = emptyFrontier;
  #last = -1;
  #count = 0;

  constructor(header: ExportHeader, checkpoint: Checkpoint, where: string, findings: Findings, seen: Set<number>) {
    this.#header = header;
    this.#checkpoint = checkpoint;
    this.#where = where;
    this.#findings = findings;
    this.#seen = seen;
  }

  get size(): number {
    return this.#checkpoint.size;
  }

  trust(notes: readonly string[], verifier: Verifier): void {
    for (const note of notes) {
      const trusted = openCheckpoint(note, verifier);
      if (trusted.size <= this.size) this.#trusted.push(trusted);
      else
        this.#problem(
          'rollback',
          this.size,
          `an earlier checkpoint has ${trusted.size} records, the export has ${this.size}`,
        );
    }
  }

  /** False when there is no use in going on. */
  line(text: string): boolean {
    const due = this.#header.kind === 'log' ? this.#last + 1 : null;
    const line = parseLine(text);
    if (line === null) {
      this.#problem('file_malformed', due, `line ${this.#count + 2} is not a record of an export`);
      return false;
    }
    const { seq, record, proof } = line;
    if (due === null ? seq <= this.#last : seq !== due) {
      this.#problem('record_seq', seq, `record ${seq} stands where ${due ?? `one after ${this.#last}`} is due`);
      return false;
    }
    this.#last = seq;
    this.#count++;
    this.#seen.add(seq);
    const bytes = Buffer.from(record);
    const leaf = leafHash(bytes);
    if (this.#header.kind === 'log') this.#grow(leaf);
    else this.#prove(seq, leaf, proof);
    this.#semantics(seq, bytes);
    return true;
  }

  #grow(leaf: Uint8Array): void {
    this.#tree = extend(this.#tree, [leaf]);
    for (const { size, root } of this.#trusted) {
      if (size !== this.#tree.size || Buffer.compare(root, frontierRoot(this.#tree)) === 0) continue;
      this.#problem(
        'rollback',
        null,
        `the first ${size} records are not those of an earlier checkpoint: history was rewritten`,
      );
    }
  }

  #prove(seq: number, leaf: Uint8Array, proof: readonly string[] | undefined): void {
    const hashes = decodeProof(proof ?? []);
    if (hashes !== null && verifyInclusion(leaf, seq, this.size, hashes, this.#checkpoint.root)) return;
    this.#problem(
      'proof_invalid',
      seq,
      `record ${seq}: its proof does not lead to the checkpoint of ${this.size} records`,
    );
  }

  #semantics(seq: number, record: Buffer): void {
    const check = checkRecord(record, seq);
    if (!check.ok) {
      this.#problem(check.code, seq, `record ${seq} ${check.message}`);
      return;
    }
    if (this.#header.kind === 'run' && check.event.run !== this.#header.run) {
      this.#problem('record_malformed', seq, `record ${seq} is of run ${check.event.run}, not of ${this.#header.run}`);
    }
    this.#findings.record(summarise(check.event), check.event.time);
  }

  finish(): void {
    if (this.#count !== this.#header.records) {
      this.#problem(
        'file_malformed',
        this.#last + 1,
        `${this.#count} records, where the first line says ${this.#header.records}`,
      );
    }
    if (this.#header.kind === 'run') return;
    const { size, root } = this.#checkpoint;
    if (this.#tree.size === size && Buffer.compare(frontierRoot(this.#tree), root) === 0) return;
    this.#problem(
      'root_mismatch',
      null,
      `the ${this.#tree.size} records do not make the root of the checkpoint, which has ${size}`,
    );
  }

  #problem(code: Parameters<Findings['problem']>[0], seq: number | null, message: string): void {
    this.#findings.problem(code, seq, this.#where, message);
  }
}

function parseLine(text: string) {
  try {
    return exportLineSchema.parse(strictJsonParse(text));
  } catch {
    return null;
  }
}
