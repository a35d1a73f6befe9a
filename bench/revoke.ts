/**
 * From `cordon secrets revoke NAME`, typed beside a run that uses the secret, to the server seeing its connection cut. Bar: 1 s, the
 * start of the command included.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Installation, Project } from '../test/fakes/project.ts';
import { bar, median, row } from './_table.ts';

const HOST = '127.0.0.2';
const ROUNDS = 7;
const cordon = join(import.meta.dirname, '../cordon');
const site = new Installation();
let cut: (at: number) => void = () => {};

/** An answer without an end. */
const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  const timer = setInterval(() => response.write('piece\n'), 20);
  response.on('close', () => {
    clearInterval(timer);
    cut(performance.now());
  });
});
server.listen(0, HOST);
await once(server, 'listening');
const { port } = server.address() as AddressInfo;

const ASK = `use strict; use IO::Socket::INET; $| = 1;
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 3128) or die $!;
print $socket "GET http://${HOST}:${port}/ HTTP/1.1\\r\\nHost: ${HOST}:${port}\\r\\nConnection: close\\r\\n\\r\\n";
while (<$socket>) { print if /^piece/ }
`;
const project = new Project(join(site.root, 'repository'));
project.write('ask.pl', ASK).write(
  '.cordon/policy.yaml',
  `version: 1
security: {allowed_network_hosts: [{host: ${HOST}, port: ${port}, private: true}]}
secrets: [{name: API_TOKEN, use: {host: ${HOST}}}]
`,
);
project.commit();

/** Milliseconds until the server saw it, and until the command had ended. */
async function revokeOnce(): Promise<{ seen: number; said: number }> {
  const running = site.start(project, 'perl ask.pl');
  await running.says('│ piece');
  const closed = new Promise<number>((resolve) => {
    cut = resolve;
  });
  const start = performance.now();
  const command = spawn(cordon, ['secrets', 'revoke', 'API_TOKEN'], { env: site.env, stdio: 'ignore' });
  const [status] = await once(command, 'exit');
  const said = performance.now() - start;
  if (status !== 0) throw new Error(`cordon secrets revoke ended with ${status}`);
  const seen = (await closed) - start;
  await running.done;
  return { seen, said };
}

try {
  site.keep('API_TOKEN', 'a-token-of-the-bench-1');
  const rounds: { seen: number; said: number }[] = [];
  for (let i = 0; i < ROUNDS; i++) rounds.push(await revokeOnce());
  const seen = rounds.map((round) => round.seen);
  const worst = Math.max(...seen);
  console.log(`revoking a secret in use, ${ROUNDS} runs`);
  row('until the server sees its connection cut: median', `${median(seen).toFixed(0)} ms`);
  row('… worst', `${worst.toFixed(0)} ms`, bar(worst <= 1000, 'within 1 s'));
  row('until the command has named the run: median', `${median(rounds.map(({ said }) => said)).toFixed(0)} ms`);
} finally {
  server.closeAllConnections();
  server.close();
  site.dispose();
}
