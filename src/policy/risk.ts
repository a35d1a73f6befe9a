import { decide } from './decide.ts';
import type { EffectivePolicy } from './effective.ts';
import { parseShownGlob } from './git-refs.ts';
import { coversGlob } from './globs.ts';
import { hostPatternText } from './hosts.ts';
import { interpreterNote } from './interpreters.ts';
import type { PushSwitch } from './push-rules.ts';
import type { HostRule, PolicyDocument } from './schema.ts';

/** What a policy leaves open, in plain sentences: what somebody who approves it should have read. */
export interface Risk {
  /** Stable name: `interpreters`, `network.wildcard`, … */
  readonly name: string;
  readonly severity: 'high' | 'medium' | 'low';
  readonly sentence: string;
  /** What would narrow it. */
  readonly remedy?: string;
}

export function residualRisk(policy: EffectivePolicy): readonly Risk[] {
  return [
    ...commandRisks(policy),
    ...networkRisks(policy),
    ...fetchRisks(policy),
    ...pushRisks(policy),
    ...secretRisks(policy),
    ...mcpRisks(policy),
    ...otherRisks(policy),
  ].sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
}

const SEVERITIES = ['high', 'medium', 'low'];

/** What grants: the repository's document, or with none the organisation's own ceiling grants nothing. */
function granting(policy: EffectivePolicy): Partial<PolicyDocument> {
  return policy.documents.repository ?? {};
}

function commandRisks(policy: EffectivePolicy): Risk[] {
  if (policy.commands === null) {
    return [
      {
        name: 'commands.all',
        severity: 'medium',
        sentence: "Every program in the machine's /usr may run, and whatever the run writes or builds itself.",
        remedy: 'list what is needed in security.allowed_commands',
      },
    ];
  }
  const interpreters = policy.commands
    .filter((command) => interpreterNote(command.path) !== undefined)
    .map((command) => command.path);
  if (interpreters.length === 0) return [];
  return [
    {
      name: 'interpreters',
      severity: 'medium',
      sentence: `${interpreters.join(', ')} ${interpreters.length === 1 ? 'runs' : 'run'} whatever the agent writes: the list of commands does not bound that, only the sandbox does.`,
    },
  ];
}

function networkRisks(policy: EffectivePolicy): Risk[] {
  const hosts = (granting(policy).security?.allowed_network_hosts ?? []).filter((host) => isOpen(policy, host));
  const requested = policy.rules
    .filter((rule) => rule.rule.layer === 'request' && rule.actions.includes('net.connect'))
    .flatMap((rule) => rule.entries.map((entry) => entry.pattern));
  const whole = hosts.filter((host) => host.methods === null && host.paths === null);
  const risks: Risk[] = [];
  const names = [...whole.map((host) => hostPatternText(host.pattern)), ...requested];
  if (names.length > 0) {
    risks.push({
      name: 'network.open',
      severity: 'medium',
      sentence: `Anything that the run can read can be sent to ${names.join(', ')}.`,
      remedy: 'name methods and paths: {host: …, methods: [GET], paths: ["/…"]}',
    });
  }
  const wild = hosts.filter((host) => host.pattern.wildcard).map((host) => hostPatternText(host.pattern));
  if (wild.length > 0) {
    risks.push({
      name: 'network.wildcard',
      severity: 'high',
      sentence: `Whoever can make a name below ${wild.join(', ')} can receive from a run.`,
      remedy: 'list the names that are needed',
    });
  }
  const writable = hosts.filter(mayWrite).map((host) => hostPatternText(host.pattern));
  if (writable.length > 0) {
    risks.push({
      name: 'network.methods',
      severity: 'low',
      sentence: `Requests that change something (POST, PUT, PATCH, DELETE) may go to ${writable.join(', ')}.`,
    });
  }
  return risks;
}

/** What the ceiling closes is no risk. A wildcard is asked about with one of its names. */
function isOpen(policy: EffectivePolicy, { pattern }: HostRule): boolean {
  const host = pattern.wildcard ? `any.${pattern.host}` : pattern.host;
  return decide(policy, { action: 'net.connect', host, port: pattern.port }).effect !== 'deny';
}

function mayWrite(host: HostRule): boolean {
  return host.methods?.some((method) => !['GET', 'HEAD', 'OPTIONS'].includes(method)) ?? false;
}

/** Each is more of the repository to read, with its history: what was committed there once and taken out again too. */
function fetchRisks(policy: EffectivePolicy): Risk[] {
  const globsOf = (texts: readonly string[]) =>
    texts.flatMap((text) => {
      const glob = parseShownGlob(text);
      return glob.ok ? [{ text, glob: glob.value }] : [];
    });
  const { organisation } = policy.documents;
  const ceiling = organisation === undefined ? null : globsOf(organisation.git?.fetch?.refs ?? []);
  const open = globsOf(granting(policy).git?.fetch?.refs ?? []).filter(
    ({ glob }) => ceiling === null || ceiling.some((outer) => coversGlob(outer.glob, glob)),
  );
  if (open.length === 0) return [];
  const names = open.map(({ text }) => text).join(', ');
  return [
    {
      name: 'fetch.refs',
      severity: 'low',
      sentence: `The agent can read ${names} and what is behind them in history, also what was taken out again.`,
      remedy: 'name in git.fetch.refs what is needed',
    },
  ];
}

