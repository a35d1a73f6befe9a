/**
 * What an agent may have its client do: read and write files, run commands in terminals. All of it is done in the sandbox, by commands of
 * its own that are recorded like any others; nothing here opens a path of the guest's. Each is decided upon before it is done.
 */
import {
  type CreateTerminalRequest,
  type ReadTextFileRequest,
  RequestError,
  type WriteTextFileRequest,
} from '@agentclientprotocol/sdk';
import { shellLine } from '../../base/term.ts';
import { canonicalPath, type GuestBench, readTextFile, ServiceError, writeTextFile } from './files.ts';
import { canonicalName } from './permission.ts';
import { type TerminalOutput, Terminals } from './terminals.ts';

/** Calls in one run. */
const MOST_CALLS = 10_000;
const MOST_ARGUMENTS = 4_096;

export interface ServiceCall {
  /** Canonical: what is decided upon. */
  readonly tool: string;
  /** All of it: what an answer is bound to. */
  readonly input: Readonly<Record<string, unknown>>;
}

export interface ServiceResult {
  readonly ok: boolean;
  /** In words, for the record. */
  readonly text: string;
}

/** Decides, and records. `done` records what came of it, and is called exactly once for a call that was permitted. */
export type ServiceHook = (
  call: ServiceCall,
) => Promise<
  | { readonly permitted: true; done(result: ServiceResult): Promise<void> }
  | { readonly permitted: false; readonly reason: string }
>;

/** A terminal has one stream: what is written to both comes in its order. */
const ONE_STREAM = 'exec 2>&1; exec "$@"';

export class Services {
  readonly #bench: GuestBench;
  readonly #hook: ServiceHook;
  readonly #cwd: string;
  readonly #terminals = new Terminals();
  readonly #work = new Set<Promise<unknown>>();
  readonly #over = new AbortController();
  #calls = 0;

  constructor(bench: GuestBench, cwd: string, hook: ServiceHook) {
    this.#bench = { ...bench, signal: AbortSignal.any([bench.signal, this.#over.signal]) };
    this.#cwd = cwd;
    this.#hook = hook;
  }

  read({ path: asked, line, limit }: ReadTextFileRequest): Promise<{ content: string }> {
    return this.#answer(async () => {
      const path = canonicalPath(asked);
      const lines = { ...(line == null ? {} : { line }), ...(limit == null ? {} : { limit }) };
      const call = { tool: canonicalName('fs/read_text_file', path), input: { path, ...lines } };
      return this.#do(call, async () => {
        const content = await readTextFile(this.#bench, path, lines);
        return { value: { content }, text: `${Buffer.byteLength(content)} bytes` };
      });
    });
  }

  write({ path: asked, content }: WriteTextFileRequest): Promise<Record<string, never>> {
    return this.#answer(async () => {
      const path = canonicalPath(asked);
      const call = { tool: canonicalName('fs/write_text_file', path), input: { path, content } };
      return this.#do(call, async () => {
        await writeTextFile(this.#bench, path, content);
        return { value: {}, text: `${Buffer.byteLength(content)} bytes` };
      });
    });
  }

  /** A command with arguments is executed as it is; one without is a line for `/bin/sh`. */
  create({ command, args = [], env = [], cwd, outputByteLimit = null }: CreateTerminalRequest): Promise<{
    terminalId: string;
  }> {
    return this.#answer(async () => {
      const folder = cwd == null ? this.#cwd : canonicalPath(cwd);
      const words = [command, ...args];
      if (command === '' || words.length > MOST_ARGUMENTS || words.some((word) => word.includes('\0')))
        throw new ServiceError('the command cannot be one');
      const variables = Object.fromEntries(env.map(({ name, value }) => [name, value]));
      if (!Object.entries(variables).every(([name, value]) => /^[^=\0]+$/.test(name) && !value.includes('\0')))
        throw new ServiceError('a variable cannot be one');
      const line = args.length === 0 ? command : shellLine(words);
      const input = { command, args, env: variables, cwd: folder, outputByteLimit };
      const granted = await this.#leave({ tool: canonicalName('terminal/create', line), input });
      const argv = [
        '/bin/sh',
        '-c',
        ONE_STREAM,
        'sh',
        ...(args.length === 0 ? ['/bin/sh', '-c'] : []),
        ...words,
      ] as const;
      const spec = { argv, env: { ...this.#bench.env, ...variables }, cwd: folder, outputByteLimit };
      try {
        const ended = (last: TerminalOutput) => this.#keep(granted.done(inWords(last)));
        return { terminalId: await this.#terminals.create(this.#bench.guest, spec, ended) };
      } catch (error) {
        await granted.done({ ok: false, text: wordsOf(error) });
        throw error;
      }
    });
  }

  output(id: string): Promise<TerminalOutput> {
    return this.#answer(async () => this.#terminals.output(id));
  }

  wait(id: string) {
    return this.#answer(() => this.#terminals.wait(id));
  }

  kill(id: string): Promise<Record<string, never>> {
    return this.#answer(async () => {
      await this.#terminals.kill(id);
      return {};
    });
  }

  release(id: string): Promise<Record<string, never>> {
    return this.#answer(async () => {
      await this.#terminals.release(id);
      return {};
    });
  }

  /** Ends what is still being done. Resolves when nothing is, and the record of all of it is closed. */
  async close(): Promise<void> {
    this.#over.abort(new ServiceError('the session is over'));
    await this.#terminals.close();
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  async #do<T>(call: ServiceCall, act: () => Promise<{ readonly value: T; readonly text: string }>): Promise<T> {
    const granted = await this.#leave(call);
    let result: ServiceResult = { ok: false, text: 'interrupted' };
    try {
      const { value, text } = await act();
      result = { ok: true, text };
      return value;
    } catch (error) {
      result = { ok: false, text: wordsOf(error) };
      throw error;
    } finally {
      await granted.done(result);
    }
  }

  async #leave(call: ServiceCall) {
    if (++this.#calls > MOST_CALLS) throw new ServiceError(`it asked for more than ${MOST_CALLS} files and terminals`);
    this.#over.signal.throwIfAborted();
    const leave = await this.#hook(call);
    if (!leave.permitted) throw new ServiceError(`the policy does not permit this: ${leave.reason}`);
    return leave;
  }

  /** Everything that is done here is waited for in the end. */
  #keep<T>(work: Promise<T>): Promise<T> {
    const kept = work.catch(() => {});
    this.#work.add(kept);
    kept.finally(() => this.#work.delete(kept));
    return work;
  }

  async #answer<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#keep(work());
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      if (error.missing) throw new RequestError(NOT_FOUND, `Resource not found: ${error.message}`);
      throw new RequestError(FAILED, error.message, { details: error.message });
    }
  }
}

/** The protocol's code for a resource that is not there, and JSON-RPC's for what could not be done. */
const NOT_FOUND = -32002;
const FAILED = -32603;

function inWords({ output, exitStatus }: TerminalOutput): ServiceResult {
  const { exitCode = null, signal = null } = exitStatus ?? {};
  const how = signal === null ? `exit code ${exitCode}` : `ended by ${signal}`;
  return { ok: exitCode === 0, text: `[${how}]\n${output}` };
}

function wordsOf(error: unknown): string {
  return error instanceof ServiceError ? error.message : 'interrupted';
}
