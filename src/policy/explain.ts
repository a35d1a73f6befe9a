import { UsageError } from '../base/errors.ts';
import type { PolicyAction } from './action.ts';
import { parseActionLine } from './action-input.ts';
import { decide } from './decide.ts';
import type { Decision } from './decision.ts';
import type { EffectivePolicy } from './effective.ts';
import { interpreterNote } from './interpreters.ts';
import { subject } from './subject.ts';

/** What would happen to one action, and why. */
export interface Explanation {
  readonly subject: string;
  readonly action: PolicyAction;
  readonly decision: Decision;
  /** What a bare yes or no would hide. */
  readonly notes: readonly string[];
}

/** `words`: an action line, `net.connect host=evil.example:443`, whole or in parts. Throws `UsageError` when it is none. */
export function explain(policy: EffectivePolicy, words: readonly string[]): Explanation {
  const action = parseActionLine(words);
  if (!action.ok) {
    throw new UsageError(action.message, { remedy: action.remedy ?? 'write it as: net.connect host=evil.example:443' });
  }
  return explainAction(policy, action.value);
}

function explainAction(policy: EffectivePolicy, action: PolicyAction): Explanation {
  const decision = decide(policy, action);
  return { subject: subject(action), action, decision, notes: notesOn(policy, action, decision) };
}

function notesOn(policy: EffectivePolicy, action: PolicyAction, decision: Decision): string[] {
  const notes: string[] = [];
  if (action.action === 'command.execute') {
    const note = interpreterNote(action.path);
    if (note !== undefined && decision.effect !== 'deny') notes.push(note);
    if (policy.commands === null)
      notes.push("no list of commands is set: everything in the machine's /usr runs, and what the run builds itself");
    else
      notes.push(
        'the file is what is allowed, by its SHA-256 when the run starts: a copy, a link or another PATH changes nothing',
      );
  }
  if (action.action === 'net.connect' && decision.effect === 'permit') {
    notes.push('what is sent there is not looked at, unless the rule names methods or paths');
  }
  if (action.action === 'git.push' && policy.git.push.signed === 'required' && !action.signed) {
    notes.push('git.push.signed: required holds for every commit of the push, and is read from the objects');
  }
  const warnings = policy.warnings.filter((warning) =>
    decision.rules.some((rule) => rule.file === warning.file && rule.line === warning.line),
  );
  return [...notes, ...warnings.map((warning) => warning.message)];
}
