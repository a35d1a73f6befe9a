import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import { createOnce, writeDurably } from '../base/durable-file.ts';
import { type Decision, decide, type EffectivePolicy, type PolicyAction, subjectDigest } from '../policy/index.ts';

const KEY_FILE = 'memo.key';
const CAPACITY = 64;

/**
 * Decisions of earlier processes. Deciding is a pure function of the policy's digest (which covers the compiler and the
 * engine) and of the subject's, so the same question has the same answer; starting the engine only to ask it again is
 * most of what a short run costs. Every entry is authenticated with a key of this installation: one that anybody else
 * wrote, or that was changed, counts as not there. Only speed depends on this file.
 */
export class DecisionMemo {
  readonly #file: string;
  readonly #keys: string;
  #entries: Map<string, { readonly decision: Decision; readonly mac: string }> | null = null;
  #key: Buffer | null = null;

  constructor(home: string, keys: string) {
    this.#file = join(home, 'decisions.json');
    this.#keys = keys;
  }

  /** As `decide`. The reason and the rules are those of the first time: they are part of the same function. */
  async decide(policy: EffectivePolicy, action: PolicyAction): Promise<Decision> {
    // File names are not part of the policy's digest, but its reasons cite them.
    const files = digest(canonicalJson([policy.grantFile, ...policy.layers.map(({ file }) => file)]));
    const name = `${policy.digest} ${subjectDigest(action)} ${files}`;
    await this.#load();
    const known = this.#entries?.get(name);
    if (known !== undefined && this.#fits(name, known)) return known.decision;
    const decision = decide(policy, action);
    await this.#save(name, decision);
    return decision;
  }

  async #load(): Promise<void> {
    if (this.#entries !== null) return;
    this.#entries = new Map();
    try {
      const file = join(this.#keys, KEY_FILE);
      if (!existsSync(file)) await createOnce(this.#keys, KEY_FILE, randomBytes(32));
      this.#key = readFileSync(file);
      const saved = JSON.parse(await readFile(this.#file, 'utf8')) as [string, { decision: Decision; mac: string }][];
      this.#entries = new Map(saved.slice(-CAPACITY));
    } catch {
      // Nothing to go by: every decision is made anew.
    }
  }

  #fits(name: string, entry: { readonly decision: Decision; readonly mac: string }): boolean {
    try {
      const expected = Buffer.from(this.#mac(name, entry.decision));
      const found = Buffer.from(String(entry.mac));
      return expected.length === found.length && timingSafeEqual(expected, found);
    } catch {
      return false; // not even of the form of a decision
    }
  }

  #mac(name: string, decision: Decision): string {
    if (this.#key === null || this.#key.length !== 32) throw new Error('no key');
    return createHmac('sha256', this.#key)
      .update(canonicalJson([name, decision as unknown as Json]))
      .digest('hex');
  }

  async #save(name: string, decision: Decision): Promise<void> {
    try {
      this.#entries?.set(name, { decision, mac: this.#mac(name, decision) });
      await writeDurably(this.#file, JSON.stringify([...(this.#entries ?? [])].slice(-CAPACITY)));
    } catch {
      // The next process decides anew.
    }
  }
}
