/** Runs of an agent that is talked with: one installation, one project, and the agent of a few lines of Perl in it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, Installation, Project } from './project.ts';

export class AcpSite extends Installation {
  readonly project = new Project(join(this.root, 'repository'))
    .write('agent.pl', readFileSync(join(import.meta.dirname, 'acp-agent.pl'), 'utf8'))
    .commit('first');

  /** What the Perl agent is to do, one thing a line. */
  perform(script: readonly string[], ...options: string[]): Finished {
    const task = `do it\nscript:\n${script.join('\n')}\n`;
    const agent = ['--agent', 'acp', ...options, task, '--', 'perl', 'agent.pl'];
    return this.cordon('run', '--json', '-w', this.project.dir, ...agent);
  }
}
