import type { Command } from 'commander';
import { type Context, newCommand, newGroup } from './context.ts';
import type { OutputOptions } from './output.ts';

export interface AddOptions extends OutputOptions {
  readonly driver: string;
  readonly baseUrl?: string;
  readonly region?: string;
  readonly key?: string;
  readonly model: readonly string[];
  readonly price?: string;
  readonly context?: string;
  readonly maxOutput?: string;
  readonly setting?: readonly string[];
  readonly header?: readonly string[];
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

const EXAMPLES = `
Examples:
  cordon secrets set ANTHROPIC_API_KEY
  cordon providers add claude --driver anthropic --key ANTHROPIC_API_KEY --model claude-sonnet-4-5 --price 3/15/0.3
  cordon providers add local --driver openai-compatible --base-url http://127.0.0.1:11434/v1 --model qwen3

The key is the name of a secret, never the key itself. A price is in US dollars for a million tokens: prompt/answer, and
cached prompt where it costs less. A run may use a provider and a model when its policy names both (llm_policy).`;

export function command(context: Context): Command {
  const providers = newGroup();
  providers.addCommand(
    newCommand('list')
      .description('providers, their models and prices')
      .action(async (options: OutputOptions) => (await import('./providers-list.ts')).list(context, options)),
  );
  providers.addCommand(
    newCommand('add')
      .description('set up a provider of language models, or change one')
      .argument('<name>', 'as policies will name it')
      .requiredOption('--driver <name>', 'anthropic, openai, azure-openai, bedrock, gemini, vertex, openai-compatible')
      .option('--base-url <url>', 'where it is, when that is not the driver’s public address')
      .option('--region <name>', 'for clouds that have them')
      .option('--key <secret>', 'name of the secret that holds its key')
      .requiredOption('--model <name[=upstream]>', 'a model, and what the provider calls it; repeatable', collect)
      .option('--price <in/out[/cached]>', 'US dollars for a million tokens, of the models named here')
      .option('--context <tokens>', 'prompt and answer together, of the models named here')
      .option('--max-output <tokens>', 'of an answer, of the models named here')
      .option('--setting <name=value>', 'of this driver; repeatable', collect)
      .option('--header <name=value>', 'sent with every request; repeatable', collect)
      .addHelpText('after', EXAMPLES)
      .action(async (name: string, options: AddOptions) => {
        await (await import('./providers-add.ts')).add(context, name, options);
      }),
  );
  providers.addCommand(
    newCommand('test')
      .description('ask a provider one short question, with its key')
      .argument('<name>')
      .action(async (name: string, options: OutputOptions) => {
        await (await import('./providers-test.ts')).test(context, name, options);
      }),
  );
  return providers;
}
