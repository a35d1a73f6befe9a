/**
 * A run of the built-in agent of 200 steps, and its replay, which is to be faster than the run: with a model that answers at once, and with one
 * that takes its time as real ones do. Recording, audit, policy and redaction are on.
 */
import { join } from 'node:path';
import type { Replayed } from '../src/runs/replay.ts';
import { ModelServer } from '../test/fakes/models/server.ts';
import { Installation, Project } from '../test/fakes/project.ts';
import { bar, row, timed } from './_table.ts';

const STEPS = 200;
/** Milliseconds that the model takes for an answer. */
const DELAYS = [0, 300];

/** A bit of everything that an agent does: it looks, writes and looks again. */
function turn(step: number) {
  const id = `call_${step}`;
  if (step >= STEPS) return { tools: [{ id, name: 'finish', arguments: { summary: 'done', success: true } }] };
  const shell = (command: string) => ({ tools: [{ id, name: 'shell', arguments: { command } }] });
  if (step % 4 === 1) return shell(`echo "line ${step}" >> notes.txt; wc -l notes.txt`);
  if (step % 4 === 2) return shell('ls -la; date');
  if (step % 4 === 3) return shell(`seq ${step} ${step + 200}`);
  return { text: `Step ${step}.`, tools: [{ id, name: 'read', arguments: { path: 'notes.txt', offset: step } }] };
}

const site = new Installation();
let asked = 0;
let delay = 0;
const upstream = await new ModelServer(() => ({ ...turn(++asked), thinks: delay })).start();
try {
  const project = new Project(join(site.root, 'repository'));
  project.write('notes.txt', 'first\n');
  project
    .write('.cordon/policy.yaml', 'version: 1\nllm_policy: {allowed_providers: [acme], models: ["m*"]}\n')
    .commit();
  const url = `${upstream.url}/v1`;
  site.cordon('providers', 'add', 'acme', '--driver', 'openai-compatible', '--base-url', url, '--model', 'm');
  for (const each of DELAYS) {
    asked = 0;
    delay = each;
    const options = ['--json', '-w', project.dir, '--model', 'acme/m', '--max-steps', String(STEPS + 1)];
    let run = '';
    const whole = await timed(async () => {
      const { status, stderr, result } = await site.type('run', ...options, 'count').done;
      if (status !== 0) throw new Error(stderr);
      run = result.runId;
    });
    let verdict: Replayed | null = null;
    const again = await timed(async () => {
      const { stdout, stderr } = await site.type('runs', 'replay', run, '--json').done;
      if (stdout === '') throw new Error(stderr);
      verdict = JSON.parse(stdout) as Replayed;
    });
    const { verdict: word, steps, divergences } = verdict as unknown as Replayed;
    const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
    row(`run of ${STEPS} steps, model answers in ${each} ms`, seconds(whole));
    row('  its replay', seconds(again), bar(again < whole, `faster than the run (${(whole / again).toFixed(2)} ×)`));
    row('  verdict', word, bar(word === 'exact', `exact; ${steps.exact} exact, ${steps.like} alike of ${steps.asked}`));
    for (const one of divergences.slice(0, 3)) console.log(JSON.stringify(one));
  }
} finally {
  await upstream.close();
  site.dispose();
}
