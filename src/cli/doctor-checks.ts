import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { CordonError } from '../base/errors.ts';
import { runProgram } from '../base/process.ts';
import { formatSize } from '../base/size.ts';
import { checkHome } from '../config/home.ts';
import type { Paths } from '../config/paths.ts';
import type { Control } from '../sandbox/sandbox.ts';

const OLDEST_NODE = 24;
/** `git --path-format` and `merge-tree --write-tree` are needed: Debian 12 has 2.39. */
const OLDEST_GIT: readonly [number, number] = [2, 38];
/** Below this a run of ordinary size fills the disk. Bytes. */
const ENOUGH_DISK = 1024 ** 3;

/** What Cordon needs besides the sandbox. None of these throws: what is wrong is the answer. */
export async function hostControls(paths: Paths): Promise<Control[]> {
  return Promise.all([node(), git(), storage(paths), space(paths), organisation(paths)]);
}

async function node(): Promise<Control> {
  const control = {
    name: 'node',
    what: `Node ${OLDEST_NODE} or later`,
    mechanism: `${process.version}`,
    required: true,
  };
  const enough = Number(process.versions.node.split('.')[0]) >= OLDEST_NODE;
  return enough
    ? { ...control, state: 'enforced' }
    : { ...control, state: 'missing', remedy: `npm install -g node@${OLDEST_NODE}` };
}

async function git(): Promise<Control> {
  const control = {
    name: 'git',
    what: `git ${OLDEST_GIT.join('.')} or later, which carries the change`,
    required: true,
  };
  const missing = (mechanism: string): Control => ({
    ...control,
    mechanism,
    state: 'missing',
    remedy: 'apt-get install git',
  });
  try {
    const { stdout } = await runProgram('git', ['--version']);
    const version = /(\d+)\.(\d+)\S*/.exec(stdout.toString());
    if (version === null) return missing('git says no version');
    const [text, major, minor] = [version[0], Number(version[1]), Number(version[2])];
    const enough = major > OLDEST_GIT[0] || (major === OLDEST_GIT[0] && minor >= OLDEST_GIT[1]);
    return enough ? { ...control, mechanism: text, state: 'enforced' } : missing(text);
  } catch {
    return missing('not installed');
  }
}

async function storage(paths: Paths): Promise<Control> {
  const control = {
    name: 'storage',
    what: 'log, keys and database that nobody else can change or read',
    required: true,
  };
  try {
    await stat(paths.home);
  } catch {
    return { ...control, state: 'enforced', mechanism: `${paths.home}: made at the first run` };
  }
  try {
    await checkHome(paths);
    await access(paths.home, constants.W_OK);
    return { ...control, state: 'enforced', mechanism: `${paths.home}, mode 0700` };
  } catch (error) {
    // Parts that are not there yet are made at the next run.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return { ...control, state: 'enforced', mechanism: `${paths.home}: completed at the next run` };
    }
    const remedy = error instanceof CordonError ? error.remedy : undefined;
    return {
      ...control,
      state: 'missing',
      mechanism: (error as Error).message,
      remedy: remedy ?? `chmod u+rwx ${paths.home}`,
    };
  }
}

async function space(paths: Paths): Promise<Control> {
  const control = { name: 'disk-space', what: 'room for workspaces and the log', required: false };
  for (let folder = paths.home; ; folder = folder.slice(0, folder.lastIndexOf('/')) || '/') {
    try {
      const { bavail, bsize } = await statfs(folder);
      const free = bavail * bsize;
      const mechanism = `${formatSize(free)} free`;
      return free >= ENOUGH_DISK
        ? { ...control, state: 'enforced', mechanism }
        : { ...control, state: 'fallback', mechanism, remedy: `free space on the disk of ${folder}` };
    } catch {
      if (folder === '/') return { ...control, state: 'fallback', mechanism: 'unknown' };
    }
  }
}

async function organisation(paths: Paths): Promise<Control> {
  const file = paths.organisationPolicy;
  const control = { name: 'ceiling', what: 'an organisation’s policy above every repository’s', required: true };
  try {
    const stats = await stat(file);
    if (stats.uid === 0 && (stats.mode & 0o022) === 0) return { ...control, state: 'enforced', mechanism: file };
    const mechanism = `${file} can be changed by others than root`;
    return { ...control, state: 'missing', mechanism, remedy: `chown root:root ${file} && chmod go-w ${file}` };
  } catch {
    return { ...control, state: 'enforced', mechanism: 'none here: you are the organisation' };
  }
}
