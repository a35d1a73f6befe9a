/** A lock file as a run changes it: what really came through the gateway may be pushed, what was written by hand may not. */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../src/gateways/egress/authority.ts';
import { Installation, Project } from '../fakes/project.ts';
import { npmAnswer, type Published, send, tarball } from '../fakes/registry.ts';

/** This machine's own name: npm takes no certificate of an address behind a proxy. */
const HOST = hostname().toLowerCase();
const site = new Installation();
const authority = createAuthority('the registry of the test', Date.now());
const secureContext = authority.contextFor(HOST);
let origin = '';

const packages: readonly Published[] = ['old', 'older'].map((name) => ({
  name,
  version: '1.0.0',
  published: '2024-05-01T10:00:00.000Z',
  bytes: tarball({ 'package.json': JSON.stringify({ name, version: '1.0.0' }), 'index.js': '' }),
}));
const web = createServer((request, response) => send(response, npmAnswer(`${origin}/npm`, packages, request)));
const server = createTcp((socket) => {
  const tls = new TLSSocket(socket, { isServer: true, secureContext });
  tls.on('error', () => {});
  web.emit('connection', tls);
});

beforeAll(async () => {
  server.listen(0, (await lookup(HOST)).address);
  await once(server, 'listening');
  origin = `https://${HOST}:${(server.address() as AddressInfo).port}`;
  const ca = join(site.root, 'ca.pem');
  writeFileSync(ca, authority.certificate);
  site.env.SSL_CERT_FILE = ca; // what this machine trusts
});
afterAll(() => {
  web.closeAllConnections();
  server.close();
  site.dispose();
});

const root = { name: 'billing', version: '1.0.0' };
const project = () =>
  new Project(join(site.root, 'repository'))
    .write('package.json', JSON.stringify(root))
    .write('package-lock.json', JSON.stringify({ ...root, lockfileVersion: 3, requires: true, packages: { '': root } }))
    .write('.npmrc', `registry=${origin}/npm/\naudit=false\nfund=false\nupdate-notifier=false\nfetch-retries=0\n`)
    .write('.gitignore', 'node_modules\n')
    .write(
      '.cordon/policy.yaml',
      `version: 1
security:
  allowed_network_hosts: [{host: ${HOST}, port: ${new URL(origin).port}, private: true}]
dependencies:
  registries: [${HOST}]
  recorded: true
`,
    )
    .commit('first');

test('what npm installed through the gateway may be pushed; an entry that was tampered with is refused with its file and line', async () => {
  const user = project();
  const push = 'git push origin "HEAD:refs/heads/cordon/$CORDON_RUN_ID" 2>&1';
  const script = `set -e
    npm install --ignore-scripts old@1.0.0; git commit -qam honest; ${push}; echo "honest: taken"
    try() { git commit -qam "$1"; if ${push}; then echo "$1: taken"; fi; git reset -q --hard HEAD~1; }
    sed -i 's#"resolved": "[^"]*"#"resolved": "https://evil.example/old/-/old-1.0.0.tgz"#' package-lock.json; try elsewhere
    sed -i '/"integrity"/d; s#\\(old-1.0.0.tgz"\\),#\\1#' package-lock.json; try hashless
    sed -i 's#"integrity": "sha512-....#"integrity": "sha512-AAAA#' package-lock.json; try forged
    echo 'registry=https://evil.example/' > .npmrc; try settings`;
  const { status, stderr, result } = await site.start(user, script).done;
  expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('honest: taken') });
  expect(stderr).not.toMatch(/(?:elsewhere|hashless|forged|settings): taken/);
  expect(stderr).toContain('old@1.0.0 resolves to evil.example');
  expect(stderr).toMatch(/remote: +rule +\.cordon\/policy\.yaml:5 +dependencies\.registries/);
  expect(stderr).toMatch(
    /remote: +because commit [0-9a-f]{12} package-lock\.json:\d+: old@1\.0\.0 resolves to evil\.example/,
  );
  expect(stderr).toMatch(/because commit [0-9a-f]{12} package-lock\.json:\d+: old@1\.0\.0 has no integrity hash/);
  expect(stderr).toMatch(
    /because commit [0-9a-f]{12} package-lock\.json:\d+: old@1\.0\.0 did not come through the gateway/,
  );
  expect(stderr).toMatch(/remote: +rule +\.cordon\/policy\.yaml:6 +dependencies\.recorded: true/);
  expect(stderr).toMatch(/because commit [0-9a-f]{12} \.npmrc:1: registry resolves to evil\.example/);
  expect(user.git('log', '--format=%s', `main..${result.branch}`)).toBe('honest');
  const { packages: locked } = JSON.parse(user.git('show', `${result.branch}:package-lock.json`));
  expect(locked['node_modules/old'].resolved).toBe(`${origin}/npm/old/-/old-1.0.0.tgz`);
  expect(site.verify()).toEqual([]);
});
