/**
 * The gateway before language models beside a minimal pass-through in Node and beside Portkey's gateway, each in a process of its own, before
 * one trivial upstream, interleaved: time to the first byte of a stream, requests a second over 64 connections, and memory: while 1,000 streams
 * go on for a minute and end all at once, and while one answer of 1 GiB passes. `node bench/models.ts memory` measures memory alone. Ours has everything on: a compiled policy, redaction with 20 secrets, a budget in money, the recording of a run, and a durable
 * audit log. Portkey is used where it is installed. Fails when a bar is missed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { answer, body, GIB } from './_model.ts';
import { bar, median, row } from './_table.ts';

const ROUNDS = 5;
const CONNECTIONS = 64;
const STREAMS = 1000;
const NAMES = ['minimal', 'cordon', 'portkey'] as const;
const PORTKEY = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'cordon-bench');

/** One of the processes. It prints a line with what it listens on. */
async function play(role: string, [upstream = '', scratch = '']: string[]): Promise<void> {
  if (role === 'upstream') return listen(answer);
  if (role === 'minimal') {
    const agent = new Agent({ keepAlive: true });
    return listen((incoming, response) => {
      const { host: _, ...headers } = incoming.headers;
      const options = { agent, method: incoming.method ?? 'POST', headers };
      incoming.pipe(
        request(`${upstream}${incoming.url}`, options, (answered) => {
          response.writeHead(answered.statusCode ?? 502, answered.headers);
          answered.pipe(response);
        }),
      );
    });
  }
  await playCordon(upstream, scratch);
}

function listen(serve: (incoming: IncomingMessage, response: ServerResponse) => void): void {
  const server = createServer({ keepAliveTimeout: 600_000 }, serve);
  server.listen(0, '127.0.0.1', () => say({ port: (server.address() as { port: number }).port }));
}

function say(line: object): void {
  console.log(JSON.stringify(line));
}

async function playCordon(upstream: string, scratch: string): Promise<void> {
  const [{ systemClock }, { Redactor }, { openAuditLog }, { compilePolicy, decide }, { Recorder }, { RunLog }, models] =
    await Promise.all([
      import('../src/base/clock.ts'),
      import('../src/base/redact/index.ts'),
      import('../src/audit/log.ts'),
      import('../src/policy/index.ts'),
      import('../src/runs/recording/recorder.ts'),
      import('../src/runs/run-log.ts'),
      import('../src/runs/models.ts'),
    ]);
  const { openModels } = await import('../src/gateways/llm/server.ts');
  const { parseProviders, openProvider } = await import('../src/gateways/llm/settings.ts');
  const { modelRecorder } = await import('../src/runs/recording/run.ts');
  const { translate } = await import('../src/gateways/llm/translate/index.ts');
  const text =
    'version: 1\nllm_policy: {allowed_providers: [up], models: [m], budget: {usd: 100000, requests: 10000000}}\n';
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text } });
  const redactor = new Redactor();
  for (let i = 0; i < 20; i++) redactor.add(`SECRET_${i}`, randomBytes(24).toString('base64'));
  const log = await openAuditLog({ dir: join(scratch, 'audit'), keys: join(scratch, 'keys') });
  const run = new RunLog(log, '0123456789abcdef', { id: 'user:bench', kind: 'user' }, redactor);
  const kept = new Recorder({
    file: join(scratch, 'recording'),
    redactor,
    start: {} as ConstructorParameters<typeof Recorder>[0]['start'],
    drawn: [],
    own: ['0123456789abcdef'],
    monotonic: () => systemClock.monotonic(),
  });
  const recorder = modelRecorder({ recorder: kept, loaded: { policy } } as unknown as Parameters<
    typeof modelRecorder
  >[0]);
  if (recorder === null) throw new Error('the policy keeps nothing of what is said');
  const settings = await parseProviders(
    'providers.yaml',
    `version: 1\nproviders: [{name: up, driver: openai-compatible, base_url: "${upstream}/v1", key: {secret: KEY}, models: [{name: m, max_output: 500, price: {input: 1, output: 2}}]}]\n`,
  );
  const usage = { requests: 0, inputTokens: 0, outputTokens: 0, usd: 0 };
  const scope = { run: { log: run, facts: { usage } } } as unknown as Parameters<typeof models.modelLog>[0];
  const gateway = openModels({
    policy,
    providers: settings.providers.map((one) =>
      openProvider(one, { keyOf: () => async () => 'upstream-key', now: () => systemClock.now() }),
    ),
    aliases: new Map(),
    chosen: null,
    decide: (action) => run.count(decide(policy, action), action),
    log: models.modelLog(scope),
    recorder,
    redactor,
    translate,
    clock: systemClock,
    limits: { concurrent: 2 * STREAMS, maxAnswer: 2 * GIB },
    onBroken: (error) => console.error(error),
  });
  const port = await gateway.attach({ port: 0 });
  say({ port, token: gateway.token });
}

interface Contestant {
  readonly name: string;
  readonly port: number;
  readonly child: ChildProcess | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: Agent;
}

