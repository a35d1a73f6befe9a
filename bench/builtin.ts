/**
 * How long the built-in agent takes from a sandbox that is ready to the first request at its model, and from an answer with a tool call to the
 * next request: a scripted model behind a real server, with policy, redaction, budget, recording and audit on.
 */
import { join } from 'node:path';
import { ModelServer } from '../test/fakes/models/server.ts';
import { Installation, Project } from '../test/fakes/project.ts';
import { bar, median, row } from './_table.ts';

const ROUNDS = 7;
const STEPS = 10;
const FIRST = 200;

const site = new Installation();
const heard: number[] = [];
const upstream = await new ModelServer((_heard) => {
  heard.push(performance.now());
  const id = `c${heard.length}`;
  if (heard.length > STEPS) return { tools: [{ id, name: 'finish', arguments: { summary: 'done' } }] };
  return { tools: [{ id, name: 'shell', arguments: { command: `echo ${heard.length}` } }] };
}).start();
const first: number[] = [];
const steps: number[] = [];
try {
  const project = new Project(join(site.root, 'repository'));
  project.write(
    '.cordon/policy.yaml',
    'version: 1\nllm_policy: {allowed_providers: [acme], models: ["m*"], budget: {usd: 10}}\n',
  );
  project.write('AGENTS.md', 'Run the tests.\n').commit();
  site.keep('ACME_KEY', 'sk-a-key-of-the-bench-4711');
  const model = ['--key', 'ACME_KEY', '--model', 'm', '--price', '1/2', '--max-output', '1000'];
  site.cordon(
    'providers',
    'add',
    'acme',
    '--driver',
    'openai-compatible',
    '--base-url',
    `${upstream.url}/v1`,
    ...model,
  );
  for (let round = -1; round < ROUNDS; round++) {
    heard.length = 0;
    const running = site.type('run', '-w', project.dir, '--model', 'acme/m', '--deliver', 'none', 'count');
    await running.says('sandbox ready');
    const ready = performance.now();
    const { status, stderr } = await running.done;
    if (status !== 0) throw new Error(stderr);
    if (round < 0) continue;
    first.push((heard[0] ?? Number.NaN) - ready);
    steps.push(...heard.slice(1).map((at, i) => at - (heard[i] ?? Number.NaN)));
  }
} finally {
  await upstream.close();
  site.dispose();
}
row(
  'sandbox ready → first request at the model, median',
  `${median(first).toFixed(0)} ms`,
  bar(median(first) <= FIRST, `≤ ${FIRST} ms`),
);
row('the same, slowest', `${Math.max(...first).toFixed(0)} ms`);
row('answer with `shell echo` → next request, median', `${median(steps).toFixed(0)} ms`);
