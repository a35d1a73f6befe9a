import { execFileSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

/** Builds Cordon and lays it out in a folder as its package does; the path of the program there. Its start is what people wait for. */
export function installBuilt(folder: string): string {
  execFileSync(process.execPath, [join(root, 'scripts/build.ts')], { cwd: root, stdio: 'ignore' });
  for (const part of ['cordon', 'package.json', 'dist', 'src/guest/bin'])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  cpSync(join(root, 'node_modules'), join(folder, 'node_modules'), {
    recursive: true,
    filter: (from) => !/node_modules\/(typescript|@typescript|vitest|\.cache|@biomejs|rolldown)/.test(from),
  });
  return join(folder, 'cordon');
}
