import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { NotFoundError, UsageError } from '../base/errors.ts';
import { gitBytes } from '../base/git.ts';
import { formatSize } from '../base/size.ts';
import { columns, safeLines, safeText } from '../base/term.ts';
import { inspectRepository } from '../runs/workspace.ts';
import { outputChunks, storyOf } from './audit-source.ts';
import { type Context, outputOf } from './context.ts';
import { withRun } from './local.ts';
import type { Output, OutputOptions } from './output.ts';
import type { RunStory } from './run-story.ts';

type StoryOutput = RunStory['outputs'][number];

/** What the agent wrote, from the encrypted content beside the audit log. */
export async function logs(context: Context, id: string, options: OutputOptions & { raw?: boolean }): Promise<void> {
  const out = outputOf(context, options);
  if (options.raw && isTerminal(context)) {
    throw new UsageError('--raw onto a terminal would let the agent write escape sequences to it', {
      remedy: 'redirect it: cordon runs logs RUN --raw > file',
    });
  }
  await withRun(context, id, async (run, { paths }) => {
    const story = await storyOf(paths, run);
    if (story.outputs.length === 0) throw new NotFoundError(`run ${run.id} has no output that was kept`);
    for (const event of story.outputs) {
      if (options.raw) for await (const chunk of outputChunks(paths, event)) out.raw(chunk);
      else await showOutput(event, outputChunks(paths, event), out);
    }
  });
}

async function showOutput(event: StoryOutput, chunks: AsyncIterable<Buffer>, out: Output): Promise<void> {
  const decoder = new StringDecoder('utf8');
  const { stream, cut } = event.resource;
  const show = (lines: readonly string[]) => {
    if (out.json) for (const text of lines) out.jsonLine({ stream, text });
    else if (lines.length > 0) out.line(...lines.map(safeLines));
  };
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop() ?? '';
    show(lines);
  }
  rest += decoder.end();
  if (rest !== '') show([rest]);
  if (cut) out.progress('the rest was more than is kept, and was cut');
}

/** The change as git shows it, with no program that the repository or its configuration could name. */
export async function diff(context: Context, id: string, options: OutputOptions & { stat?: boolean }): Promise<void> {
  const out = outputOf(context, options);
  await withRun(context, id, async (run) => {
    if (run.base === null || run.head === null) throw new NotFoundError(`run ${run.id} delivered no commit`);
    const repository = await inspectRepository(run.repository);
    const colour = out.style.bold('x') !== 'x' ? 'always' : 'never';
    const args = [
      'diff',
      '--no-ext-diff',
      '--no-textconv',
      `--color=${colour}`,
      options.stat ? '--stat=100' : '--patch',
    ];
    const bytes = await gitBytes({ gitDir: repository.commonDir }, [...args, run.base, run.head, '--']);
    if (out.json) out.document({ runId: run.id, base: run.base, head: run.head, diff: bytes.toString('utf8') });
    else if (isTerminal(context)) out.raw(safeDiff(bytes.toString('utf8')));
    else out.raw(bytes);
  });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the colours that git itself puts in, and nothing else
const GIT_COLOUR = /\x1b\[[0-9;]*m/;

/** Everything escaped but the colours. A file may hold colours too: those change no more than the colour. */
export function safeDiff(text: string): string {
  return text
    .split(new RegExp(`(${GIT_COLOUR.source})`))
    .map((part) => (GIT_COLOUR.test(part) ? part : safeLines(part)))
    .join('');
}

function isTerminal(context: Context): boolean {
  return (context.streams.stdout as { isTTY?: boolean }).isTTY === true;
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
