/** Packages as a run gets them: real npm and real pip, registries of the test behind real TLS. */
import { execFileSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createAuthority } from '../../src/gateways/egress/authority.ts';
import { type Finished, Installation, Project } from '../fakes/project.ts';
import { integrityOf, npmAnswer, type Published, pypiAnswer, send, tarball } from '../fakes/registry.ts';

/** This machine's own name: npm takes no certificate of an address behind a proxy. */
const HOST = hostname().toLowerCase();
const site = new Installation();
const authority = createAuthority('the registries of the test', Date.now());
const asked: string[] = [];
const OLD = '2024-05-01T10:00:00.000Z';
const NEW = new Date(Date.now() - 3_600_000).toISOString();
let origin = '';
let packages: readonly Published[] = [];
let wheels: readonly Published[] = [];

const secureContext = authority.contextFor(HOST);
const web = createServer((request, response) => {
  asked.push(request.url ?? '');
  const answer = request.url?.startsWith('/npm/')
    ? npmAnswer(`${origin}/npm`, packages, request)
    : pypiAnswer(`${origin}/files/`, wheels, request);
  send(response, answer);
});
const server = createTcp((socket) => {
  const tls = new TLSSocket(socket, { isServer: true, secureContext });
  tls.on('error', () => {});
  web.emit('connection', tls);
});

function npm(name: string, version: string, published: string, tampered = false): Published {
  const files = { 'package.json': JSON.stringify({ name, version }), 'index.js': `module.exports = '${name}';\n` };
  const bytes = tarball(files);
  const other = tarball({ ...files, 'index.js': 'steal();\n' });
  return { name, version, published, bytes, ...(tampered ? { tampered: other } : {}) };
}

function wheel(name: string, version: string, published: string): Published {
  const file = `${name}-${version}-py3-none-any.whl`;
  const path = join(site.root, file);
  const script = `import sys, zipfile
info = '${name}-${version}.dist-info/'
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    z.writestr('${name}.py', 'here = True\\n')
    z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: ${name}\\nVersion: ${version}\\n')
    z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr(info + 'RECORD', '')
`;
  execFileSync('/usr/bin/python3', ['-c', script, path]);
  return { name, version, file, published, bytes: readFileSync(path) };
}

beforeAll(async () => {
  server.listen(0, (await lookup(HOST)).address);
  await once(server, 'listening');
  origin = `https://${HOST}:${(server.address() as AddressInfo).port}`;
  const ca = join(site.root, 'ca.pem');
  writeFileSync(ca, authority.certificate);
  site.env.SSL_CERT_FILE = ca; // what this machine trusts
  packages = [
    npm('old', '1.0.0', OLD),
    npm('@acme/ui', '2.1.0', OLD),
    npm('mixed', '1.0.0', OLD),
    npm('mixed', '1.1.0', NEW),
    npm('young', '1.0.0', NEW),
    npm('broken', '1.0.0', OLD, true),
    npm('acme-internal', '9.9.9', OLD),
  ];
  wheels = [wheel('good_thing', '1.0', OLD), wheel('fresh', '1.0', NEW)];
});
beforeEach(() => void asked.splice(0));
afterAll(() => {
  web.closeAllConnections();
  server.close();
  site.dispose();
});

let count = 0;
/** `locked`: what the lock file names, as `npm ci` wants it. */
function project(rules: string, locked: readonly string[] = []): Project {
  const { host } = new URL(origin);
  const list = locked.map((name) => packages.find((each) => each.name === name) as Published);
  const dependencies = Object.fromEntries(list.map(({ name, version }) => [name, version]));
  const root = { name: 'billing', version: '1.0.0', dependencies };
  const entries = list.map(({ name, version, bytes }) => {
    const resolved = `${origin}/npm/${name}/-/${name.replace(/^.*\//, '')}-${version}.tgz`;
    return [`node_modules/${name}`, { version, resolved, integrity: integrityOf(bytes) }];
  });
  const lock = { ...root, lockfileVersion: 3, requires: true, packages: { '': root, ...Object.fromEntries(entries) } };
  return new Project(join(site.root, `repository-${++count}`))
    .write('package.json', JSON.stringify(root))
    .write('package-lock.json', JSON.stringify(lock))
    .write('.npmrc', `registry=${origin}/npm/\naudit=false\nfund=false\nupdate-notifier=false\nfetch-retries=0\n`)
    .write('.gitignore', 'node_modules\n')
    .write(
      '.cordon/policy.yaml',
      `version: 1
security:
  allowed_network_hosts: [{host: ${HOST}, port: ${host.split(':')[1]}, private: true}]
dependencies:
  registries: [${HOST}]
${rules}`,
    )
    .commit('first');
}

async function run(where: Project, script: string): Promise<Finished> {
  return site.start(where, script).done;
}

