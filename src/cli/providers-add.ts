import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Document, parseDocument } from 'yaml';
import { digest } from '../base/digest.ts';
import { writeDurably } from '../base/durable-file.ts';
import { DocumentError, UsageError } from '../base/errors.ts';
import { resolvePaths } from '../config/paths.ts';
import { providerDrivers } from '../gateways/llm/providers/index.ts';
import { openProvider, type ProviderSettings, parseProviders } from '../gateways/llm/settings.ts';
import { type Context, outputOf } from './context.ts';
import type { AddOptions } from './providers.ts';
import { withLog } from './secrets-local.ts';

/** Writes it into the user's document, whose comments stay; a provider of that name is replaced. */
export async function add(context: Context, name: string, options: AddOptions): Promise<void> {
  const out = outputOf(context, options);
  const paths = resolvePaths(context.env);
  const file = paths.providersFile;
  const before = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (before !== null) await parseProviders(file, before); // what is wrong there is said before anything is changed
  const document = before === null ? new Document({ version: 1, providers: [] }) : parseDocument(before);
  const { providers } = document.toJS() as { providers?: { name: string }[] };
  if (!document.has('providers')) document.set('providers', document.createNode([]));
  const index = (providers ?? []).findIndex((provider) => provider.name === name);
  const entry = document.createNode(entryOf(name, options), { aliasDuplicateObjects: false });
  if (index < 0) document.addIn(['providers'], entry);
  else document.setIn(['providers', index], entry);
  const text = document.toString({ lineWidth: 0 });
  const checked = (await parsed(file, text)).providers.find((provider) => provider.name === name) as ProviderSettings;
  openProvider(checked, { keyOf: () => async () => '', now: () => 0 }); // its driver has something to say too
  await withLog(paths, async (log, principal) => {
    await log.append({
      type: 'configuration.changed',
      run: null,
      principal,
      action: 'provider.manage',
      resource: { what: `model provider ${name}`, before: digestOf(before), after: digestOf(text) },
    });
    await mkdir(dirname(file), { recursive: true });
    await writeDurably(file, text, 0o600);
  });
  if (out.json) out.document({ added: name, file, replaced: index >= 0 });
  else {
    out.line(`${index < 0 ? 'added' : 'changed'} ${out.style.bold(name)} in ${file}`);
    const models = checked.models.map((model) => `"${model.name}"`).join(', ');
    out.line(`a policy that lets runs use it: llm_policy: {allowed_providers: [${name}], models: [${models}]}`);
  }
}

/** What is wrong is an option of this command line: nothing of it is in the file. */
async function parsed(file: string, text: string): ReturnType<typeof parseProviders> {
  try {
    return await parseProviders(file, text);
  } catch (cause) {
    if (!(cause instanceof DocumentError)) throw cause;
    const message = cause.problems.map((problem) => problem.message.replace(/^providers\.\d+\./, '')).join('; ');
    throw new UsageError(message, { cause, remedy: 'cordon providers add --help' });
  }
}

function digestOf(text: string | null): string | null {
  return text === null ? null : digest(text);
}

function entryOf(name: string, options: AddOptions) {
  checkPlace(options);
  const price = options.price === undefined ? {} : { price: priceOf(options.price) };
  const context = options.context === undefined ? {} : { context: countOf('--context', options.context) };
  const maxOutput = options.maxOutput === undefined ? {} : { max_output: countOf('--max-output', options.maxOutput) };
  const models = options.model.map((text) => {
    const [model = '', upstream] = split(text);
    return { name: model, ...(upstream === undefined ? {} : { upstream }), ...context, ...maxOutput, ...price };
  });
  return {
    name,
    driver: options.driver,
    ...(options.baseUrl === undefined ? {} : { base_url: options.baseUrl }),
    ...(options.region === undefined ? {} : { region: options.region }),
    ...(options.key === undefined ? {} : { key: { secret: options.key } }),
    ...(options.header === undefined ? {} : { headers: pairs('--header', options.header) }),
    ...(options.setting === undefined ? {} : { settings: pairs('--setting', options.setting) }),
    models,
  };
}

/** What the document's schema would refuse too, said in words of the command line. */
function checkPlace({ driver, baseUrl }: AddOptions): void {
  const drivers = Object.keys(providerDrivers);
  if (!drivers.includes(driver))
    throw new UsageError(`${driver} is no driver: there are ${drivers.join(', ')}`, {
      remedy: 'Ollama, vLLM, LiteLLM and others that speak Chat Completions: --driver openai-compatible --base-url URL',
    });
  if (baseUrl !== undefined && !/^https?:\/\/[^/]/.test(baseUrl))
    throw new UsageError(`--base-url ${baseUrl} is no address`, {
      remedy: 'write it whole: https://models.acme.example/v1, or http://127.0.0.1:11434/v1',
    });
}

/** At the first `=`. */
function split(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function pairs(option: string, list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((text) => {
      const [name, value] = split(text);
      if (value === undefined)
        throw new UsageError(`${option} ${text} has no value`, { remedy: `write ${option} ${name}=VALUE` });
      return [name, value];
    }),
  );
}

function countOf(option: string, text: string): number {
  const factor = { k: 1000, m: 1_000_000 }[text.slice(-1).toLowerCase()];
  const count = Number(factor === undefined ? text : text.slice(0, -1)) * (factor ?? 1);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new UsageError(`${option} ${text} is no number of tokens`, { remedy: `write ${option} 200000, or 200k` });
}

function priceOf(text: string) {
  const parts = text.split('/').map(Number);
  const [input, output, cached] = parts;
  const fine = (parts.length === 2 || parts.length === 3) && parts.every((part) => Number.isFinite(part) && part >= 0);
  if (!fine || text.split('/').includes(''))
    throw new UsageError(`--price ${text} is no price`, {
      remedy: 'write --price 3/15, or --price 3/15/0.3 with a price for cached prompts',
    });
  return { input, output, ...(cached === undefined ? {} : { cached }) };
}
