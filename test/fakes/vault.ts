import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A Vault as far as reading the KV engine in version 2 goes: the paths, headers, statuses and bodies of its published HTTP API. What
 * it is asked is kept, so that tests can see that nothing more is.
 */
export interface FakeVault {
  readonly address: string;
  readonly token: string;
  /** By `MOUNT/PATH`; null is a deleted version. */
  readonly secrets: Map<string, { readonly version: number; readonly data: Record<string, unknown> | null }>;
  readonly requests: { readonly url: string; readonly namespace: string | undefined }[];
  transitKey: Buffer;
  /** Answers otherwise; `hang` never does. */
  mode: 'unsealed' | 'sealed' | 'standby' | 'redirect' | 'hang' | 'html' | 'endless';
  close(): Promise<void>;
}

export async function startVault(): Promise<FakeVault> {
  const server = createServer((request, response) => answer(vault, request, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const vault: FakeVault = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: 'hvs.test-token-of-the-fake-vault',
    secrets: new Map(),
    transitKey: randomBytes(32),
    requests: [],
    mode: 'unsealed',
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
  return vault;
}

function answer(vault: FakeVault, request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? '';
  vault.requests.push({ url, namespace: request.headers['x-vault-namespace'] as string | undefined });
  const json = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  switch (vault.mode) {
    case 'sealed':
      json(503, { errors: ['Vault is sealed'] });
      break;
    case 'standby':
      json(473, {});
      break;
    case 'redirect':
      response.writeHead(307, { location: `${vault.address}/elsewhere` }).end();
      break;
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>');
      break;
    case 'endless':
      response.writeHead(200).end(Buffer.alloc(2 * 1024 * 1024, ' '));
      break;
    case 'hang':
      break;
    case 'unsealed':
      if (url.startsWith('/v1/transit/')) void transit(vault, request, url, json);
      else read(vault, request, url, json);
  }
}

/** The transit engine with one key, `cordon`, of type aes256-gcm96: `vault:v1:` and base64 of nonce, ciphertext and tag. */
async function transit(
  vault: FakeVault,
  request: IncomingMessage,
  url: string,
  json: (status: number, body: unknown) => void,
): Promise<void> {
  let text = '';
  for await (const piece of request) text += piece;
  if (request.headers['x-vault-token'] !== vault.token) return json(403, { errors: ['permission denied'] });
  const { plaintext, ciphertext, associated_data: aad } = JSON.parse(text) as Record<string, string>;
  const bytes = (base64: string | undefined) => Buffer.from(base64 ?? '', 'base64');
  if (url === '/v1/transit/encrypt/cordon') {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', vault.transitKey, nonce);
    cipher.setAAD(bytes(aad));
    const sealed = Buffer.concat([nonce, cipher.update(bytes(plaintext)), cipher.final(), cipher.getAuthTag()]);
    return json(200, { data: { ciphertext: `vault:v1:${sealed.toString('base64')}`, key_version: 1 } });
  }
  if (url !== '/v1/transit/decrypt/cordon') return json(400, { errors: ['encryption key not found'] });
  const sealed = bytes(ciphertext?.replace(/^vault:v1:/, ''));
  const decipher = createDecipheriv('aes-256-gcm', vault.transitKey, sealed.subarray(0, 12));
  decipher.setAAD(bytes(aad));
  decipher.setAuthTag(sealed.subarray(-16));
  try {
    const plain = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
    json(200, { data: { plaintext: plain.toString('base64') } });
  } catch {
    json(400, { errors: ['cipher: message authentication failed'] });
  }
}

function read(vault: FakeVault, request: IncomingMessage, url: string, json: (status: number, body: unknown) => void) {
  if (request.headers['x-vault-token'] !== vault.token) return json(403, { errors: ['permission denied'] });
  const match = /^\/v1\/([^/]+)\/data\/(.+)$/.exec(url);
  const found = vault.secrets.get(`${match?.[1]}/${decodeURIComponent(match?.[2] ?? '')}`);
  if (found === undefined) return json(404, { errors: [] });
  const deleted = found.data === null;
  const metadata = {
    created_time: '2026-01-02T03:04:05.678901234Z',
    custom_metadata: null,
    deletion_time: deleted ? '2026-01-03T03:04:05.678901234Z' : '',
    destroyed: false,
    version: found.version,
  };
  json(deleted ? 404 : 200, {
    request_id: '6b2f9a1e-0000-4000-8000-000000000000',
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    data: { data: found.data, metadata },
    wrap_info: null,
    warnings: null,
    auth: null,
    mount_type: 'kv',
  });
}
