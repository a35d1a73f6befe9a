import { access, mkdir, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { ConflictError, StorageError, WorkspaceError } from '../base/errors.ts';
import { safeText } from '../base/term.ts';
import { type Context, newCommand, outputOf } from './context.ts';
import { examplePolicy } from './init-policy.ts';

export function command(context: Context): Command {
  return newCommand()
    .argument('[dir]', 'the repository (default: the current folder)', '.')
    .option('--force', 'replace a policy that is there')
    .action(async (dir: string, options: { force?: boolean; json?: boolean; quiet?: boolean }) => {
      const out = outputOf(context, options);
      const top = resolve(context.cwd, dir);
      const file = join(top, '.cordon', 'policy.yaml');
      await requireRepository(top);
      await write(file, options.force ?? false);
      if (out.json) {
        out.document({ file });
        return;
      }
      const shown = safeText(relative(context.cwd, file));
      out.line(
        `wrote ${out.style.bold(shown)}`,
        '',
        `  cordon policy check           ${out.style.dim('is it right?')}`,
        `  git add ${shown} && git commit   ${out.style.dim('a run reads it at the commit it starts from')}`,
      );
    });
}

async function requireRepository(top: string): Promise<void> {
  try {
    await access(join(top, '.git'));
  } catch {
    throw new WorkspaceError(`${safeText(top)} is not the top folder of a git repository`, {
      remedy: 'go to the top of the repository (`git rev-parse --show-toplevel`), or `git init` first',
    });
  }
}

async function write(file: string, force: boolean): Promise<void> {
  try {
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, examplePolicy, { flag: force ? 'w' : 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new ConflictError(`${safeText(file)} is there already`, {
        cause,
        remedy: 'edit it, or replace it with --force',
      });
    }
    throw new StorageError(`${safeText(file)} could not be written: ${(cause as Error).message}`, { cause });
  }
}
