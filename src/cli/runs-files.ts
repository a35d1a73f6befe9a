import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isProfile, profiles } from '../agents/profiles/index.ts';
import { NotFoundError, UsageError } from '../base/errors.ts';
import { gitBytes } from '../base/git.ts';
import { formatSize } from '../base/size.ts';
import { columns, safeText } from '../base/term.ts';
import { inspectRepository } from '../runs/workspace.ts';
import type { RunRecord } from '../store/index.ts';
import { contentChunks, storyOf } from './audit-source.ts';
import { type Context, isTerminal, outputOf } from './context.ts';
import { diffText } from './diff-text.ts';
import { GuestLines } from './guest-output.ts';
import { withRun } from './local.ts';
import type { Output, OutputOptions } from './output.ts';
import { readOutput } from './output-record.ts';

export interface LogOptions extends OutputOptions {
  readonly raw?: boolean;
  readonly stream?: string;
}

/** What the agent wrote, from the encrypted content beside the audit log. */
export async function logs(context: Context, id: string, options: LogOptions): Promise<void> {
  const out = outputOf(context, options);
  if (options.raw && isTerminal(context)) {
    throw new UsageError('--raw onto a terminal would let the agent write escape sequences to it', {
      remedy: 'redirect it: cordon runs logs RUN --raw > file',
    });
  }
  await withRun(context, id, async (run, { paths }) => {
    const story = await storyOf(paths, run);
    const shown = await reader(run, new GuestLines((line) => out.line(line)));
    if (story.outputs.length === 0) throw new NotFoundError(`run ${run.id} has no output that was kept`);
    for (const event of story.outputs) {
      const pieces = readOutput(contentChunks(paths, event));
      for await (const piece of pieces) {
        if (context.signal.aborted) return;
        if (options.stream !== undefined && piece.stream !== options.stream) continue;
        if (options.raw) out.raw(piece.bytes);
        else if (out.json) out.jsonLine({ ...piece, bytes: undefined, text: piece.bytes.toString('utf8') });
        else shown.write(piece.stream, piece.bytes);
      }
      shown.end();
      if (event.resource.cut) out.progress('the rest was more than is kept, and was cut');
    }
  });
}

interface Reader {
  write(stream: 'stdout' | 'stderr', chunk: Buffer): void;
  end(): void;
}

/** What an agent with a stream of events printed is read as a transcript; everything else as it is. */
async function reader(run: RunRecord, lines: GuestLines): Promise<Reader> {
  const kind = (run.request as { agent?: { kind?: unknown } } | null)?.agent?.kind;
  if (typeof kind !== 'string' || !isProfile(kind)) return lines;
  const [{ AgentStream }, { transcript }, profile] = await Promise.all([
    import('../agents/stream.ts'),
    import('../agents/transcript.ts'),
    profiles[kind](),
  ]);
  const tell = (line: string) => lines.write('stdout', Buffer.from(`${line}\n`));
  const stream = new AgentStream(profile.parser(), {
    onStep: (step) => transcript(step).forEach(tell),
    onOther: tell,
  });
  return {
    write: (name, chunk) => (name === 'stdout' ? stream.write(chunk) : lines.write(name, chunk)),
    end() {
      stream.end();
      lines.end();
    },
  };
}

/** The change as git shows it, with no program that the repository or its configuration could name. */
export async function diff(context: Context, id: string, options: OutputOptions & { stat?: boolean }): Promise<void> {
  const out = outputOf(context, options);
  await withRun(context, id, async (run) => {
    if (run.base === null || run.head === null) throw new NotFoundError(`run ${run.id} delivered no commit`);
    const repository = await inspectRepository(run.repository);
    const args = [
      'diff',
      '--no-ext-diff',
      '--no-textconv',
      '--no-color',
      '--no-color-moved',
      options.stat ? '--stat=100' : '--patch',
    ];
    const bytes = await gitBytes({ gitDir: repository.commonDir }, [...args, run.base, run.head, '--']);
    if (out.json) out.document({ runId: run.id, base: run.base, head: run.head, diff: bytes.toString('utf8') });
    else if (isTerminal(context)) out.raw(diffText(bytes.toString('utf8'), out.style));
    else out.raw(bytes);
  });
}

export async function artifacts(context: Context, id: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  await withRun(context, id, async (run, { paths }) => {
    const found = await listFiles(join(paths.runs, run.id, 'artifacts'));
    if (out.json) out.document({ runId: run.id, artifacts: found });
    else show(found, out);
  });
}

interface Artifact {
  readonly path: string;
  readonly bytes: number;
}

async function listFiles(folder: string): Promise<Artifact[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const files = await Promise.all(names.sort().map(async (name) => ({ name, stats: await lstat(join(folder, name)) })));
  return files
    .filter(({ stats }) => stats.isFile())
    .map(({ name, stats }) => ({ path: join(folder, name), bytes: stats.size }));
}

function show(found: readonly Artifact[], out: Output): void {
  if (found.length === 0) out.progress('this run left no artifacts');
  else out.line(...columns(found.map(({ path, bytes }) => [formatSize(bytes), safeText(path)])));
}
