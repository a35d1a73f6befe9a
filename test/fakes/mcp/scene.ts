/** The gateway by itself, with real servers as child processes: what a guest sends and what a server answers, byte by byte. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.ts';
import { Mcp, type McpCall, type McpOptions } from '../../../src/gateways/mcp/gateway.ts';
import { defaultMcpLimits, type McpLimits } from '../../../src/gateways/mcp/limits.ts';
import { McpServer } from '../../../src/gateways/mcp/server.ts';
import { StdioUpstream } from '../../../src/gateways/mcp/stdio.ts';
import type { Upstream } from '../../../src/gateways/mcp/upstream.ts';

const FIXTURE = join(import.meta.dirname, 'stdio-server.mjs');

// biome-ignore lint/suspicious/noExplicitAny: what a server answers
export type Answer = any;

export interface SceneOptions {
  readonly mode?: string;
  readonly tools?: readonly string[];
  readonly limits?: Partial<McpLimits>;
  readonly timeout?: number;
  readonly calls?: number;
  /** In place of the fixture: a program for Node. */
  readonly program?: string;
  readonly options?: Partial<McpOptions>;
}

export class McpScene {
  readonly token = randomBytes(12).toString('hex');
  readonly mcp: Mcp;
  readonly told: { readonly what: string; readonly detail: string }[] = [];
  readonly judged: McpCall[] = [];
  readonly ended: string[] = [];
  readonly #server: McpServer;
  readonly #hosts: string[] = [];
  readonly #children = new Set<ReturnType<typeof spawn>>();
  port = 0;
  starts = 0;

  private constructor({ mode = '', tools = ['add', 'get_*'], timeout = 20_000, calls = 100, ...more }: SceneOptions) {
    const limits = { ...defaultMcpLimits, ...more.limits };
    const may = (tool: string) =>
      tools.some((one) => one === tool || (one.endsWith('*') && tool.startsWith(one.slice(0, -1))));
    const tell = (what: string, detail: string) => void this.told.push({ what, detail });
    this.mcp = new Mcp({
      servers: [{ name: 'docs', timeout, calls }],
      limits,
      open: async () => this.#start(mode, more.program, limits, tell),
      mayCall: (_server, tool) => may(tool),
      judge: async (call) => {
        this.judged.push(call);
        if (!may(call.tool)) return { permitted: false, reason: 'no rule permits it' };
        return { permitted: true, done: async ({ ok }) => void this.ended.push(ok ? 'done' : 'failed') };
      },
      holdsSecret: async (_server, args) =>
        JSON.stringify(args).includes('hunter2') ? 'its arguments hold a secret' : null,
      redact: (value) => value,
      log: {
        starting: async () => ++this.starts,
        started: async (_token, _server, { reason }) => tell('started', reason ?? 'done'),
        stopped: (_server, reason) => tell('stopped', reason),
        listed: async (_server, { digest }, changed) => tell('listed', `${digest} ${changed.join(',')}`),
        unjudged: ({ what, detail }) => tell(what, detail),
      },
      clock: systemClock,
      recorder: null,
      replay: null,
      ...more.options,
    });
    this.#server = new McpServer({ mcp: this.mcp, token: this.token, hosts: this.#hosts });
  }

  static async open(options: SceneOptions = {}): Promise<McpScene> {
    const scene = new McpScene(options);
    scene.port = await scene.#server.attach({ port: 0 });
    scene.#hosts.push(`127.0.0.1:${scene.port}`);
    return scene;
  }

  #start(
    mode: string,
    program: string | undefined,
    limits: McpLimits,
    tell: (what: string, detail: string) => void,
  ): Upstream {
    const args = program === undefined ? [FIXTURE] : ['-e', program];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'ignore'], env: { MODE: mode } });
    this.#children.add(child);
    const exit = new Promise<string>((resolve) =>
      child.once('exit', (code, signal) => resolve(`it ended with ${code ?? signal}`)),
    );
    const kill = async () => {
      child.kill('SIGKILL');
      await exit;
    };
    const { stdin, stdout } = child;
    return new StdioUpstream('docs', { stdin, stdout, exit, kill }, limits, {
      asked: (method) => tell('asked', method),
      garbage: (detail) => tell('garbage', detail),
    });
  }

  get running(): number {
    return [...this.#children].filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).length;
  }

  /** One POST; `headers` over the right ones, null leaves one out. */
  post(
    body: string | object,
    headers: Record<string, string | null> = {},
    path = '/docs',
  ): Promise<{ status: number; body: Answer }> {
    const all = {
      authorization: `Bearer ${this.token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    };
    const sent = Object.fromEntries(
      Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null),
    );
    return new Promise((resolve, reject) => {
      const out = request({ host: '127.0.0.1', port: this.port, path, method: 'POST', headers: sent }, (response) => {
        let text = '';
        response.on('data', (piece) => {
          text += piece;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: text === '' ? null : JSON.parse(text) }),
        );
      });
      out.on('error', reject);
      out.end(typeof body === 'string' ? body : JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }));
    });
  }

  /** The text of a call's result, and whether it says that it failed. */
  async call(name: string, args: object = {}): Promise<{ text: string; failed: boolean }> {
    const { body } = await this.post({ method: 'tools/call', params: { name, arguments: args } });
    if (body.error !== undefined) return { text: body.error.message, failed: true };
    return { text: body.result.content.map((block: Answer) => block.text).join('\n'), failed: body.result.isError };
  }

  async tools(): Promise<Answer[]> {
    return (await this.post({ method: 'tools/list', params: {} })).body.result.tools;
  }

  /** Bytes as they are; all that comes back until the connection is closed. */
  raw(bytes: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.end(bytes));
      let text = '';
      socket.on('data', (piece) => {
        text += piece.toString('latin1');
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
  }

  async close(): Promise<void> {
    await this.#server.close();
    await this.mcp.close();
    for (const child of this.#children) child.kill('SIGKILL');
  }
}
