/**
 * The one name of a repository in statements, however its address is written:
 *
 *   https://me@Forge.example/acme/app.git   git@forge.example:acme/app   ssh://git@forge.example/acme/app/   → forge.example/acme/app
 *   https://forge.example:8443/acme/app   forge.example:8443/acme/app                                         → forge.example:8443/acme/app
 *   /srv/git/app.git                        file:///srv/git/app                                               → file:///srv/git/app
 *
 * A port that is not the protocol's own stays. Null for what cannot be named so.
 */
export function canonicalRepository(address: string): string | null {
  if (address.length > 4096 || /[\p{Cc}\s?#\\]/u.test(address)) return null;
  if (address.startsWith('/')) return local(address);
  if (address.startsWith('file:///')) return local(address.slice('file://'.length));
  const url = /^(https?|ssh|git):\/\/(?:[^/@]*@)?([^/:@]+)(?::(\d{1,5}))?(\/.*)$/.exec(address);
  if (url !== null) {
    const [, scheme = '', host = '', port, path = ''] = url;
    return remote(host, port === PORTS[scheme] ? undefined : port, path);
  }
  // Before ssh's short form: `forge.example:8443/acme/app` is what a repository behind such a port is called.
  const plain = /^([^/:@]+\.[^/:@]+|localhost)(?::(\d{1,5}))?(\/.+)$/.exec(address);
  if (plain !== null) return remote(plain[1] as string, plain[2], plain[3] as string);
  const scp = /^(?:[^/@:]+@)?([^/@:]+):([^/].*)$/.exec(address);
  return scp === null ? null : remote(scp[1] as string, undefined, `/${scp[2]}`);
}

const PORTS: Readonly<Record<string, string>> = { https: '443', http: '80', ssh: '22', git: '9418' };

function remote(host: string, port: string | undefined, path: string): string | null {
  const steps = stepsOf(path);
  if (steps === null || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host)) return null;
  return `${host.toLowerCase()}${port === undefined ? '' : `:${port}`}/${steps.join('/')}`;
}

function local(path: string): string | null {
  const steps = stepsOf(path);
  return steps === null ? null : `file:///${steps.join('/')}`;
}

/** The parts of a path, without `.git` at the end; null when it is empty or goes upwards. */
function stepsOf(path: string): string[] | null {
  const steps = path.split('/').filter((step) => step !== '');
  if (steps.length === 0 || steps.some((step) => step === '.' || step === '..')) return null;
  const last = (steps.pop() as string).replace(/(.)\.git$/, '$1');
  return last === '.git' ? (steps.length === 0 ? null : steps) : [...steps, last];
}
