import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';

/** A file that a registry serves. */
export interface Published {
  readonly name: string;
  readonly version: string;
  /** PyPI: the file's name. */
  readonly file?: string;
  readonly bytes: Buffer;
  /** RFC 3339; null where the registry does not say. */
  readonly published: string | null;
  /** Served in place of `bytes`, while the index speaks of those. */
  readonly tampered?: Buffer;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

const hash = (algorithm: string, bytes: Buffer, form: 'hex' | 'base64') =>
  createHash(algorithm).update(bytes).digest(form);

export const integrityOf = (bytes: Buffer) => `sha512-${hash('sha512', bytes, 'base64')}`;

/** npm's registry below a path. `origin`: as its clients call it. Undefined where it has nothing. */
export function npmAnswer(
  origin: string,
  packages: readonly Published[],
  request: IncomingMessage,
): Answer | undefined {
  const path = decodeURIComponent(new URL(request.url ?? '/', origin).pathname);
  const base = new URL(origin).pathname.replace(/\/$/, '');
  for (const each of packages) {
    const bare = each.name.replace(/^@[^/]*\//, '');
    if (path !== `${base}/${each.name}/-/${bare}-${each.version}.tgz`) continue;
    return { headers: { 'content-type': 'application/octet-stream' }, body: each.tampered ?? each.bytes };
  }
  const named = packages.filter((each) => path === `${base}/${each.name}`);
  if (named.length === 0) return undefined;
  const full = !(request.headers.accept ?? '').includes('application/vnd.npm.install-v1+json');
  const [{ name = '' } = {}] = named;
  const versions = named.map((each) => {
    const bare = name.replace(/^@[^/]*\//, '');
    const tarball = `${origin.replace(/\/$/, '')}/${name}/-/${bare}-${each.version}.tgz`;
    const dist = { integrity: integrityOf(each.bytes), shasum: hash('sha1', each.bytes, 'hex'), tarball };
    return [each.version, { name, version: each.version, dist }] as const;
  });
  const time = Object.fromEntries(
    named.flatMap((each) => (each.published === null ? [] : [[each.version, each.published]])),
  );
  const document = {
    name,
    'dist-tags': { latest: named.at(-1)?.version },
    versions: Object.fromEntries(versions),
    ...(full ? { time } : {}),
  };
  const type = full ? 'application/json' : 'application/vnd.npm.install-v1+json';
  return { headers: { 'content-type': type }, body: JSON.stringify(document) };
}

const project = (name: string) => name.toLowerCase().replace(/[-_.]+/g, '-');

/** PyPI's simple index below `/simple`, in JSON or HTML; its files lie below `files`. */
export function pypiAnswer(
  files: string,
  packages: readonly Published[],
  request: IncomingMessage,
): Answer | undefined {
  const path = new URL(request.url ?? '/', files).pathname;
  const folder = new URL(files).pathname;
  const file = packages.find((each) => path === `${folder}${each.file}`);
  if (file !== undefined)
    return { headers: { 'content-type': 'application/octet-stream' }, body: file.tampered ?? file.bytes };
  const named = packages.filter((each) => path === `/simple/${project(each.name)}/`);
  if (named.length === 0) return undefined;
  if ((request.headers.accept ?? '').includes('application/vnd.pypi.simple.v1+json')) {
    const list = named.map((each) => ({
      filename: each.file,
      url: `${files}${each.file}`,
      hashes: { sha256: hash('sha256', each.bytes, 'hex') },
      ...(each.published === null ? {} : { 'upload-time': each.published }),
    }));
    const document = { meta: { 'api-version': '1.1' }, name: project(named[0]?.name ?? ''), files: list };
    return { headers: { 'content-type': 'application/vnd.pypi.simple.v1+json' }, body: JSON.stringify(document) };
  }
  const anchors = named.map(
    (each) => `<a href="${files}${each.file}#sha256=${hash('sha256', each.bytes, 'hex')}">${each.file}</a>`,
  );
  return { headers: { 'content-type': 'text/html' }, body: `<!DOCTYPE html><body>${anchors.join('\n')}</body>` };
}

export function send(response: ServerResponse, answer: Answer | undefined): void {
  const { status = 200, headers = {}, body } = answer ?? { status: 404, body: '{"error":"not found"}' };
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body);
}

/** A `.tgz` as npm unpacks it: one folder `package`. */
export function tarball(files: Readonly<Record<string, string>>): Buffer {
  const blocks = Object.entries(files).flatMap(([name, text]) => {
    const body = Buffer.from(text);
    const head = Buffer.alloc(512);
    head.write(`package/${name}`, 0, 'latin1');
    head.write('0000644\0', 100);
    head.write('0000000\0', 108);
    head.write('0000000\0', 116);
    head.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
    head.write('00000000000\0', 136);
    head.write('        ', 148);
    head.write('0', 156);
    head.write('ustar\x0000', 257, 'latin1');
    const sum = head.reduce((total, byte) => total + byte, 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [head, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}
