import { Command, InvalidArgumentError } from 'commander';
import { ExitCode, UsageError } from '../base/errors.ts';
import type { EffectivePolicy } from '../policy/index.ts';
import { type Context, newCommand, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { type DocumentOptions, readActions, readDocuments, readSource } from './policy/documents.ts';
import { recordedActions } from './policy/recorded.ts';

type Options = OutputOptions & DocumentOptions;

const FILE = ['[file]', "the repository's document (default: .cordon/policy.yaml of this repository)"] as const;

/** A file that stands by itself is the one that `--policy` names. */
function named(file: string | undefined, options: Options): Options {
  if (file === undefined) return options;
  if (options.policy !== undefined)
    throw new UsageError(`two documents are named: ${file} and --policy ${options.policy}`, {
      remedy: 'leave one of the two out; `cordon policy diff A B` compares two',
    });
  return { ...options, policy: file };
}

/** `cordon policy check · explain · test · diff · risk`: nothing here runs anything, and the files are read as they lie. */
export function command(context: Context): Command {
  // Without options of its own: commander would take those of its verbs for it.
  const policy = new Command();
  for (const verb of [checkCommand, explainCommand, testCommand, diffCommand, riskCommand])
    policy.addCommand(verb(context));
  return policy;
}

function onDocuments(name: string, description: string): Command {
  return newCommand(name)
    .description(description)
    .option('--policy <file>', "the repository's document (default: .cordon/policy.yaml of this repository)")
    .option(
      '--organisation <file>',
      "the organisation's document (default: /etc/cordon/policy.yaml, where there is one)",
    );
}

function checkCommand(context: Context): Command {
  return onDocuments('check', 'are the documents right, and does everything in them have an effect?')
    .argument(...FILE)
    .addHelpText(
      'after',
      '\nExit code 0 when they are, 2 when a document is wrong, 3 when something is above the ceiling.',
    )
    .action(async (file: string | undefined, options: Options) => {
      const { renderCheck } = await import('./policy/render.ts');
      const out = outputOf(context, options);
      const policy = await compile(context, named(file, options));
      if (out.json)
        out.document({
          ok: policy.warnings.length === 0,
          digest: policy.digest,
          compiler: policy.compiler,
          layers: policy.layers,
          warnings: policy.warnings,
          limits: policy.limits,
        });
      else out.line(...renderCheck(policy, out.style));
      context.exitCode = policy.warnings.length === 0 ? ExitCode.ok : ExitCode.policy;
    });
}

function explainCommand(context: Context): Command {
  return onDocuments('explain', 'what would happen to one action, by which rules, and what to add to permit it')
    .argument(
      '<action...>',
      'net.connect host=evil.example:443 · command.execute path=/usr/bin/node · git.push ref=refs/heads/main force',
    )
    .option('--exit-code', 'end with 0 for permit, 3 for deny, 4 for ask')
    .action(async (words: string[], options: Options & { exitCode?: boolean }) => {
      const { explain } = await import('../policy/explain.ts');
      const { renderExplanation } = await import('./policy/render.ts');
      const out = outputOf(context, options);
      const explanation = explain(await compile(context, options), words);
      if (out.json) out.document(explanation);
      else out.line(...renderExplanation(explanation, out.style));
      const codes = { permit: ExitCode.ok, deny: ExitCode.policy, ask: ExitCode.approval };
      if (options.exitCode) context.exitCode = codes[explanation.decision.effect];
    });
}

function testCommand(context: Context): Command {
  return onDocuments('test', "run the documents' own tests")
    .argument(...FILE)
    .addHelpText(
      'after',
      '\nExit code 0 when all pass, 2 when one fails. They also run at every load: a document that fails them is refused.',
    )
    .action(async (file: string | undefined, options: Options) => {
      const { subject, testPolicy } = await import('../policy/index.ts');
      const { renderTests } = await import('./policy/render.ts');
      const out = outputOf(context, options);
      const results = await testPolicy(await readDocuments(context, named(file, options)));
      const passed = results.every((result) => result.passed);
      if (out.json) out.document({ passed, results });
      else out.line(...renderTests(results, (result) => subject(result.action), out.style));
      context.exitCode = passed ? ExitCode.ok : ExitCode.usage;
    });
}

/** Zero leaves them out. */
function runsOption(text: string): number {
  const runs = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(runs)) throw new InvalidArgumentError('Write a whole number.');
  return runs;
}

function diffCommand(context: Context): Command {
  return newCommand('diff')
    .description(
      "what the second of two documents newly permits, denies or asks: on both documents' tests and on what runs did",
    )
    .argument('<a>', 'a document')
    .argument('<b>', 'another')
    .option('--runs <n>', 'compare on what this many of the last runs here asked', runsOption, 50)
    .option('--actions <file>', 'further actions to compare on, as JSON lines')
    .option(
      '--organisation <file>',
      'compare under this ceiling (default: /etc/cordon/policy.yaml, where there is one)',
    )
    .option('--exit-code', 'end with 1 when they differ')
    .action(async (a: string, b: string, options: Options & { runs: number; actions?: string; exitCode?: boolean }) => {
      const { compilePolicy, diffPolicies, testPolicy } = await import('../policy/index.ts');
      const { renderDiff } = await import('./policy/render.ts');
      const out = outputOf(context, options);
      const ceiling = (await readDocuments(context, { organisation: options.organisation })).organisation;
      const inputs = await Promise.all(
        [a, b].map(async (file) => ({
          repository: await readSource(context, file),
          ...(ceiling === undefined ? {} : { organisation: ceiling }),
        })),
      );
      const [before, after] = await Promise.all([compilePolicy(inputs[0] ?? {}), compilePolicy(inputs[1] ?? {})]);
      const tests = (await Promise.all(inputs.map((input) => testPolicy(input)))).flat().map((result) => result.action);
      const given = options.actions === undefined ? [] : await readActions(context, options.actions);
      const recorded = await recordedActions(context, options.runs);
      const diff = diffPolicies(before, after, [...tests, ...recorded, ...given]);
      if (out.json) out.document(diff);
      else out.line(...renderDiff(diff, out.style));
      if (options.exitCode && !diff.same) context.exitCode = ExitCode.agentFailed;
    });
}

function riskCommand(context: Context): Command {
  return onDocuments('risk', 'what the policy leaves open, in plain sentences')
    .argument(...FILE)
    .action(async (file: string | undefined, options: Options) => {
      const { residualRisk } = await import('../policy/index.ts');
      const { renderRisks } = await import('./policy/render.ts');
      const out = outputOf(context, options);
      const policy = await compile(context, named(file, options));
      const risks = residualRisk(policy);
      if (out.json) out.document({ digest: policy.digest, risks });
      else out.line(...renderRisks(risks, out.style));
    });
}

async function compile(context: Context, options: DocumentOptions): Promise<EffectivePolicy> {
  const { compilePolicy } = await import('../policy/index.ts');
  return compilePolicy(await readDocuments(context, options));
}
