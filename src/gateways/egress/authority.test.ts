import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import { expect, test } from 'vitest';
import { createAuthority } from './authority.ts';

const NOW = Date.parse('2026-11-20T12:00:00Z');

test('the authority may sign certificates and nothing else, for a week', () => {
  const ca = new X509Certificate(createAuthority('0123456789abcdef', NOW).certificate);
  expect(ca.ca).toBe(true);
  expect(ca.subject).toBe('CN=Cordon inspection of 0123456789abcdef');
  expect(ca.verify(ca.publicKey)).toBe(true);
  expect(ca.validFromDate.toISOString()).toBe('2026-11-19T12:00:00.000Z');
  expect(ca.validToDate.toISOString()).toBe('2026-11-27T12:00:00.000Z');
});

test('beyond 2049 dates have another form', () => {
  const ca = new X509Certificate(createAuthority('x', Date.parse('2055-01-01T00:00:00Z')).certificate);
  expect(ca.validToDate.toISOString()).toBe('2055-01-08T00:00:00.000Z');
});

test('authorities of two runs share nothing', () => {
  const [a, b] = [createAuthority('a', NOW), createAuthority('b', NOW)].map(
    (each) => new X509Certificate(each.certificate),
  );
  expect(b !== undefined && a?.verify(b.publicKey)).toBe(false);
  expect(a?.serialNumber).not.toBe(b?.serialNumber);
});

test.each([
  'packages.acme.example',
  '93.184.216.34',
  '[2606:2800:220:1::1]',
  `${'a'.repeat(60)}.${'b'.repeat(60)}.example`,
])('a leaf for %s is taken by a client that trusts the authority alone, and by no other', async (host) => {
  const authority = createAuthority('run', Date.now());
  const server = createServer({ SNICallback: (_, done) => done(null, authority.contextFor(host)) });
  server.on('secureConnection', (socket) => socket.end());
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const plain = host.replace(/^\[|\]$/g, '');
  // A name is sent even for addresses, so that the server's callback has one to answer.
  const attempt = (ca: string) => {
    const tls = connect({
      port,
      host: '127.0.0.1',
      servername: 'sni.example',
      ca,
      checkServerIdentity: () => undefined,
    });
    return new Promise<X509Certificate | Error>((resolve) => {
      tls.once('secureConnect', () => resolve(new X509Certificate(tls.getPeerCertificate().raw)));
      tls.once('error', resolve);
    });
  };
  const leaf = await attempt(authority.certificate);
  expect(leaf).toBeInstanceOf(X509Certificate);
  if (leaf instanceof X509Certificate) {
    expect(host.includes(':') || /^\d/.test(host) ? leaf.checkIP(plain) : leaf.checkHost(plain)).toBe(plain);
    expect(leaf.ca).toBe(false);
    expect(leaf.checkHost('evil.example')).toBeUndefined();
  }
  expect(await attempt(createAuthority('other', Date.now()).certificate)).toBeInstanceOf(Error);
  server.close();
});

test('a name is signed once', () => {
  const authority = createAuthority('run', NOW);
  expect(authority.contextFor('a.example')).toBe(authority.contextFor('a.example'));
});
