import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { UsageError } from '../base/errors.ts';
import { type Context, newCommand, newGroup } from './context.ts';
import type { OutputOptions } from './output.ts';
import { countOption } from './run-request.ts';

export interface FilterOptions extends OutputOptions {
  readonly run?: string;
  readonly type?: readonly string[];
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

export function command(context: Context): Command {
  const audit = newGroup();
  const filtered = (name: string) =>
    newCommand(name)
      .option('--run <run>', 'only this run, by its id or the first characters')
      .option('--type <type>', 'only this type of event, such as command.started; repeatable', collect);
  audit.addCommand(
    filtered('tail')
      .description('the last events; with --follow also those that come, until you end it')
      .option('-n, --lines <n>', 'how many of those that are there', countOption, 20)
      .option('-f, --follow', 'go on with those that come')
      .option('--no-follow', 'end after those that are there (default)')
      .action(async (options: FilterOptions & { lines: number; follow?: boolean }) =>
        (await import('./audit-show.ts')).tail(context, options),
      ),
  );
  audit.addCommand(
    filtered('show')
      .description('one event whole, or all of a run')
      .argument('[seq]', 'the event’s number', seqArgument)
      .option('--content', 'what is kept beside that event: a prompt, an answer, what a program wrote')
      .action(async (seq: number | undefined, { content, ...options }: FilterOptions & { content?: boolean }) => {
        const looking = await import('./audit-show.ts');
        return content ? looking.showContent(context, seq, options) : looking.show(context, seq, options);
      }),
  );
  audit.addCommand(
    newCommand('verify')
      .description('recompute everything, offline: nothing was changed, taken away or left without its end')
      .argument('[path]', 'a log’s folder, an export or a proof (default: this installation’s log)')
      .option('--key <key>', 'the log’s public key, or a file with it (default: this installation’s)')
      .option(
        '--trusted <file>',
        'a signed checkpoint kept from earlier, which this must continue; repeatable',
        collect,
      )
      .addHelpText('after', '\nExit code 0 when it holds, 1 when it does not: the first wrong record is named.')
      .action(
        async (path: string | undefined, options: OutputOptions & { key?: string; trusted?: readonly string[] }) =>
          (await import('./audit-verify.ts')).verify(context, path, options),
      ),
  );
  audit.addCommand(
    newCommand('export')
      .description('copy the log, or one run of it; the copy verifies with the public key alone')
      .argument('<path>', 'where to; must not be there yet')
      .option('--run <run>', 'only this run, with proofs that it is part of the log')
      .option('--folder', 'as a folder of C2SP tlog-tiles, which other programs read; only of the whole log')
      .option('--otlp', 'one run as OpenTelemetry spans (OTLP in JSON), for dashboards; it proves nothing')
      .action(async (path: string, options: OutputOptions & { run?: string; folder?: boolean; otlp?: boolean }) => {
        if (options.folder && options.run !== undefined)
          throw new UsageError('--folder is of the whole log: leave out --run');
        if (options.otlp && (options.folder || options.run === undefined))
          throw new UsageError('--otlp is of one run: name it with --run');
        await (await import('./audit-export.ts')).exportLog(context, path, options);
      }),
  );
  audit.addCommand(
    newCommand('prove')
      .description('a proof that one event is in the log, for somebody who has only the public key')
      .argument('<seq>', 'the event’s number', seqArgument)
      .option('-o, --output <file>', 'write it there instead of standard output')
      .action(async (seq: number, options: OutputOptions & { output?: string }) =>
        (await import('./audit-export.ts')).prove(context, seq, options),
      ),
  );
  return audit;
}

function seqArgument(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Write the number of an event, from 0.');
  return Number(text);
}
