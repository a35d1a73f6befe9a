/** An MCP server that is a program, in a sandbox of its own: nothing of the run is in it but what the policy says. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContentRef } from '../audit/event.ts';
import { McpFault } from '../gateways/mcp/fault.ts';
import { defaultMcpLimits } from '../gateways/mcp/limits.ts';
import { StdioUpstream } from '../gateways/mcp/stdio.ts';
import { brief, visible } from '../gateways/mcp/text.ts';
import type { Sightings, Upstream } from '../gateways/mcp/upstream.ts';
import type { Limits, McpServer } from '../policy/index.ts';
import { guestEnvironment } from '../sandbox/guest-etc.ts';
import type { Execution, ExitStatus, Sandbox, SandboxEvent, SandboxSpec } from '../sandbox/sandbox.ts';
import type { ServerKey } from './mcp-keys.ts';
import { sightings } from './mcp-sightings.ts';
import { openServerNetwork, type RunNetwork } from './network.ts';
import type { RunScope } from './scope.ts';

type Program = Extract<McpServer['how'], { kind: 'command' }>;

/** Where a server finds the folder that the machine's user names for it. */
const FOLDER = '/run/cordon/mcp';
const MiB = 1024 ** 2;
/** What one server gets at most of what the run itself may have. */
const MOST: Partial<Limits> = { memory: 1024 * MiB, disk: 1024 * MiB, pids: 256 };
/** Bytes of a server's standard error that are kept. */
const STDERR = 64 * 1024;
/** Programs of one server that are recorded. */
const COMMANDS = 200;

/** Throws what the sandbox throws, and the signal's reason. */
export async function startServer(
  scope: RunScope,
  server: McpServer,
  program: Program,
  checkout: string,
  keys: readonly ServerKey[],
  { attempt, signal }: { readonly attempt: number; readonly signal: AbortSignal },
): Promise<Upstream> {
  const { system, run, loaded } = scope;
  const secrets: Record<string, string> = {};
  for (const key of keys) secrets[key.name] = await key.value();
  const dir = join(scope.dir, `mcp-${server.name}-${attempt}`);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  signal.throwIfAborted();
  const folder = system.mcpFolders[server.name];
  // Nothing listens for one that may connect to nowhere: what it tries is refused by its own kernel.
  const network = server.network.some(({ side }) => side === 'grant')
    ? await openServerNetwork(scope, server, dir)
    : null;
  const spec: SandboxSpec = {
    // Names its control group, which is nobody else's.
    runId: `${run.id}-mcp-${server.name}-${attempt}`,
    runDir: dir,
    workspace: program.workspace ? { kind: 'checkout', dir: checkout } : { kind: 'empty' },
    toolbox: { kind: 'usr' },
    limits: atMost(loaded.policy.limits),
    ...(folder === undefined ? {} : { tools: [{ host: folder, guest: FOLDER, folder: true }] }),
    etc: { 'resolv.conf': 'nameserver 127.0.0.1\n', ...network?.etc },
    hostFiles: network?.hostFiles ?? {},
  };
  const sandbox = await system.sandbox.create(spec).catch(async (error: unknown) => {
    await network?.close();
    await rm(dir, { recursive: true, force: true });
    throw error;
  });
  const home = new ServerHome(scope, server.name, sandbox, { dir, network });
  try {
    signal.throwIfAborted();
    if (network !== null) await network.start(await sandbox.listen(network.places));
    const { CORDON_RUN_ID: _, ...base } = guestEnvironment(run.id);
    const env = { ...base, ...network?.env, ...program.env, ...secrets };
    const upstream = home.serve(await sandbox.exec({ argv: program.argv, env, stdin: 'pipe' }));
    for (const { name, signal: taken } of keys) {
      if (taken?.aborted) throw new McpFault('start', `its secret ${name} was taken back`);
      const end = () => home.close(`its secret ${name} was taken back`).catch(() => {}); // its session’s end hears of it
      taken?.addEventListener('abort', end, { once: true });
    }
    return upstream;
  } catch (error) {
    await home.close('it could not be started');
    throw error;
  }
}

function atMost(limits: Limits): Limits {
  const entries = Object.entries(limits) as [keyof Limits, number][];
  return Object.fromEntries(
    entries.map(([name, value]) => [name, Math.min(value, MOST[name] ?? value)]),
  ) as unknown as Limits;
}

/** One sandbox with a server in it, and what is recorded of both. */
class ServerHome {
  readonly #scope: RunScope;
  readonly #name: string;
  readonly #sandbox: Sandbox;
  readonly #around: { readonly dir: string; readonly network: RunNetwork | null };
  readonly #sightings: Sightings;
  readonly #watched: Promise<void>;
  readonly #stderr: Buffer[] = [];
  #stderrBytes = 0;
  #commands = 0;
  #closed: Promise<void> | null = null;

