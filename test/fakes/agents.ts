/** Runs of agents against a scripted model: one installation, one project, one server. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Replayed } from '../../src/runs/replay.ts';
import { type Heard, ModelServer, type Script } from './models/server.ts';
import { KEY } from './models/site.ts';
import type { Turn } from './models/turn.ts';
import { type Finished, Installation, Project } from './project.ts';

/** Names that agents know, and behave otherwise for: by provider. */
export const KNOWN = [
  ['claude', 'claude-sonnet-4-5'],
  ['claude', 'claude-opus-4-6'],
  ['openai', 'gpt-5.5'],
  ['openai', 'gpt-5.6-sol'],
  ['openai', 'gpt-6-sol'],
  ['gemini', 'gemini-2.5-pro'],
  ['gemini', 'gemini-2.5-flash'],
] as const;

/**
 * Fetched once for all checkouts of this user: a gigabyte and a half takes minutes. `cordon agents install` checks what is there at each
 * start.
 */
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'cordon-tests/agents');

/** What of a replay's differences is not one that `loose` allows for. */
export function unexplained(divergences: Replayed['divergences'], loose: RegExp | undefined): Replayed['divergences'] {
  return divergences.filter(
    ({ at, expected, actual }) =>
      !(loose !== undefined && [expected, actual].some((line) => loose.test(`${at} ${line}`))),
  );
}

/** How Gemini's replay may differ: it lists the skills that come with it in the order in which it finds their files. */
export const SKILLS_IN_ANY_ORDER = /^request \d+ to the model, .*(?:antigravity-support|skill-creator)/s;

export class AgentSite extends Installation {
  readonly project: Project;
  readonly upstream: ModelServer;
  script: Script = [];

  constructor(policy = '') {
    super();
    this.upstream = new ModelServer((heard, i) =>
      typeof this.script === 'function' ? this.script(heard, i) : (this.script[i] ?? { text: 'nothing more' }),
    );
    this.project = new Project(join(this.root, 'repository'));
    this.project.write('greeting.txt', 'Hello, wrold\n').write(
      '.cordon/policy.yaml',
      `version: 1
llm_policy: {allowed_providers: [claude, openai, chat, gemini], models: ["small-1", ${KNOWN.map(([, name]) => JSON.stringify(name)).join(', ')}]}
limits: {memory: 4g, wall_clock: 2m}
${policy}`,
    );
    this.project.commit('first');
  }

  /** The same model at four providers, each with a protocol of its own. */
  async open(): Promise<this> {
    await this.upstream.start();
    this.keep('MODEL_KEY', KEY);
    for (const [name, driver, path] of [
      ['claude', 'anthropic', ''],
      ['openai', 'openai', '/v1'],
      ['chat', 'openai-compatible', '/v1'],
      ['gemini', 'gemini', ''],
    ] as const) {
      const at = [
        '--base-url',
        `${this.upstream.url}${path}`,
        '--key',
        'MODEL_KEY',
        '--model',
        'small-1=upstream-small',
        ...KNOWN.flatMap(([provider, model]) => (provider === name ? ['--model', model] : [])),
      ];
      const { status, stderr } = this.cordon('providers', 'add', name, '--driver', driver, ...at);
      if (status !== 0) throw new Error(stderr);
    }
    return this;
  }

  /** Puts the tests' own store of agents where `cordon agents install` keeps them. */
  useCache(): void {
    mkdirSync(this.home, { recursive: true, mode: 0o700 });
    mkdirSync(CACHE, { recursive: true, mode: 0o700 });
    chmodSync(CACHE, 0o700);
    symlinkSync(CACHE, join(this.home, 'tools'));
    // The registry is the one that this machine's user has set up.
    this.env.npm_config_userconfig = process.env.npm_config_userconfig ?? join(homedir(), '.npmrc');
    for (const [name, value] of Object.entries(process.env))
      if (/^(npm_config_|https?_proxy$|no_proxy$|NODE_EXTRA_CA_CERTS$|SSL_CERT_)/i.test(name) && value)
        this.env[name] ??= value;
  }

  /** `cordon agents install`. Returns why the agent is not here when nothing could be fetched; throws when anything else is wrong. */
  async install(agent: string): Promise<string | null> {
    const { status, stderr } = await this.type('agents', 'install', agent).done;
    if (status === 0) return null;
    if (status === 7) return `npm could not fetch ${agent}: ${stderr.trim().split('\n')[1] ?? stderr}`;
    throw new Error(stderr);
  }

