import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { type Context, newCommand, newGroup } from './context.ts';
import type { OutputOptions } from './output.ts';
import { durationOption } from './run-request.ts';

export interface MergeOptions extends OutputOptions {
  readonly workspace?: string;
  readonly ref: string;
  readonly of?: string;
  readonly since?: string;
  readonly output?: string;
}

export interface RotateOptions extends OutputOptions {
  readonly overlap: number;
  readonly revokedFrom?: string | number;
  readonly authority?: boolean;
}

export function command(context: Context): Command {
  const attest = newGroup();
  attest.addCommand(
    newCommand('key')
      .description('the public key file: all that whoever verifies commits of this installation needs')
      .option('-o, --output <file>', 'write it there instead of standard output')
      .action(async (options: OutputOptions & { output?: string }) =>
        (await import('./attest-keys.ts')).key(context, options),
      ),
  );
  attest.addCommand(
    newCommand('signers')
      .description('whom git should believe: lines for gpg.ssh.allowedSignersFile')
      .option('--revoked <file>', 'write the list of revoked certificates there, for gpg.ssh.revocationFile')
      .action(async (options: OutputOptions & { revoked?: string }) =>
        (await import('./attest-signers.ts')).signers(context, options),
      ),
  );
  attest.addCommand(
    newCommand('rotate')
      .description('sign with another key from now on; what the old one signed still counts')
      .option('--overlap <time>', 'how long runs that go on may still use the old one', durationOption, 24 * 3_600_000)
      .option(
        '--revoked-from <when>',
        'the old one was stolen: nothing of it counts that was logged from then on',
        momentOption,
      )
      .option('--authority', 'the authority that certifies the keys of runs, instead of the key of statements')
      .action(async (options: RotateOptions) => (await import('./attest-keys.ts')).rotate(context, options)),
  );
  attest.addCommand(
    newCommand('revoke')
      .description('nothing counts any more that was logged for a run')
      .argument('<run>', 'the run’s id in full')
      .option('--from <when>', 'only what was logged from then on: a time, or the number of a record', momentOption)
      .action(async (run: string, options: OutputOptions & { from?: string | number }) =>
        (await import('./attest-keys.ts')).revoke(context, run, options),
      ),
  );
  attest.addCommand(
    newCommand('merge')
      .description('prove a squashed, rebased or merged commit by the change it repeats, tree for tree')
      .argument('<commit>', 'what the merge made')
      .requiredOption('--ref <branch>', 'the branch it was merged to')
      .option('--of <commit>', 'the delivered commit (default: the one with the same tree)')
      .option('--since <commit>', 'the commit before the first that was made (default: its first parent)')
      .option('-w, --workspace <dir>', 'a clone that has both (default: the current one)')
      .option('-o, --output <file>', 'write the proof there instead of to the clone’s refs')
      .action(async (commit: string, options: MergeOptions) =>
        (await import('./attest-merge.ts')).merge(context, commit, options),
      ),
  );
  return attest;
}

function momentOption(text: string): string | number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const time = Date.parse(text);
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(time))
    return new Date(time).toISOString();
  throw new InvalidArgumentError('Write a time such as 2026-01-31T12:00:00Z, or the number of a record of the log.');
}
