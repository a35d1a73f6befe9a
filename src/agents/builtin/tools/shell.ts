import * as z from 'zod';
import { formatDuration } from '../../../base/duration.ts';
import { Excerpt, isBinary, plainText } from '../excerpt.ts';
import { type Ended, runInGuest } from '../guest.ts';
import { Spill } from '../spill.ts';
import { failure, line, type Tool, type ToolResult, type Workbench } from './tool.ts';

/** Seconds. */
const DEFAULT_TIMEOUT = 120;
const LONGEST_TIMEOUT = 1_800;

/**
 * Tells the working folder after the script's end, between two marks behind its output. The guest can write the same marks; then its next
 * command starts in a folder of its choice, inside.
 */
const WRAPPER = `trap 'printf "\\036cwd:%s\\036" "$PWD" >&2' EXIT; eval "$1"`;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the marks of the wrapper
const FOLDER = /\x1ecwd:(\/[^\x1e\0]{0,4095})\x1e/g;

const schema = z.strictObject({
  command: line(100_000).min(1).describe('a script for /bin/sh; its working folder is kept for the next call'),
  timeout: z.number().min(1).max(LONGEST_TIMEOUT).optional().describe(`seconds; ${DEFAULT_TIMEOUT} by default`),
});

export const shell: Tool = {
  name: 'shell',
  description:
    'Runs a command in the sandbox, in the repository at /workspace, and shows what it wrote and its exit code. There is no terminal and no ' +
    'input. Long output is cut in the middle and kept whole in a file. Start servers in the background, with their output in a file.',
  schema,
  brief: ({ command }: z.output<typeof schema>) => command,
  run: ({ command, timeout = DEFAULT_TIMEOUT }: z.output<typeof schema>, bench: Workbench) =>
    runShell(command, timeout, bench),
};

async function runShell(command: string, timeout: number, bench: Workbench): Promise<ToolResult> {
  const excerpt = new Excerpt(bench.shown);
  const spill = new Spill(bench);
  const ended = await runInGuest(bench.guest, {
    argv: ['/bin/sh', '-c', WRAPPER, 'sh', command],
    env: bench.env,
    cwd: bench.cwd,
    timeout: timeout * 1000,
    signal: bench.signal,
    output: 'together',
    onOutput(_stream, piece) {
      excerpt.write(piece);
      return spill.write(piece);
    },
  });
  const file = await spill.end();
  if (ended.how.kind === 'failed') return notStarted(ended.how.message, bench);
  const { text, folder } = outputText(excerpt, file);
  if (folder !== null) bench.cwd = folder;
  const ok = ended.how.kind === 'exited' && ended.how.code === 0;
  const notes = [endText(ended, timeout), bench.cwd === '/workspace' ? null : `working folder: ${bench.cwd}`];
  return { ok, text: [text, `[${notes.filter((note) => note !== null).join('; ')}]`].filter(Boolean).join('\n') };
}

function notStarted(message: string, bench: Workbench): ToolResult {
  if (bench.cwd === '/workspace')
    return failure(
      `/bin/sh could not be started in the sandbox: ${message}. The policy may not allow it; use the other tools.`,
    );
  const gone = bench.cwd;
  bench.cwd = '/workspace';
  return failure(`the command did not start: ${message} (the working folder was ${gone}; it is /workspace again)`);
}

function outputText(excerpt: Excerpt, file: string | null): { text: string; folder: string | null } {
  const { head, tail, missing } = excerpt.parts();
  const whole = missing > 0 ? null : Buffer.concat([head, tail]);
  if (isBinary(whole ?? head) || isBinary(tail)) {
    const kept = file === null ? '' : `, kept in ${file}`;
    return { text: `[binary output, ${excerpt.bytes} bytes${kept}]`, folder: null };
  }
  let folder: string | null = null;
  const shown = (bytes: Buffer) =>
    plainText(bytes).replace(FOLDER, (_mark, path: string) => {
      folder = path;
      return '';
    });
  if (whole !== null) return { text: shown(whole).trimEnd(), folder };
  const where = file === null ? '' : `; all of it is in ${file}: use read with from, or search`;
  const text = `${shown(head)}\n[… ${missing} bytes are not shown${where} …]\n${shown(tail).trimEnd()}`;
  return { text, folder };
}

function endText({ how, open }: Ended, timeout: number): string {
  const left = open ? '; something it started is still running in the background' : '';
  switch (how.kind) {
    case 'exited':
      return `exit code ${how.code}${left}`;
    case 'signalled':
      return `ended by signal ${how.signal}${left}`;
    case 'timeout':
      return `not done after ${formatDuration(timeout * 1000)}, and was ended; give it more time, or run it in the background`;
    case 'lost':
      return `the sandbox ended: ${how.reason}`;
    default:
      return how.kind;
  }
}