interface Answered {
  readonly status: number;
  /** Milliseconds. */
  readonly first: number;
}

/** Made once: what the load costs is taken from everybody's processors. */
const BODIES = { stream: body(true), whole: body(false) };

/** One request, read to its end. */
function ask({ port, headers, agent }: Contestant, sent: Buffer, onFirst = () => {}): Promise<Answered> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const options = { port, agent, method: 'POST', path: '/v1/chat/completions', host: '127.0.0.1' };
    const call = request(
      { ...options, headers: { 'content-type': 'application/json', 'content-length': sent.length, ...headers } },
      (response) => {
        let first = 0;
        response.on('data', () => {
          if (first !== 0) return;
          first = performance.now() - started;
          onFirst();
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, first }));
        response.on('error', reject);
      },
    );
    call.on('error', reject);
    call.end(sent);
  });
}

/** On connections of its own: some servers close those that were idle. */
function fresh(contestant: Contestant): Contestant {
  contestant.agent.destroy();
  return { ...contestant, agent: new Agent({ keepAlive: true, maxSockets: CONNECTIONS }) };
}

/** Median time to the first byte of streams, one after the other. */
async function firstByte(anyone: Contestant, count: number): Promise<number> {
  const contestant = fresh(anyone);
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push((await ask(contestant, BODIES.stream)).first);
  return median(times);
}

/** Whole answers a second, and milliseconds of CPU that the contestant's process used for each. */
async function rate(anyone: Contestant, ms: number): Promise<{ perSecond: number; cpu: number }> {
  const contestant = fresh(anyone);
  const before = cpuTime(contestant);
  const started = performance.now();
  let count = 0;
  const one = async () => {
    while (performance.now() - started < ms) {
      const { status } = await ask(contestant, BODIES.whole);
      if (status !== 200) throw new Error(`${contestant.name} answers ${status}`);
      count++;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, one));
  const cpu = (cpuTime(contestant) - before) / count;
  return { perSecond: (count * 1000) / (performance.now() - started), cpu };
}

