/**
 * Programs as people use them, in real runs, towards hosts with real TLS: only what the policy names is reached. All goes out
 * through a proxy of the network, and the hosts' authority is known from the user's settings alone.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gitServer, npmRegistry, openWorld, packageIndex, type World } from '../fakes/https-world.ts';
import { type Finished, Installation, Project } from '../fakes/project.ts';

const site = new Installation();
let world: World;
let project: Project;
const has = (program: string) => existsSync(`/usr/bin/${program}`);
const hasPip = has('python3') && existsSync('/usr/lib/python3/dist-packages/pip');

const POLICY = `version: 1
security:
  allowed_network_hosts:
    - {host: registry.acme.example, methods: [GET]}
    - pypi.acme.example
    - {host: git.acme.example, methods: [GET, POST], paths: ["/shared.git/**"]}
    - plain.acme.example
    - plain.acme.example:8443
    - {host: plain.acme.example, port: 3000}
    - {host: plain.acme.example, port: 8080}
    - {host: registry.acme.example, port: 9443, methods: [GET], paths: ["/open"]}
`;

const JAVA = `import java.io.*; import java.net.*; import java.net.http.*;
public class Fetch {
  public static void main(String[] a) throws Exception {
    for (String url : a) {
      try (InputStream in = new URL(url).openStream()) { System.out.print("url: " + new String(in.readAllBytes())); }
      catch (IOException e) { System.out.println("failed: " + e.getMessage()); }
    }
    var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
    var answer = client.send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString());
    System.out.print("client: " + answer.body());
  }
}
`;

/** Sockets and TLS, and no word about proxies. */
const SOCKETS = `import socket, ssl, sys
context = ssl.create_default_context()
for host in sys.argv[1:]:
    try:
        with context.wrap_socket(socket.create_connection((host, 443), 10), server_hostname=host) as s:
            s.sendall(f'GET /sockets HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
            print(b''.join(iter(lambda: s.recv(4096), b'')).decode().splitlines()[-1])
    except OSError as error:
        print('failed:', type(error).__name__)
`;

beforeAll(async () => {
  const repositories = join(site.root, 'repositories');
  const shared = new Project(join(site.root, 'shared'));
  shared.write('shared.txt', 'shared\n').commit('shared');
  mkdirSync(repositories);
  shared.git('clone', '-q', '--bare', '.', join(repositories, 'shared.git'));
  const { serve: registry, lock } = npmRegistry(site.root, 'registry.acme.example');
  const hello = (_: unknown, response: { end(text: string): unknown }) => response.end('hello from outside\n');
  world = await openWorld(site.root, {
    'registry.acme.example': registry,
    ...(hasPip ? { 'pypi.acme.example': packageIndex(site.root) } : {}),
    'git.acme.example': gitServer(repositories),
    'plain.acme.example': hello,
    'evil.acme.example': hello,
    'plain.acme.example:8443': hello,
    'plain.acme.example:8080': hello,
    'plain.acme.example:3000': hello,
    'registry.acme.example:9443': hello,
    'registry.acme.example:8443': hello,
  });
  const settings = join(site.root, '.config/cordon');
  mkdirSync(settings, { recursive: true });
  writeFileSync(
    join(settings, 'config.yaml'),
    `version: 1\nnetwork:\n  ca_file: ${world.caFile}\n  proxy: ${world.proxy}\n`,
  );
  project = new Project(join(site.root, 'repository'))
    .write('.cordon/policy.yaml', POLICY)
    .write('package.json', '{"name": "app", "dependencies": {"tiny": "1.0.0"}}')
    .write('package-lock.json', lock)
    .write('.npmrc', 'registry=https://registry.acme.example/\n')
    .write('Fetch.java', JAVA)
    .write('sockets.py', SOCKETS)
    .commit('first');
});
afterAll(() => {
  world?.close();
  site.dispose();
});
beforeEach(() => {
  for (const list of [world.asked, world.arrived]) list.length = 0;
});

async function said(script: string): Promise<Finished & { said: string }> {
  const finished = await site.start(project, script, '--deliver', 'none').done;
  const lines = finished.stderr.split('\n').filter((line) => line.startsWith('│ '));
  return { ...finished, said: lines.map((line) => line.slice(2).replace(/\r$/, '')).join('\n') };
}

