/** An MCP server that is a program, in a sandbox of its own: nothing of the run is in it but what the policy says. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContentRef } from '../audit/event.ts';
import { defaultMcpLimits } from '../gateways/mcp/limits.ts';
import { StdioUpstream } from '../gateways/mcp/stdio.ts';
import { brief } from '../gateways/mcp/text.ts';
import type { Upstream } from '../gateways/mcp/upstream.ts';
import type { Limits, McpServer } from '../policy/index.ts';
import { guestEnvironment } from '../sandbox/guest-etc.ts';
import type { Execution, ExitStatus, Sandbox, SandboxEvent } from '../sandbox/sandbox.ts';
import type { RunScope } from './scope.ts';

type Program = Extract<McpServer['how'], { kind: 'command' }>;

/** Where a server finds the folder that the machine's user names for it. */
const FOLDER = '/run/cordon/mcp';
const MiB = 1024 ** 2;
/** What one server gets at most of what the run itself may have. */
const MOST: Partial<Limits> = { memory: 1024 * MiB, disk: 1024 * MiB, pids: 256 };
/** Bytes of a server's standard error that are kept. */
const STDERR = 64 * 1024;
/** Programs of one server that are recorded, and other events of it. */
const COMMANDS = 200;
const SIGHTINGS = 20;

/** Throws what the sandbox throws, and the signal's reason. */
export async function startServer(
  scope: RunScope,
  server: McpServer,
  program: Program,
  checkout: string,
  { attempt, signal }: { readonly attempt: number; readonly signal: AbortSignal },
): Promise<Upstream> {
  const { system, run, loaded } = scope;
  const dir = join(scope.dir, `mcp-${server.name}-${attempt}`);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  signal.throwIfAborted();
  const folder = system.mcpFolders[server.name];
  const sandbox = await system.sandbox.create({
    runId: `${run.id}-mcp`,
    runDir: dir,
    workspace: program.workspace ? { kind: 'checkout', dir: checkout } : { kind: 'empty' },
    toolbox: { kind: 'usr' },
    limits: atMost(loaded.policy.limits),
    ...(folder === undefined ? {} : { tools: [{ host: folder, guest: FOLDER, folder: true }] }),
    etc: { 'resolv.conf': 'nameserver 127.0.0.1\n' },
  });
  const home = new ServerHome(scope, server.name, sandbox, dir);
  try {
    signal.throwIfAborted();
    const { CORDON_RUN_ID: _, ...base } = guestEnvironment(run.id);
    const execution = await sandbox.exec({ argv: program.argv, env: { ...base, ...program.env }, stdin: 'pipe' });
    return home.serve(execution);
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
  readonly #dir: string;
  readonly #watched: Promise<void>;
  readonly #stderr: Buffer[] = [];
  #stderrBytes = 0;
  #commands = 0;
  #sightings = 0;
  #closed: Promise<void> | null = null;

  constructor(scope: RunScope, name: string, sandbox: Sandbox, dir: string) {
    this.#scope = scope;
    this.#name = name;
    this.#sandbox = sandbox;
    this.#dir = dir;
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
      {
        asked: (method) => this.#sighted('request', brief(method, 100)),
        garbage: (detail) => this.#sighted('garbage', brief(detail)),
      },
    );
    void upstream.ended.then((why) => this.close(why));
    return upstream;
  }

  #keep(piece: Buffer): void {
    const room = STDERR - this.#stderrBytes;
    if (room > 0) this.#stderr.push(piece.subarray(0, room));
    this.#stderrBytes += piece.length;
  }

  #howItEnded(status: ExitStatus): string {
    const said = brief(Buffer.concat(this.#stderr).toString('utf8').trimEnd().split('\n').at(-1) ?? '');
    const words = said === '' ? '' : `: ${this.#scope.redactor.redact(said)}`;
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

  #sighted(what: 'request' | 'garbage', detail: string): void {
    if (++this.#sightings > SIGHTINGS) return;
    const resource = { server: this.#name, what, detail };
    this.#scope.run.log.enqueue({ type: 'mcp.refused', action: null, resource });
  }

  async #watch(): Promise<void> {
    const started = new Map<number, readonly string[]>();
    for await (const event of this.#sandbox.events) {
      if (event.type === 'started' && this.#commands < COMMANDS) started.set(event.id, fitting(event.argv));
      else if (event.type === 'ended') {
        const argv = started.get(event.id);
        started.delete(event.id);
        if (argv !== undefined) this.#command(argv, event);
      } else if (event.type === 'limit') this.#sighted('garbage', `limit ${event.limit}: ${event.detail}`);
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
    await rm(this.#dir, { recursive: true, force: true });
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