  constructor(
    scope: RunScope,
    name: string,
    sandbox: Sandbox,
    around: { readonly dir: string; readonly network: RunNetwork | null },
  ) {
    this.#scope = scope;
    this.#name = name;
    this.#sandbox = sandbox;
    this.#around = around;
    this.#sightings = sightings(scope, name);
    this.#watched = this.#watch();
  }

  serve(execution: Execution): Upstream {
    const { stdin, stdout, stderr } = execution;
    if (stdin === null) throw new RangeError('a server has a standard input');
    stderr.on('error', () => {});
    stderr.on('data', (piece: Buffer) => this.#keep(piece));
    const exit = execution.exit.then((status) => this.#howItEnded(status));
    const upstream = new StdioUpstream(
      this.#name,
      { stdin, stdout, exit, kill: () => this.close('it was ended with the run') },
      defaultMcpLimits,
      this.#sightings,
    );
    upstream.ended.then((why) => this.close(why)).catch(() => {}); // its session’s end hears of it
    return upstream;
  }

  #keep(piece: Buffer): void {
    const room = STDERR - this.#stderrBytes;
    if (room > 0) this.#stderr.push(piece.subarray(0, room));
    this.#stderrBytes += piece.length;
  }

  #howItEnded(status: ExitStatus): string {
    // Secrets are out of it before it is cut.
    const said = brief(lastWords(this.#scope.redactor.redact(visible(Buffer.concat(this.#stderr).toString('utf8')))));
    const words = said === '' ? '' : `: ${said}`;
    switch (status.kind) {
      case 'exited':
        return `it ended with exit code ${status.code}${words}`;
      case 'signalled':
        return `it was ended by signal ${status.signal}${words}`;
      case 'failed':
        return `its program could not be started: ${status.message}`;
      case 'lost':
        return `its sandbox ended: ${status.reason}`;
    }
  }

  async #watch(): Promise<void> {
    const started = new Map<number, readonly string[]>();
    for await (const event of this.#sandbox.events) {
      if (event.type === 'started' && this.#commands < COMMANDS)
        started.set(event.id, fitting(this.#scope.run.log.redacted(event.argv)));
      else if (event.type === 'ended') {
        const argv = started.get(event.id);
        started.delete(event.id);
        if (argv !== undefined) this.#command(argv, event);
      } else if (event.type === 'limit') this.#sightings.garbage(`limit ${event.limit}: ${event.detail}`);
    }
  }

  #command(argv: readonly string[], { path, sha256, how }: Extract<SandboxEvent, { type: 'ended' }>): void {
    if (++this.#commands > COMMANDS) return;
    const end =
      how.kind === 'exited' ? `exit ${how.code}` : how.kind === 'signalled' ? `signal ${how.signal}` : how.kind;
    const resource = { server: this.#name, argv: [...argv], path: path.slice(0, 2_048), sha256, end };
    this.#scope.run.log.enqueue({ type: 'mcp.command', action: null, resource });
  }

  /** Idempotent: the first reason is recorded. */
  close(reason: string): Promise<void> {
    this.#closed ??= this.#end(reason);
    return this.#closed;
  }

  async #end(reason: string): Promise<void> {
    await this.#sandbox.destroy();
    await this.#watched;
    await this.#around.network?.close();
    await rm(this.#around.dir, { recursive: true, force: true });
    const content = await this.#kept();
    const resource = { server: this.#name, reason: reason.slice(0, 1_000), stderrBytes: this.#stderrBytes };
    await this.#scope.run.log.append({ type: 'mcp.stopped', action: null, resource, ...content });
  }

  async #kept(): Promise<{ content?: ContentRef }> {
    const { request, system, run } = this.#scope;
    const bytes = Buffer.concat(this.#stderr);
    if (bytes.length === 0 || !request.record) return {};
    const options = { mediaType: 'text/plain', maxBytes: bytes.length };
    return { content: await system.content.put(run.id, bytes, options) };
  }
}

/** As much of a command line as a record has room for. */
function fitting(argv: readonly string[]): string[] {
  return argv.slice(0, 32).map((word) => word.slice(0, 500));
}

/** Of what a program wrote before it ended, the line that says why: Node and others write the place, a stack and their version behind it. */
function lastWords(stderr: string): string {
  const lines = stderr.trimEnd().split('\n');
  return lines.findLast((line) => /^\S*(error|exception|panic|fatal)\b/i.test(line)) ?? lines.at(-1) ?? '';
}
