import type { Problem } from '../base/errors.ts';
import type { ActionName } from './action.ts';
import { durationText } from './amounts.ts';
import { type Cedar, cedar } from './cedar.ts';
import { actionNames, cedarSchema, contexts } from './cedar-schema.ts';
import { closest } from './closest.ts';
import type { RuleRef } from './decision.ts';
import { type Finding, nonCanonical } from './literals.ts';
import { cite, type Layer, type Role, type RuleBook, valuesOf } from './rule.ts';
import { defaultExpiry, PROTECTED_PHRASE } from './tree-rules.ts';

/**
 * `rules`: Cedar text of a document, and the Cedar conditions of `approvals`. Parsed and validated strictly, each problem
 * at its own line of the document. `@ask` on a permit: permitted after asking; on a forbid: forbidden unless approved.
 */
export function compileRaw(layer: Layer, book: RuleBook): Problem[] {
  const text = valuesOf(layer).rules;
  if (text === undefined || layer.document === null || text.trim() === '') return [];
  const { yaml } = layer.document;
  const block = yaml.block(['rules']);
  const at: Locate = (offset) => {
    const before = text.slice(0, offset).split('\n');
    return { line: block.line + before.length - 1, column: block.indent + (before.at(-1)?.length ?? 0) + 1 };
  };
  const compiler = new RawCompiler(layer, book, at);
  const parts = split(text, (problem, offset) => compiler.report(offset, problem));
  const sound = compiler.validate(parts);
  for (const part of parts) if (sound.has(part)) compiler.add(part);
  return compiler.problems;
}

/** One condition of `approvals` as a rule that asks. */
export function compileApprovalCondition(layer: Layer, book: RuleBook, index: number): Problem[] {
  const entry = valuesOf(layer).approvals?.[index];
  if (entry?.if === undefined || layer.document === null) return [];
  const place = layer.document.yaml.place(['approvals', index, 'if']);
  const compiler = new RawCompiler(layer, book, () => place, `approvals.${index}.if`);
  const approval = { approvers: entry.approvers, count: entry.count ?? 1, expiresMs: entry.expires ?? defaultExpiry };
  const rule = cite(
    layer,
    ['approvals', index],
    `approvals: ${approval.count} of ${approval.approvers.join(', ')} within ${durationText(approval.expiresMs)} if ${entry.if}`,
    true,
  );
  const head = `permit (principal, action == Action::"${entry.when}", resource) when { `;
  const cedarText = `${head}${entry.if}\n};`;
  const parsed = cedar().policyToJson(cedarText);
  if (parsed.type === 'failure') {
    compiler.report(0, {
      message: `rules: ${parsed.errors[0]?.message.replace('failed to parse policy from string: ', '') ?? 'no condition'}`,
      remedy: `write "${PROTECTED_PHRASE}", or a Cedar condition such as context.changedLines > 500`,
    });
    return compiler.problems;
  }
  if (compiler.validate([{ text: cedarText, offset: 0 }]).size > 0) {
    for (const odd of nonCanonical(parsed.json, [entry.when])) compiler.report(0, odd);
    book.push(
      {
        role: 'ask',
        side: layer.side,
        actions: [entry.when],
        rule,
        entries: [],
        approval,
        why: () => 'it needs an approval',
      },
      layer,
      parsed.json,
    );
  }
  return compiler.problems;
}

type Locate = (offset: number) => { line: number; column: number };
type Part = { text: string; offset: number };

/** The policies of a text, each with its offset. The engine returns them by id, not in order, so each is looked up. */
function split(text: string, report: (finding: Finding, offset: number) => void): Part[] {
  const check = cedar().policySetTextToParts(text);
  if (check.type === 'failure') {
    for (const error of check.errors) {
      const label = error.sourceLocations?.[0];
      const detail = label?.label ? ` (${label.label})` : '';
      report(
        {
          message: `rules: ${error.message.replace('failed to parse policies from string: ', '')}${detail}`,
          remedy: 'Cedar: permit|forbid (principal, action == Action::"…", resource) when { … };',
        },
        charOffset(text, label?.start ?? 0),
      );
    }
    return [];
  }
  for (const template of check.policy_templates)
    report(
      { message: 'rules: templates (?principal, ?resource) are not taken', remedy: 'write the policy out' },
      Math.max(text.indexOf(template), 0),
    );
  const used = new Set<number>();
  const parts = check.policies.map((policy) => {
    let offset = text.indexOf(policy);
    while (used.has(offset)) offset = text.indexOf(policy, offset + 1);
    used.add(offset);
    return { text: policy, offset: Math.max(offset, 0) };
  });
  return parts.sort((a, b) => a.offset - b.offset);
}

/** The engine counts bytes of UTF-8. */
function charOffset(text: string, bytes: number): number {
  return Buffer.from(text).subarray(0, bytes).toString().length;
}

