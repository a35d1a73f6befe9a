import type { ActionName } from './action.ts';
import type { Cedar } from './cedar.ts';

/**
 * What rules may speak of: one entity type for each kind of resource, one context for each action. docs/policy.md shows
 * this table to users. Every attribute is always there, so that a rule needs no `has`; `matches` holds the patterns of
 * the short forms (globs, hosts, limits on sets of paths) that the value matched, which Cedar's own `like` cannot say.
 */
const text = { type: 'String' } as const;
const long = { type: 'Long' } as const;
const bool = { type: 'Boolean' } as const;
const texts = { type: 'Set', element: text } as const;

type Attribute = typeof text | typeof long | typeof bool | typeof texts;

export const resourceTypes: Readonly<Record<ActionName, string>> = {
  'run.start': 'Repository',
  'command.execute': 'Command',
  'file.read': 'File',
  'file.write': 'File',
  'net.connect': 'Host',
  'net.request': 'Host',
  'git.fetch': 'Ref',
  'git.sign': 'Author',
  'git.push': 'Ref',
  'llm.request': 'Model',
  'secret.use': 'Secret',
  'tool.call': 'Tool',
  'forge.open_pull_request': 'Repository',
  'forge.comment': 'Repository',
};

export const actionNames = Object.keys(resourceTypes) as ActionName[];

export const contexts: Readonly<Record<ActionName, Readonly<Record<string, Attribute>>>> = {
  'run.start': { agent: text, repository: text, readOnly: bool },
  'command.execute': { path: text, sha256: text },
  'file.read': { path: text },
  'file.write': { path: text },
  'net.connect': { host: text, port: long },
  'net.request': { host: text, port: long, method: text, path: text },
  'git.fetch': { repository: text, ref: text, base: bool },
  'git.sign': { author: text },
  'git.push': {
    repository: text,
    ref: text,
    kind: text,
    tag: bool,
    changedPaths: texts,
    changedFiles: long,
    changedLines: long,
    largestFile: long,
    commits: long,
    authors: texts,
    signed: bool,
    secrets: bool,
    binaries: texts,
    workflows: bool,
    dependencyOrigins: texts,
    dependencyProblems: texts,
    unrecordedDependencies: texts,
    testsPassed: bool,
  },
  'llm.request': { provider: text, model: text },
  'secret.use': { name: text, host: text },
  'tool.call': { server: text, tool: text },
  'forge.open_pull_request': { repository: text },
  'forge.comment': { repository: text },
};

export const cedarSchema: Cedar.SchemaJson<string> = {
  '': {
    entityTypes: { Agent: {}, ...Object.fromEntries(Object.values(resourceTypes).map((type) => [type, {}])) },
    actions: Object.fromEntries(
      actionNames.map((action) => [
        action,
        {
          appliesTo: {
            principalTypes: ['Agent'],
            resourceTypes: [resourceTypes[action]],
            context: { type: 'Record' as const, attributes: { ...contexts[action], matches: texts } },
          },
        },
      ]),
    ),
  },
};