/** Milliseconds, in ticks of ten. */
function cpuTime({ child }: Contestant): number {
  const fields = readFileSync(`/proc/${child?.pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Resident MB of a process. */
function memory({ child }: Contestant): number {
  const [, kb = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child?.pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}

/** MB while all streams are open: five seconds after the last began, 45 later, and at most from then to two seconds after their end. */
async function underStreams(contestant: Contestant) {
  const idle = memory(contestant);
  const agent = new Agent({ keepAlive: false, maxSockets: STREAMS });
  let begun = 0;
  const open = Promise.all(
    Array.from({ length: STREAMS }, () =>
      ask({ ...contestant, agent }, asUser('slow'), () => {
        begun++;
      }),
    ),
  );
  while (begun < STREAMS) await pause(100);
  await pause(5_000);
  const early = memory(contestant);
  await pause(45_000);
  const late = memory(contestant);
  const { most: peak, result } = await mostWhile(contestant, open);
  const failed = result.filter(({ status }) => status !== 200);
  if (failed.length > 0) throw new Error(`${failed.length} of ${STREAMS} streams failed`);
  return { idle, early, late, peak };
}

/** MB at most, until two seconds after the end of what is waited for. */
async function mostWhile<T>(contestant: Contestant, work: Promise<T>): Promise<{ most: number; result: T }> {
  let most = memory(contestant);
  const timer = setInterval(() => {
    most = Math.max(most, memory(contestant));
  }, 50);
  try {
    const result = await work;
    await pause(2_000);
    return { most, result };
  } finally {
    clearInterval(timer);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function asUser(user: string): Buffer {
  return Buffer.from(JSON.stringify({ ...JSON.parse(body(true).toString()), user }));
}

async function reportMemory(cordon: Contestant): Promise<void> {
  const { idle, early, late, peak } = await underStreams(cordon);
  row(
    `memory with ${STREAMS} streams`,
    `${late.toFixed(0)} MB`,
    `${idle.toFixed(0)} before, ${early.toFixed(0)} 45 s earlier, ${peak.toFixed(0)} at their end`,
  );
  row('', '', bar(late <= early * 1.15, `${(late / early).toFixed(2)} of what it was 45 s before, at most 1.15`));
  row('', '', bar(peak <= early * 1.3, `${(peak / early).toFixed(2)} of that when all end at once, at most 1.3`));
  const before = memory(cordon);
  const started = performance.now();
  const { most, result } = await mostWhile(cordon, ask(fresh(cordon), asUser('large')));
  if (result.status !== 200) throw new Error(`the large answer has the status ${result.status}`);
  const seconds = (performance.now() - started) / 1000 - 2;
  row('memory while 1 GiB passes', `${most.toFixed(0)} MB`, `${before.toFixed(0)} before, ${seconds.toFixed(0)} s`);
  row('', '', bar(most - before <= 128, `${(most - before).toFixed(0)} MB more, at most 128`));
}

async function main(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'cordon-bench-'));
  const children: ChildProcess[] = [];
  const start = async (role: string, ...rest: string[]) => {
    const flags = ['--disable-warning=ExperimentalWarning', import.meta.filename, `role:${role}`, ...rest];
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return { child, ...(JSON.parse(line.toString()) as { port: number; token?: string }) };
  };
  const agent = () => new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  try {
    const upstream = await start('upstream');
    const address = `http://127.0.0.1:${upstream.port}`;
    if (process.argv[2] === 'memory') {
      const { token, ...cordon } = await start('cordon', address, scratch);
      await reportMemory({ name: 'cordon', ...cordon, headers: { authorization: `Bearer ${token}` }, agent: agent() });
      return;
    }
    const authorization = 'Bearer none';
    const contestants: Contestant[] = [
      { name: 'direct', port: upstream.port, child: upstream.child, headers: { authorization }, agent: agent() },
    ];
    const minimal = await start('minimal', address);
    contestants.push({ name: 'minimal', ...minimal, headers: { authorization }, agent: agent() });
    const { token, ...cordon } = await start('cordon', address, scratch);
    contestants.push({ name: 'cordon', ...cordon, headers: { authorization: `Bearer ${token}` }, agent: agent() });
    const portkey = await startPortkey(address, children);
    if (portkey !== null) contestants.push({ ...portkey, agent: agent() });
    await report(contestants);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Null where it is not installed. */
async function startPortkey(upstream: string, children: ChildProcess[]): Promise<Omit<Contestant, 'agent'> | null> {
  const program = join(PORTKEY, 'node_modules/@portkey-ai/gateway/build/start-server.js');
  if (!existsSync(program)) {
    row('Portkey', 'not installed', `npm install --prefix ${PORTKEY} @portkey-ai/gateway`);
    return null;
  }
  const probe = createTcp().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  const child = spawn(process.execPath, [program, `--port=${port}`, '--headless'], { stdio: 'ignore' });
  children.push(child);
  const headers = {
    authorization: 'Bearer none',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${upstream.replace('127.0.0.1', 'localhost')}/v1`,
  };
  const portkey = { name: 'portkey', port, child, headers };
  for (let tries = 0; tries < 100; tries++) {
    const answered = await ask({ ...portkey, agent: new Agent() }, body(false)).catch(() => null);
    if (answered?.status === 200) return portkey;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  row('Portkey', 'does not run', 'it answers no request on this machine');
  return null;
}

async function report(contestants: readonly Contestant[]): Promise<void> {
  const firsts = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  const rates = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  const cpus = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  const streams = new Set<string>();
  for (const one of contestants) if ((await ask(one, BODIES.stream)).status === 200) streams.add(one.name);
  for (let round = -1; round < ROUNDS; round++) {
    for (const one of contestants) {
      if (streams.has(one.name)) {
        const ms = await firstByte(one, round < 0 ? 100 : 150);
        if (round >= 0) firsts.get(one.name)?.push(ms);
      }
      const { perSecond, cpu } = await rate(one, round < 0 ? 500 : 700);
      if (round >= 0) rates.get(one.name)?.push(perSecond);
      if (round >= 0) cpus.get(one.name)?.push(cpu);
    }
  }
  // The best round: a neighbour on the machine makes rounds worse, and none better.
  const first = (name: string) => Math.min(...(firsts.get(name) ?? []));
  const best = (name: string) => Math.max(...(rates.get(name) ?? []));
  for (const name of ['direct', ...NAMES].filter((one) => rates.has(one))) {
    const added = name === 'direct' ? '' : `${(first(name) - first('direct')).toFixed(2)} ms added`;
    if (streams.has(name)) row(`${name}: first byte of a stream, p50`, `${first(name).toFixed(2)} ms`, added);
    else row(`${name}: first byte of a stream, p50`, 'no streams', 'it answers them with 500 on this Node');
    row(
      `${name}: whole answers a second, ${CONNECTIONS} connections`,
      best(name).toFixed(0),
      `${Math.min(...(cpus.get(name) ?? [])).toFixed(2)} ms of CPU each`,
    );
  }
  const added = first('cordon') - first('direct');
  row('time to first byte', '', bar(added <= 2, `${added.toFixed(2)} ms added, at most 2`));
  const share = best('cordon') / best('minimal');
  row('requests a second', '', bar(share >= 0.5, `${share.toFixed(2)} of the minimal pass-through, at least 0.5`));
  // What a busy machine distorts least.
  const cheapest = (name: string) => Math.min(...(cpus.get(name) ?? []));
  row(
    'CPU of a request',
    '',
    `${(cheapest('cordon') / cheapest('minimal')).toFixed(1)} times the minimal pass-through’s`,
  );
  if (rates.has('portkey')) {
    const times = best('cordon') / best('portkey');
    row('', '', bar(times >= 3, `${times.toFixed(1)} times Portkey, at least 3`));
  }
  const cordon = contestants.find(({ name }) => name === 'cordon') as Contestant;
  await reportMemory(cordon);
}

const [role = '', ...rest] = process.argv.slice(2);
if (role.startsWith('role:')) await play(role.slice(5), rest);
else await main();
