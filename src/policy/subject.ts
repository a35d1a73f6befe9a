import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { digest } from '../base/digest.ts';
import type { PolicyAction } from './action.ts';
import { resourceTypes } from './cedar-schema.ts';
import { shown } from './parsed.ts';

/** The action in a few words that name its value: for people. Different actions may share it; `subjectDigest` they do not. */
export function subject(action: PolicyAction): string {
  switch (action.action) {
    case 'net.connect':
      return `net.connect to ${action.host}:${action.port}`;
    case 'net.request':
      return `${action.method} ${action.host}:${action.port}${action.path}`;
    case 'git.push':
      return `git.push to ${action.ref}`;
    default: {
      const id = resourceOf(action).id;
      return `${action.action} of ${/^[\x21-\x7e]+$/.test(id) ? id : shown(id)}`;
    }
  }
}

export function resourceOf(action: PolicyAction): { type: string; id: string } {
  return { type: resourceTypes[action.action], id: resourceId(action) };
}

function resourceId(action: PolicyAction): string {
  switch (action.action) {
    case 'run.start':
    case 'forge.open_pull_request':
    case 'forge.comment':
      return action.repository;
    case 'command.execute':
    case 'file.read':
    case 'file.write':
      return action.path;
    case 'net.connect':
    case 'net.request':
      return `${action.host}:${action.port}`;
    case 'git.fetch':
    case 'git.push':
      return action.ref;
    case 'git.sign':
      return action.author;
    case 'llm.request':
      return `${action.provider}/${action.model}`;
    case 'secret.use':
      return action.name;
    case 'tool.call':
      return `${action.server}/${action.tool}`;
  }
}

/** A lone surrogate or NaN from a guest has no canonical JSON: it is denied, and still gets a digest of its own. */
export function subjectJson(action: PolicyAction): { json: string; canonical: boolean } {
  try {
    return { json: canonicalJson(action as unknown as Json), canonical: true };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { json: `not canonical: ${JSON.stringify(action)}`, canonical: false };
  }
}

/** The digest of exactly what is decided upon; two actions with the same one get the same answer from a policy. */
export function subjectDigest(action: PolicyAction): string {
  return digest(subjectJson(action).json);
}