const hostsAsked = () => [...new Set(world.asked)].sort();

/** Arguments: `host:port` or `host:port/path`; TLS but on 8080. What is offered in ALPN comes first. */
const PORTS = `import socket, ssl, sys
offered = sys.argv[1].split(',')
for place in sys.argv[2:]:
    name, _, path = place.partition('/')
    host, port = name.split(':')
    try:
        s = socket.create_connection((host, int(port)), 10)
        if port != '8080':
            context = ssl.create_default_context()
            if offered != ['']: context.set_alpn_protocols(offered)
            s = context.wrap_socket(s, server_hostname=host)
        s.sendall(f'GET /{path} HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
        print(place, b''.join(iter(lambda: s.recv(4096), b'')).decode().split('\\r\\n')[0])
    except OSError as error:
        print(place, 'failed:', type(error).__name__, error)
`;

const unjudged = (run: string) =>
  site
    .cordon('audit', 'tail', '--json', '--no-follow', '--type', 'network.unjudged', '-n', '100')
    .stdout.split('\n')
    .filter((line) => line.includes(run))
    .map((line) => JSON.parse(line).resource);

describe.skipIf(!has('python3'))('programs that know nothing of proxies', () => {
  const python = (alpn: string, ...places: string[]) =>
    said(`cat > /tmp/ports.py <<'END'\n${PORTS}\nEND\npython3 /tmp/ports.py '${alpn}' ${places.join(' ')}`);

  test('reach permitted hosts on the ports that the policy names, by TLS and plain, judged like all', async () => {
    const places = ['plain.acme.example:8443', 'plain.acme.example:8080', 'registry.acme.example:9443/open'];
    const denied = ['registry.acme.example:9443/closed', 'registry.acme.example:8443', 'registry.acme.example:8080'];
    const { said: text } = await python('', ...places, ...denied, 'plain.acme.example:7777');
    expect(text.split('\n')).toEqual([
      ...places.map((place) => `${place} HTTP/1.1 200 OK`),
      `${denied[0]} HTTP/1.1 403 Forbidden`,
      expect.stringMatching(new RegExp(`^${denied[1]} failed: .*access.denied`, 'i')),
      `${denied[2]} HTTP/1.1 403 Forbidden`,
      expect.stringContaining('plain.acme.example:7777 failed: ConnectionRefusedError'),
    ]);
    expect(hostsAsked()).toEqual(['plain.acme.example:8080', 'plain.acme.example:8443', 'registry.acme.example:9443']);
  });

  test('such a port is the run’s own on 127.0.0.1: a server of its own and the permitted host go together', async () => {
    const own = `import http.server, socket, threading
class Own(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'the run itself')
    def log_message(self, *a): pass
server = http.server.HTTPServer(('localhost', 3000), Own)
threading.Thread(target=server.serve_forever, daemon=True).start()
for host in ['127.0.0.1', 'localhost', 'plain.acme.example']:
    s = socket.create_connection((host, 3000), 10)
    s.sendall(f'GET / HTTP/1.1\\r\\nHost: {host}:3000\\r\\nConnection: close\\r\\n\\r\\n'.encode())
    print(host, b''.join(iter(lambda: s.recv(4096), b'')).decode().strip().split('\\n')[-1])
`;
    const { said: text } = await said(`cat > /tmp/own.py <<'END'\n${own}\nEND\npython3 /tmp/own.py`);
    expect(text.split('\n')).toEqual([
      '127.0.0.1 the run itself',
      'localhost the run itself',
      'plain.acme.example hello from outside',
    ]);
    expect(hostsAsked()).toEqual(['plain.acme.example:3000']);
  });

  test('agree on HTTP/1.1 where they offer more; of HTTP/2 alone they are refused, and the log says why', async () => {
    const { said: both } = await python('h2,http/1.1', 'registry.acme.example:9443/open');
    expect(both).toBe('registry.acme.example:9443/open HTTP/1.1 200 OK');
    const alone = await python('h2', 'registry.acme.example:9443/open');
    expect(alone.said).toMatch(/failed: .*no.application.protocol/i);
    expect(unjudged(alone.result.runId)).toEqual([
      {
        via: 'tls',
        host: 'registry.acme.example',
        detail: expect.stringMatching(/offers "?h2"?, and requests to it are judged in http\/1\.1 alone/),
      },
    ]);
  });

  test('of HTTP/2 alone, through the proxy: the program is told by an alert, the log by words', async () => {
    const finished = await said(
      `python3 - <<'END'
import socket, ssl
s = socket.create_connection(('127.0.0.1', 3128), 10)
s.sendall(b'CONNECT registry.acme.example:9443 HTTP/1.1\\r\\nHost: registry.acme.example:9443\\r\\n\\r\\n')
s.recv(4096)
context = ssl.create_default_context()
context.set_alpn_protocols(['h2'])
try: context.wrap_socket(s, server_hostname='registry.acme.example')
except OSError as error: print(error)
END`,
    );
    expect(finished.said).toMatch(/no.application.protocol/i);
    expect(unjudged(finished.result.runId)).toMatchObject([{ via: 'proxy', host: 'registry.acme.example' }]);
  });
});

