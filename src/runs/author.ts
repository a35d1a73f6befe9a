import { gitDiscovering } from '../base/git.ts';
import type { Repository } from './workspace.ts';

const NOBODY = { name: 'Cordon agent', email: 'agent@cordon.invalid' };

/**
 * In whose name what an agent left uncommitted is committed: the person's of the user's repository, from its own
 * configuration file, else nobody's. Only two values are read, by a command that starts no program.
 */
export async function commitAuthor(repository: Repository): Promise<{ readonly name: string; readonly email: string }> {
  // A mirror says nothing about people.
  const folder = repository.remote === null ? repository.dir : '/';
  const read = async (key: string) => {
    const home = process.env.HOME;
    // The person's own file is where a name usually stands; trusted commands otherwise run without it.
    const env = { GIT_CONFIG_GLOBAL: home === undefined ? '/dev/null' : `${home}/.gitconfig` };
    const result = await gitDiscovering(folder, ['config', '--get', key], { env });
    const value = result.stdout.toString('utf8').trim();
    return /^[^\p{Cc}<>]{1,200}$/u.test(value) ? value : null;
  };
  const [name, email] = await Promise.all([read('user.name'), read('user.email')]);
  return name === null || email === null ? NOBODY : { name, email };
}
