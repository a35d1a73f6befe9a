/** What V8 has compiled of the chunks of dist/ once the verbs that people wait for were run, kept beside the chunks. */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { encodeKept, keptFile } from '../src/base/code-cache.ts';

const root = join(import.meta.dirname, '..');
const recorder = join(import.meta.dirname, 'code-cache-recorder.ts');
/** Milliseconds; a warm-up takes half a second. */
const PATIENCE = 60_000;

export interface Kept {
  readonly chunks: number;
  readonly bytes: number;
  /** What a warm-up that failed said. Nothing is kept then of what it did not get to. */
  readonly failed: string | null;
}

/** Runs the built verbs in an installation and a repository that are thrown away, and writes what is kept into `dist`. */
export function keepCode(dist: string): Kept {
  const scratch = mkdtempSync(join(tmpdir(), 'cordon-build-'));
  try {
    const warm = join(scratch, 'warm');
    mkdirSync(warm);
    const failed = warmUp(dist, scratch, warm);
    let bytes = 0;
    const chunks = readdirSync(warm);
    for (const name of chunks) {
      const kept = encodeKept(readFileSync(join(dist, name), 'utf8'), readFileSync(join(warm, name)));
      writeFileSync(keptFile(join(dist, name)), kept);
      bytes += kept.length;
    }
    return { chunks: chunks.length, bytes, failed };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What is run, in this order; the first one that fails says why, and the rest is left out. */
const VERBS = [
  ['run', '--quiet', '--', 'sh', '-c', 'echo changed > file'],
  ['run', '--quiet', '--', 'true'],
  ['runs', 'list'],
];

function warmUp(dist: string, scratch: string, folder: string): string | null {
  const place = join(scratch, 'package'); // beside the sources the program would run these
  mkdirSync(place);
  symlinkSync(dist, join(place, 'dist'));
  copyFileSync(join(root, 'cordon'), join(place, 'cordon'));
  const env = {
    PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
    HOME: scratch,
    TMPDIR: scratch,
    CORDON_HOME: join(scratch, 'home'),
    GIT_CONFIG_NOSYSTEM: '1',
    NODE_OPTIONS: `--import=${pathToFileURL(recorder)}`,
    CORDON_WARM_UP: folder,
  };
  const project = join(scratch, 'project');
  const say = (program: string, ...args: readonly string[]): string | null => {
    const ended = spawnSync(program, args, {
      cwd: project,
      env,
      encoding: 'utf8',
      timeout: PATIENCE,
      killSignal: 'SIGKILL',
    });
    return ended.status === 0
      ? null
      : (ended.error?.message ?? `exit ${ended.status}\n${ended.stderr}${ended.stdout}`.trim());
  };
  mkdirSync(project);
  const git = (...args: readonly string[]) =>
    say('git', '-c', 'user.name=Build', '-c', 'user.email=build@invalid', ...args);
  let failed = git('init', '-q') ?? git('commit', '-q', '--allow-empty', '-m', 'first');
  for (const verb of VERBS) failed ??= say(join(place, 'cordon'), ...verb);
  return failed;
}