describe('fetches what is permitted', () => {
  test.skipIf(!has('npm'))('npm ci (needs /usr/bin/npm)', async () => {
    const { said: text } = await said(
      `npm ci && node -p "require('tiny')"; env -u HTTPS_PROXY -u https_proxy npm view tiny version`,
    );
    expect(text).toMatch(/added 1 package/);
    expect(text).toContain('tiny works');
    expect(text).toMatch(/^1\.0\.0$/m);
    expect(world.arrived).toContain('GET registry.acme.example/tiny/-/tiny-1.0.0.tgz');
    // What npm sends besides, to be told of flaws, is no GET.
    expect(world.arrived.filter((request) => !request.startsWith('GET registry.acme.example/tiny'))).toEqual([]);
    expect(hostsAsked()).toEqual(['registry.acme.example:443']);
  });

  test.skipIf(!hasPip)('pip download, with and without variables (needs Debian’s python3-pip)', async () => {
    const pip =
      '/usr/bin/python3 -m pip download -q --no-cache-dir --no-deps --index-url https://pypi.acme.example/simple/ tiny==1.0';
    const { said: text } = await said(
      `${pip} -d /tmp/a; ls /tmp/a; env -i HOME=$HOME PATH=/usr/bin ${pip} -d /tmp/b; ls /tmp/b`,
    );
    expect(text.match(/^tiny-1\.0-py3-none-any\.whl$/gm)).toHaveLength(2);
    expect(hostsAsked()).toEqual(['pypi.acme.example:443']);
  });

  test('git clone over HTTPS, with and without variables, beside the run’s own origin', async () => {
    const { said: text } = await said(
      `git clone -q https://git.acme.example/shared.git /tmp/a && cat /tmp/a/shared.txt
      env -i HOME=$HOME PATH=/usr/bin git clone -q https://git.acme.example/shared.git /tmp/b && cat /tmp/b/shared.txt
      env -i HOME=$HOME PATH=/usr/bin git fetch origin && echo fetched
      git worktree add -q /tmp/tree && cd /tmp/tree && git fetch origin && echo fetched
      git clone https://git.acme.example/other.git /tmp/c 2>&1 | tail -1`,
    );
    expect(text.match(/^shared$/gm)).toHaveLength(2);
    expect(text.match(/^fetched$/gm)).toHaveLength(2);
    expect(text).toMatch(/The requested URL returned error: 403/);
    expect(world.arrived.filter((request) => !request.includes('/shared.git/'))).toEqual([]);
  });

  test('curl, wget and Node, told of the proxy, over what HTTP they like', async () => {
    const url = 'https://plain.acme.example/';
    const scripts = [
      ...(has('curl')
        ? [
            `curl -sS ${url}`,
            `curl -sS --http2 ${url}`,
            `curl -sS --http2 https://registry.acme.example/tiny | cut -c1-20`,
          ]
        : []),
      ...(has('wget') ? [`wget -qO- ${url}`, `env -i PATH=/usr/bin wget -qO- ${url}`] : []),
      ...(has('node') ? [`node -e 'fetch("${url}").then((r) => r.text()).then(console.log)'`] : []),
    ];
    const { said: text } = await said(scripts.join('\n'));
    expect(text.match(/^hello from outside$/gm)).toHaveLength(scripts.length - (has('curl') ? 1 : 0));
    if (has('curl')) expect(text).toContain('{"name":"tiny"');
    expect(hostsAsked().filter((host) => !/^(plain|registry)\.acme\.example:443$/.test(host))).toEqual([]);
  });

  test.skipIf(!has('python3'))('plain sockets that know no proxy (needs python3)', async () => {
    const { said: text } = await said('python3 sockets.py plain.acme.example evil.acme.example');
    expect(text).toBe('hello from outside\nfailed: gaierror');
    expect(hostsAsked()).toEqual(['plain.acme.example:443']);
    expect(world.arrived).toEqual(['GET plain.acme.example/sockets']);
  });

  test.skipIf(!has('javac'))('Java, by its own settings (needs a JDK)', async () => {
    const { said: text } = await said(
      'java Fetch.java https://plain.acme.example/ https://registry.acme.example/tiny https://evil.acme.example/ 2>&1',
    );
    expect(text).toContain('url: hello from outside');
    expect(text).toContain('url: {"name":"tiny"');
    expect(text).toMatch(/failed: Unable to tunnel through proxy.*403/);
    expect(text).toContain('client: hello from outside');
    expect(hostsAsked()).toEqual(['plain.acme.example:443', 'registry.acme.example:443']);
  });
});