  /** `provider` may have the name of a model behind a slash; otherwise it is `small-1`. */
  async runAgent(agent: string, provider: string, script: Script, ...more: string[]): Promise<Finished> {
    this.upstream.heard.length = 0;
    this.script = script;
    const model = provider.includes('/') ? provider : `${provider}/small-1`;
    const typed = ['run', '--json', '-w', this.project.dir, '--agent', agent, '--model', model];
    return this.type(...typed, ...more, 'fix the typo in greeting.txt').done;
  }

  async close(): Promise<void> {
    await this.upstream.close();
    this.dispose();
  }
}

/** An agent on a PATH as npm installs it globally, whose program is a shell script. */
export function fakeAgent(root: string, packageName: string, program: string, entry: string, script: string): string {
  const modules = join(root, 'lib/node_modules');
  const own = join(modules, packageName);
  for (const [path, content] of [
    [join(own, 'package.json'), JSON.stringify({ name: packageName, version: '9.9.9' })],
    [join(own, 'bin/start.js'), '#!/usr/bin/env node\n'],
    [join(own, 'node_modules', entry), script],
  ] as const) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content, { mode: 0o755 });
  }
  mkdirSync(join(root, 'bin'), { recursive: true });
  symlinkSync(join(own, 'bin/start.js'), join(root, 'bin', program));
  return join(root, 'bin');
}

const COMMAND = 'sed s/wrold/world/ greeting.txt > answer.txt';
const SHELLS = ['Bash', 'bash', 'exec_command', 'run_shell_command'];

/** The tools that a request offers, whatever its protocol. */
function offered({ protocol, body }: Heard): string[] {
  // Some models of Codex's are told of their tools by the conversation, in groups.
  const later = Array.isArray(body.input) ? body.input.flatMap((item: { tools?: unknown[] }) => item.tools ?? []) : [];
  // biome-ignore lint/suspicious/noExplicitAny: whatever the caller sent
  const tools: any[] = [...(body.tools ?? []), ...later.flatMap((one: { tools?: unknown[] }) => one.tools ?? [one])];
  if (protocol === 'gemini')
    return tools.flatMap((one: { functionDeclarations?: { name: string }[] }) =>
      (one.functionDeclarations ?? []).map(({ name }) => name),
    );
  return tools.map((one: { name?: string; type: string; function?: { name: string } }) =>
    protocol === 'chat' ? (one.function?.name ?? '') : (one.name ?? one.type),
  );
}

/** Has the agent write a file by its own shell tool, and says then that it is done. */
export const writesTheAnswer = usesTheShell(COMMAND);

/** Has the agent run that by its own shell tool, and says then that it is done. Requests on the side get a title. */
export function usesTheShell(line: string): (heard: Heard) => Turn {
  return (heard) => shellTurn(heard, line);
}

function shellTurn(heard: Heard, line: string): Turn {
  const tools = offered(heard);
  if (tools.length === 0) return { text: 'A title' };
  const told = JSON.stringify(heard.protocol === 'gemini' ? heard.body.contents : heard.body);
  if (told.includes(heard.protocol === 'gemini' ? 'functionResponse' : 'call_answer_1'))
    return { text: 'The answer is written.', usage: { input: 200, output: 10 } };
  if (tools.includes('exec')) {
    // Code mode: the one tool takes a program, which calls the others.
    const input = `const r = await tools.exec_command({cmd: ${JSON.stringify(line)}});\ntext(r.output ?? String(r));`;
    const call = { id: 'call_answer_1', name: 'exec', namespace: 'functions', arguments: {}, input };
    return { text: 'I will write it.', thoughts: 'a program, then', tools: [call], usage: { input: 100, output: 20 } };
  }
  const name = SHELLS.find((one) => tools.includes(one));
  if (name === undefined) return { text: `no shell among ${tools.join()}` };
  const command = name === 'exec_command' ? { cmd: line } : { command: line, description: 'write the answer' };
  const background = name === 'run_shell_command' ? { is_background: false } : {};
  const call = { id: 'call_answer_1', name, arguments: { ...command, ...background } };
  return { text: 'I will write it.', tools: [call], usage: { input: 100, output: 20 } };
}
