/** Runs of the built-in agent against a scripted model: one installation, one project, one provider `acme` with the model `small-1`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Installation, Project, type Running } from '../project.ts';
import { type Heard, ModelServer } from './server.ts';
import type { Turn } from './turn.ts';

/** What the provider asks for, and nobody else may see. */
export const KEY = 'sk-the-real-key-of-the-provider-99';

export class ModelSite extends Installation {
  /** What the model says next; `index` counts from 0 since `upstream.heard` was last emptied. */
  script: (heard: Heard, index: number) => Turn = () => ({ text: 'nothing more to say' });
  readonly upstream: ModelServer = new ModelServer((heard, index) => this.script(heard, index));
  readonly project = new Project(join(this.root, 'repository')).write('.cordon/policy.yaml', policyText('}\n'));

  /** Commits what was written into the project, and sets the model up; `options` are further ones of `providers add`. */
  async open(...options: string[]): Promise<this> {
    await this.upstream.start();
    this.project.commit('first');
    this.keep('ACME_KEY', KEY);
    const at = ['--base-url', `${this.upstream.url}/v1`, '--key', 'ACME_KEY', '--model', 'small-1'];
    const driver = ['--driver', 'openai-compatible'];
    const { status, stderr } = this.cordon('providers', 'add', 'acme', ...driver, ...at, ...options);
    if (status !== 0) throw new Error(stderr);
    return this;
  }

  ask(task: string, ...options: string[]): Running {
    return this.type('run', '--json', '-w', this.project.dir, '--model', 'acme/small-1', ...options, task);
  }

  /** Writes a policy for `--policy`, and returns its path; `more` goes on within `llm_policy: {`, and ends it. */
  policy(more: string): string {
    const file = join(this.root, 'policy.yaml');
    writeFileSync(file, policyText(more));
    return file;
  }

  async close(): Promise<void> {
    await this.upstream.close();
    this.dispose();
  }
}

function policyText(more: string): string {
  return `version: 1\nllm_policy: {allowed_providers: [acme], models: ["small-*"]${more}`;
}
