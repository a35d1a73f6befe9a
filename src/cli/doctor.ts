import type { Command } from 'commander';
import { CordonError, ExitCode } from '../base/errors.ts';
import { columns, safeText } from '../base/term.ts';
import { resolvePaths } from '../config/paths.ts';
import type { Control } from '../sandbox/sandbox.ts';
import { type Context, newCommand, outputOf } from './context.ts';
import { hostControls } from './doctor-checks.ts';
import type { Output, OutputOptions } from './output.ts';

export function command(context: Context): Command {
  return newCommand()
    .addHelpText(
      'after',
      '\nExit code 0 when a run can start, 6 when a control is missing that no run may start without.',
    )
    .action(async (options: OutputOptions) => {
      const out = outputOf(context, options);
      const controls = [...(await hostControls(resolvePaths(context.env))), ...(await sandboxControls())];
      const ready = controls.every((control) => !blocks(control));
      if (out.json) out.document({ ready, controls });
      else out.line(...render(controls, out));
      context.exitCode = ready ? ExitCode.ok : ExitCode.enforcement;
    });
}

/** A driver that cannot even be loaded is one more thing that is missing, and no reason to say nothing about the rest. */
async function sandboxControls(): Promise<readonly Control[]> {
  try {
    const { sandboxDrivers } = await import('../sandbox/index.ts');
    return await sandboxDrivers.bubblewrap().probe();
  } catch (error) {
    const what = 'everything that keeps a run inside';
    const mechanism = error instanceof Error ? error.message : String(error);
    const remedy = error instanceof CordonError ? error.remedy : undefined;
    return [
      {
        name: 'sandbox',
        what,
        state: 'missing',
        mechanism,
        required: true,
        ...(remedy === undefined ? {} : { remedy }),
      },
    ];
  }
}

function blocks(control: Control): boolean {
  return control.required && control.state === 'missing';
}

/** One line a control; below the table the one command that remedies each that is not as it should be. */
export function render(controls: readonly Control[], out: Output): string[] {
  const { bold, dim, green, red, yellow } = out.style;
  const marks = { enforced: green('✓'), fallback: yellow('~'), missing: red('✗') };
  const rows = controls.map((control) => [
    marks[control.state],
    control.name,
    safeText(control.what),
    dim(safeText(control.mechanism)),
  ]);
  const wanting = controls.filter((control) => control.state !== 'enforced' && control.remedy !== undefined);
  const remedies = wanting.map(({ name, remedy, state }) => [`  ${marks[state]} ${name}`, safeText(remedy ?? '')]);
  const blocking = controls.filter(blocks);
  const verdict =
    blocking.length === 0
      ? bold(green('Runs can start on this machine.'))
      : bold(red(`No run can start on this machine: ${blocking.map((control) => control.name).join(', ')}`));
  return [
    ...columns(rows),
    ...(remedies.length === 0 ? [] : ['', bold('Remedies'), ...columns(remedies)]),
    '',
    verdict,
  ];
}