test('npm ci: every package is recorded, and the run has a bill of materials that the published schema accepts', async () => {
  const where = project('  minimum_age: 3d\n', ['old', '@acme/ui']);
  const { status, stderr, result } = await run(where, 'npm ci && cat node_modules/@acme/ui/index.js');
  expect({ status, stderr }).toMatchObject({
    status: 0,
    stderr: expect.stringContaining("module.exports = '@acme/ui'"),
  });

  expect(site.cordon('runs', 'show', result.runId).stdout).toMatch(/packages\s+2 recorded/);
  const downloaded = site.events(result.runId, 'dependency.downloaded').map(({ resource }) => resource);
  expect(downloaded.map(({ purl }) => purl).sort()).toEqual(['pkg:npm/%40acme/ui@2.1.0', 'pkg:npm/old@1.0.0']);
  expect(downloaded[0]).toMatchObject({ registry: `${origin}/npm`, published: OLD, verified: true });

  const [{ resource, content }] = site.events(result.runId, 'dependencies.recorded');
  expect(resource).toMatchObject({ count: 2, format: 'CycloneDX 1.6' });
  expect(content.mediaType).toContain('cyclonedx');
  const listed = JSON.parse(site.cordon('runs', 'artifacts', result.runId, '--json').stdout);
  const file = listed.artifacts.find(({ path }: { path: string }) => path.endsWith('/sbom.cdx.json')).path;
  const text = readFileSync(file, 'utf8');
  expect(execFileSync('sha256sum', [file]).toString().split(' ')[0]).toBe(resource.sbom);
  expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text)).toBeNull();
  const { components } = JSON.parse(text);
  expect(components).toMatchObject([
    { group: '@acme', name: 'ui', version: '2.1.0', purl: 'pkg:npm/%40acme/ui@2.1.0' },
    { name: 'old', version: '1.0.0', purl: 'pkg:npm/old@1.0.0' },
  ]);
  const [old] = packages;
  expect(components[1].hashes).toEqual([
    {
      alg: 'SHA-512',
      content: Buffer.from(integrityOf(old?.bytes ?? Buffer.alloc(0)).slice(7), 'base64').toString('hex'),
    },
    { alg: 'SHA-256', content: downloaded.find(({ purl }) => purl.includes('/old@')).sha256 },
  ]);
});

test('npm ci of what is too young fails, and npm says why', async () => {
  const { status, stderr, result } = await run(project('  minimum_age: 3d\n', ['old', 'young']), 'npm ci');
  expect(status).toBe(1);
  expect(stderr).toContain('npm:young@1.0.0 was published 1 hour ago');
  expect(asked.filter((url) => url.endsWith('young-1.0.0.tgz'))).toEqual([]);
  const shown = site.cordon('runs', 'show', result.runId).stdout;
  expect(shown).toContain('/npm/young/-/young-1.0.0.tgz');
  expect(shown).toMatch(/rule \.cordon\/policy\.yaml:6 dependencies\.minimum_age: 3d/);
});

test('npm install chooses a version that is old enough, because it is told', async () => {
  const { status, stderr } = await run(
    project('  minimum_age: 3d\n'),
    'npm install --no-save mixed && node -p "require(\'mixed/package.json\').version"',
  );
  expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringMatching(/│ 1\.0\.0$/m) });
});

test('a tarball that is not what the registry’s index says is cut, recorded as such, and not installed', async () => {
  const { status, result } = await run(project('', ['broken']), 'npm ci; ls node_modules/broken');
  expect(status).toBe(1);
  const [mismatch] = site.events(result.runId, 'dependency.mismatch');
  expect(mismatch.resource).toMatchObject({ purl: 'pkg:npm/broken@1.0.0' });
  expect(site.cordon('runs', 'show', result.runId).stdout).toContain('0 recorded, 1 cut: not what the index says');
});

test('a name that is not in the list is never asked for, whoever has registered it outside', async () => {
  const { status, stderr, result } = await run(project('  allow: ["@acme/*"]\n'), 'npm install acme-internal');
  expect(status).toBe(1);
  expect(stderr).toContain('npm:acme-internal is not in the list of what may be installed');
  expect(asked).toEqual([]);
  expect(site.cordon('runs', 'show', result.runId).stdout).toMatch(/packages\s+0 recorded/);
});

test('pip: a wheel is recorded under its canonical name, one that is too young is refused', async () => {
  const where = project('  minimum_age: 3d\n');
  const pip = `pip download --disable-pip-version-check --no-cache-dir --no-deps -d got -i ${origin}/simple`;
  const { status, stderr, result } = await run(where, `${pip} good-thing && ls got && ! ${pip} fresh`);
  expect({ status, stderr }).toMatchObject({
    status: 0,
    stderr: expect.stringContaining('good_thing-1.0-py3-none-any.whl'),
  });
  expect(site.events(result.runId, 'dependency.downloaded').map(({ resource }) => resource)).toMatchObject([
    { purl: 'pkg:pypi/good-thing@1.0', registry: `${origin}/simple`, published: OLD, verified: true },
  ]);
  expect(asked.filter((url) => url.endsWith('.whl'))).toHaveLength(1);
});

test('the log of all of this holds, and nothing is left', () => {
  expect(site.verify()).toEqual([]);
  expect(site.leftovers()).toEqual([]);
});