function pushRisks(policy: EffectivePolicy): Risk[] {
  const push = granting(policy).git?.push ?? {};
  const ceiling = policy.documents.organisation;
  const opens = (key: PushSwitch) =>
    push[key] === 'permit' && (ceiling === undefined || ceiling.git?.push?.[key] === 'permit');
  const risks: Risk[] = [];
  const add = (name: string, severity: Risk['severity'], sentence: string, remedy: string) =>
    risks.push({ name, severity, sentence, remedy });
  if (policy.git.push.signed === 'optional')
    add('push.unsigned', 'low', 'Commits need no signature.', 'git: {push: {signed: required}}');
  if (policy.git.push.maxChangedLines === null)
    add(
      'push.size',
      'low',
      'A change may be of any size; large ones are reviewed badly.',
      'git: {push: {max_changed_lines: 2000}}',
    );
  if (opens('force'))
    add(
      'push.force',
      'high',
      'Branches may be rewritten: what was reviewed can be replaced.',
      'git: {push: {force: ask}}',
    );
  if (opens('delete')) add('push.delete', 'high', 'Branches may be deleted.', 'git: {push: {delete: ask}}');
  if (opens('tags'))
    add('push.tags', 'high', 'Tags may be pushed, which often start releases.', 'git: {push: {tags: ask}}');
  if (opens('secrets'))
    add('push.secrets', 'high', 'Changes that hold credentials are delivered.', 'git: {push: {secrets: deny}}');
  const broad = (push.branches ?? []).filter((branch) => !/^[^*?]+\//.test(branch));
  if (broad.length > 0)
    add(
      'push.branches',
      'medium',
      `Branches outside a prefix of their own may be pushed: ${broad.join(', ')}.`,
      'git: {push: {branches: ["cordon/**"]}}',
    );
  if (opens('workflows'))
    add(
      'push.workflows',
      'medium',
      'Files that a forge or build server runs (.github/workflows, .gitlab-ci.yml) may change without anybody being asked.',
      'git: {push: {workflows: ask}}',
    );
  if ([granting(policy), ceiling].every((document) => document?.dependencies?.registries === undefined))
    add(
      'push.dependencies',
      'low',
      'Lock files may name packages of any origin, with or without a hash.',
      'dependencies: {registries: [packages.acme.example]}',
    );
  return risks;
}

/** A secret inside is shown wherever its policy is summed up: it is the one thing that the boundary does not keep. */
function secretRisks(policy: EffectivePolicy): Risk[] {
  const inside = (granting(policy).secrets ?? []).filter((secret) => secret.use.host === undefined);
  const places = [
    {
      name: 'secrets.environment',
      where: "in the sandbox's environment",
      list: inside.filter(({ use }) => use.env !== undefined),
    },
    {
      name: 'secrets.file',
      where: 'in the sandbox as a file',
      list: inside.filter(({ use }) => use.file !== undefined),
    },
  ];
  return places.flatMap(({ name, where, list }) => {
    const names = list.map((secret) => secret.name);
    if (names.length === 0) return [];
    const sentence = `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} ${where}: whatever runs there can read and send on what it is.`;
    return [
      {
        name,
        severity: 'high' as const,
        sentence,
        remedy: 'use: {host: …, header: "Authorization: Bearer {}"} keeps it outside',
      },
    ];
  });
}

/** Tools act outside of what the agent itself may do: what it puts into a call leaves with it. */
function mcpRisks({ mcp }: EffectivePolicy): Risk[] {
  return mcp.servers.flatMap(({ name, how, network }): Risk[] => {
    const hosts = network.filter(({ side }) => side === 'grant').map(({ pattern }) => hostPatternText(pattern));
    if (hosts.length === 0) return [];
    const sentence = `What the agent puts into a call of a tool of the MCP server ${name} can reach ${hosts.join(', ')}, and what comes back is read by the agent.`;
    const severity = how.kind === 'command' && how.workspace ? 'high' : 'medium';
    const remedy = `name few tools in mcp_servers.${name}.tools, or have calls asked about: approvals: [{when: tool.call, …}]`;
    return [{ name: 'mcp.reach', severity, sentence, remedy }];
  });
}

function otherRisks(policy: EffectivePolicy): Risk[] {
  const risks: Risk[] = [];
  if (policy.sandbox.recorder.onLoss === 'continue') {
    risks.push({
      name: 'recorder.loss',
      severity: 'medium',
      sentence: 'A run goes on when a record of a command is lost.',
      remedy: 'sandbox: {recorder: {on_loss: fail}}',
    });
  }
  if (policy.sandbox.isolation === 'namespace') {
    risks.push({
      name: 'isolation',
      severity: 'low',
      sentence: "Runs share the machine's kernel: a fault in it that the system call filter lets through is a way out.",
      remedy: 'sandbox: {isolation: vm} where there is a driver for it',
    });
  }
  const permits = policy.rules.filter(
    (rule) =>
      rule.role === 'permit' &&
      rule.entries.length === 0 &&
      rule.rule.line > 0 &&
      rule.cedar.conditions.length === 0 &&
      rule.cedar.resource.op === 'All',
  );
  for (const rule of permits) {
    risks.push({
      name: 'rules.unconditional',
      severity: 'high',
      sentence: `A rule permits ${rule.actions.length > 3 ? `${rule.actions.length} actions` : rule.actions.join(', ')} without a condition (${rule.rule.file}:${rule.rule.line}).`,
    });
  }
  return risks;
}