test.skipIf(!has('curl'))(
  'what is not permitted is answered with the rule to add, and nobody outside hears of it',
  async () => {
    const { said: text } = await said(
      `curl -sS https://evil.acme.example/; curl -sS http://evil.acme.example/; curl -sS -X PUT -d x https://registry.acme.example/tiny
    curl -sS https://git.acme.example/other.git/info/refs; curl -sS --http2-prior-knowledge http://plain.acme.example/
    curl -sS --proxytunnel http://evil.acme.example/; curl -sS --noproxy '*' https://evil.acme.example/`,
    );
    expect(text).toMatch(/CONNECT tunnel failed, response 403/);
    const problems = text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    expect(problems).toMatchObject([
      { status: 403, host: 'evil.acme.example:80', remedy: expect.stringContaining('evil.acme.example:80') },
      { status: 403, host: 'registry.acme.example:443', detail: expect.stringContaining('PUT') },
      { status: 403, host: 'git.acme.example:443' },
      { status: 403, host: 'plain.acme.example:80' },
    ]);
    expect({ asked: world.asked, arrived: world.arrived }).toEqual({ asked: [], arrived: [] });
  },
);

describe('settings of the network that cannot be used stop a run before it starts', () => {
  const settings = (text: string) => {
    const own = new Installation();
    mkdirSync(join(own.root, '.config/cordon'), { recursive: true });
    writeFileSync(join(own.root, '.config/cordon/config.yaml'), `version: 1\nnetwork: {${text}}\n`);
    const file = join(own.root, 'file.pem');
    return { own, file };
  };
  test.each<[string, string, string | null, RegExp]>([
    ['a file that is not there', 'ca_file: /nowhere/ca.pem', null, /\/nowhere\/ca\.pem, cannot be read/],
    ['a file without a certificate', 'ca_file: FILE', 'hello', /holds no certificate/],
    ['a file with a key', 'ca_file: FILE', '-----BEGIN PRIVATE KEY-----\n', /holds a private key/],
    [
      'something else in armour',
      'ca_file: FILE',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      /no certificate/,
    ],
    ['a relative file', 'ca_file: ca.pem', null, /write an absolute path/],
    ['a proxy that is no URL', 'proxy: proxy.acme.example', null, /write http:\/\/HOST:PORT/],
    ['a proxy with a password', 'proxy: "http://a:b@proxy.acme.example:3128"', null, /name and a password/],
    ['a proxy with a port that is none', 'proxy: "http://proxy.acme.example:70000"', null, /write http:\/\/HOST:PORT/],
  ])('%s', (_name, text, content, message) => {
    const { own, file } = settings(text.replace('FILE', 'CA'));
    if (content !== null) writeFileSync(file, content);
    writeFileSync(
      join(own.root, '.config/cordon/config.yaml'),
      `version: 1\nnetwork: {${text.replace('FILE', file)}}\n`,
    );
    const { status, stderr } = own.run(project, 'echo ran');
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringMatching(message) });
    expect(stderr).not.toContain('│ ran');
    own.dispose();
  });
});

test('the log of all of this holds', () => {
  expect(site.verify()).toEqual([]);
});