class RawCompiler {
  readonly problems: Problem[] = [];
  readonly #layer: Layer;
  readonly #book: RuleBook;
  readonly #at: Locate;
  readonly #section: string;

  /** `section`: the part of the document that is read, as messages name it. */
  constructor(layer: Layer, book: RuleBook, at: Locate, section = 'rules') {
    this.#layer = layer;
    this.#book = book;
    this.#at = at;
    this.#section = section;
  }

  report(offset: number, finding: Finding): void {
    const message = finding.message.replace(/^rules(?=: )/, this.#section);
    this.problems.push({ file: this.#layer.file, ...this.#at(offset), ...finding, message });
  }

  /** Takes a policy that `validate` found sound. */
  add({ text, offset }: Part): void {
    const parsed = cedar().policyToJson(text);
    if (parsed.type === 'failure') {
      this.report(offset, { message: `rules: ${parsed.errors[0]?.message}` });
      return;
    }
    const role = this.#role(parsed.json, offset);
    if (role === undefined) return;
    for (const odd of nonCanonical(parsed.json, actionsOf(parsed.json))) this.report(offset, odd);
    const oneLine = text.replace(/\s+/g, ' ').trim();
    const line = this.#at(offset).line;
    const rule: RuleRef = { layer: this.#layer.name, file: this.#layer.file, line, text: oneLine };
    const json: Cedar.PolicyJson = { ...parsed.json, effect: role === 'forbid' ? 'forbid' : 'permit' };
    const why = role === 'forbid' ? 'a rule forbids it' : 'a rule asks';
    this.#book.push(
      { role, side: this.#layer.side, actions: actionsOf(parsed.json), rule, entries: [], why: () => why },
      this.#layer,
      json,
    );
  }

  /**
   * Strict validation: unknown attributes and actions, wrong types, and policies that can never apply, are all problems.
   * In one call, because each reads the whole schema. Returns the policies that have none.
   */
  validate(parts: readonly Part[]): ReadonlySet<Part> {
    if (parts.length === 0) return new Set();
    const staticPolicies = Object.fromEntries(parts.map((part, i) => [`rule${i}`, part.text]));
    const answer = cedar().validate({ schema: cedarSchema, policies: { staticPolicies } });
    if (answer.type === 'failure') {
      this.report(parts[0]?.offset ?? 0, { message: `rules: ${answer.errors[0]?.message}` });
      return new Set();
    }
    const sound = parts.filter((part, i) => {
      const own = (all: readonly Cedar.ValidationError[]) => all.filter((finding) => finding.policyId === `rule${i}`);
      const errors = own(answer.validationErrors);
      return this.#reportFindings(part, errors.length > 0 ? errors : own(answer.validationWarnings)) === 0;
    });
    return new Set(sound);
  }

  /** Each message once: the engine repeats it for every action that a policy applies to. */
  #reportFindings(part: Part, findings: readonly Cedar.ValidationError[]): number {
    const messages = new Map(
      findings.map(({ error }) => [error.message.replace(/^for policy `rule\d+`, /, ''), error]),
    );
    for (const [message, error] of messages) {
      const start = part.offset + charOffset(part.text, error.sourceLocations?.[0]?.start ?? 0);
      const remedy = attributeHelp(message) ?? error.help;
      this.report(start, { message: `rules: ${message}`, ...(remedy === null ? {} : { remedy }) });
    }
    return messages.size;
  }

  #role(policy: Cedar.PolicyJson, offset: number): Role | undefined {
    const annotations = Object.keys(policy.annotations ?? {});
    // A misspelt @ask would turn "after asking" into "always": nothing unknown may pass.
    const odd = annotations.find((name) => name !== 'ask' && name !== 'id');
    if (odd !== undefined) {
      this.report(offset, { message: `rules: the annotation @${odd} is not known`, remedy: '@ask and @id("…") are' });
      return undefined;
    }
    const asks = annotations.includes('ask');
    if (policy.effect === 'permit') return asks ? 'ask-grant' : 'permit';
    return asks ? 'ask' : 'forbid';
  }
}

/** The engine's own guess at what a misspelt attribute was meant to be is the nearest of all, however far. */
function attributeHelp(message: string): string | undefined {
  const [, attribute = '', action = ''] =
    /attribute `(\w+)` in context for Action::"([\w.]+)" not found/.exec(message) ?? [];
  const names = Object.keys(contexts[action as ActionName] ?? {});
  if (names.length === 0) return undefined;
  const near = closest(attribute, names);
  return near === undefined ? `attributes of ${action} are ${names.join(', ')}` : `did you mean \`${near}\`?`;
}

function actionsOf(policy: Cedar.PolicyJson): readonly ActionName[] {
  const { action } = policy;
  if (action.op === 'All') return actionNames;
  const entities = 'entities' in action ? action.entities : 'entity' in action ? [action.entity] : [];
  const ids = entities.map((entity) => ('__entity' in entity ? entity.__entity.id : entity.id));
  return actionNames.filter((name) => ids.includes(name));
}
