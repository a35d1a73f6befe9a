/** `--observe`: what a run lacked, held against what happens when exactly that is added. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { Installation, Project } from '../fakes/project.ts';

const site = new Installation();
const arrived: string[] = [];
const sockets = new Set<Socket>();
const server = createServer((request, response) => {
  arrived.push(`${request.method} ${request.url}`);
  response.end('welcome');
});
/** Of this machine; inside a run the same address is its own loopback. */
const HOST = '127.0.0.2';
let port: number;

beforeAll(async () => {
  server.on('connection', (socket) => void sockets.add(socket));
  server.listen(0, HOST);
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
  site.dispose();
});

interface Observed {
  readonly yaml: string | null;
  readonly denied: number;
  readonly hosts: readonly { readonly host: string; readonly methods: readonly string[] | null }[];
  readonly ungrantable: readonly { readonly what: string; readonly why: string }[];
}

let count = 0;
function project(policy: unknown, script = ''): Project {
  const made = new Project(join(site.root, `observed-${++count}`));
  return made.write('.cordon/policy.yaml', stringify(policy)).write('ask.sh', script).commit('first');
}

/** One request after the other to the run's proxy; the first line of each answer is what the run's output holds. */
const asking = (...targets: readonly (readonly [string, string])[]) =>
  targets
    .map(
      ([line, host]) =>
        `exec 3<>/dev/tcp/127.0.0.1/3128; printf '${line} HTTP/1.1\\r\\nHost: ${host}\\r\\nConnection: close\\r\\n\\r\\n' >&3; read -r said <&3; echo "${line} $said"; exec 3>&-`,
    )
    .join('\n');

interface Ended {
  readonly runId: string;
  readonly observed: Observed;
  readonly said: readonly string[];
}

async function observed(policy: unknown, script: string): Promise<Ended> {
  const options = ['--observe', '--json', '--deliver', 'none'];
  const finished = await site.start(project(policy, script), 'exec bash ask.sh', ...options).done;
  expect(finished, finished.stderr).toMatchObject({ status: 0 });
  const said = finished.stderr.split('\n').flatMap((line) => (line.startsWith('│ ') ? [line.slice(2).trim()] : []));
  return { ...(JSON.parse(finished.stdout) as Ended), said };
}

/** As a person would: the lists of the additions behind those of the document. */
function merged(policy: { security: Record<string, unknown[]> }, yaml: string | null): unknown {
  const additions = parse(yaml ?? '') as { version: number; security: Record<string, unknown[]> };
  expect(additions.version).toBe(1);
  const names = new Set([...Object.keys(policy.security), ...Object.keys(additions.security)]);
  const security = Object.fromEntries(
    [...names].map((name) => [name, [...(policy.security[name] ?? []), ...(additions.security[name] ?? [])]]),
  );
  return { version: 1, security };
}

test('what was denied is permitted once the suggestion is in the policy, and nothing besides', async () => {
  const policy = {
    version: 1,
    security: {
      allowed_commands: ['/usr/bin/bash', '/usr/bin/sh'],
      allowed_network_hosts: [{ host: HOST, port, methods: ['GET'], paths: ['/listed'] }],
    },
  };
  const place = `${HOST}:${port}`;
  const wanted = asking([`GET http://${place}/listed`, place], [`GET http://${place}/simple/`, place]);
  const script = `${wanted}\n/usr/bin/uname || echo no uname\ntrue`;
  const first = await observed(policy, script);
  expect(first.said.filter((line) => line.includes(' HTTP/1.1 403'))).toHaveLength(2);
  expect(first.said).toContain('no uname');
  expect(arrived.splice(0)).toEqual([]);
  expect(first.observed.yaml).toContain('- /usr/bin/uname  # denied once');

  const then = merged(policy, first.observed.yaml);
  const besides = asking([`POST http://${place}/simple/`, place], [`GET http://${place}/simple/x`, place]);
  const other = asking([`GET http://other.example/listed`, 'other.example']);
  const second = await observed(then, `${script}\n${besides}\n${other}\n/usr/bin/nproc || echo no nproc`);
  expect(arrived.splice(0).sort()).toEqual(['GET /listed', 'GET /simple/']);
  expect(second.said.filter((line) => line.includes(' HTTP/1.1 403'))).toHaveLength(3);
  expect(second.said).toContain('no nproc');
  expect(second.said).not.toContain('no uname');
  expect(second.observed.denied).toBe(4);

  const shown = site.cordon('runs', 'show', first.runId, '--observe');
  expect(shown.stdout).toContain(first.observed.yaml?.trimEnd());
  const again = site.cordon('runs', 'show', first.runId, '--observe', '--json');
  expect((JSON.parse(again.stdout) as Ended).observed).toEqual(first.observed);
});

test('tunnels, what a rule stands against, what has no meaning; and a run that lacked nothing', async () => {
  const policy = {
    version: 1,
    security: { allowed_network_hosts: ['other.example:443'] },
    rules: `forbid (principal, action == Action::"net.connect", resource) when { context.host == "evil.example" };`,
  };
  const asked = asking(
    ['CONNECT tls.example:8443', 'tls.example:8443'],
    ['CONNECT evil.example:443', 'evil.example:443'],
    ['GET nonsense', 'x'],
  );
  const { observed: result } = await observed(policy, asked);
  expect(result.yaml).toContain('- tls.example:8443  # denied once');
  expect(result.hosts).toHaveLength(1);
  expect(result.ungrantable.map(({ what }) => what)).toEqual(['net.connect evil.example:443', 'proxy']);
  expect(result.ungrantable[0]?.why).toMatch(/^\.cordon\/policy\.yaml:\d+ /);

  const idle = await observed({ version: 1 }, 'true');
  expect(idle.observed).toEqual({ hosts: [], commands: [], ungrantable: [], denied: 0, yaml: null });
  const { stdout } = site.cordon('runs', 'show', idle.runId, '--observe');
  expect(stdout).toContain('nothing was denied: there is nothing to add');
});
