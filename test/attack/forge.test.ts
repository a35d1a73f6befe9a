/** A forge that is slow, or wants to be: what a delivery to it costs this process. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { flushPacket, PacketReader, packet } from '../../src/base/pktline.ts';
import { openForge } from '../../src/forge/index.ts';
import { parseRemote } from '../../src/policy/remotes.ts';

const TYPE = 'application/x-git-receive-pack';
const REF = 'refs/heads/x';

async function takePush(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'GET') {
    const none = packet(`${'0'.repeat(40)} capabilities^{}\0report-status`);
    response.writeHead(200, { 'Content-Type': `${TYPE}-advertisement` });
    response.end(Buffer.concat([packet('# service=git-receive-pack\n'), flushPacket, none, flushPacket]));
    return;
  }
  for await (const _ of request);
  response.writeHead(200, { 'Content-Type': `${TYPE}-result` });
  response.end(Buffer.concat([packet('unpack ok\n'), packet(`ok ${REF}\n`), flushPacket]));
}

test('a pack that is taken piece by piece leaves nothing behind for each piece', async () => {
  const server = createServer((request, response) => void takePush(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const remote = parseRemote(`http://127.0.0.1:${(server.address() as AddressInfo).port}/app.git`);
  if (!remote.ok) throw new Error(remote.message);
  const forge = openForge('git', { repository: remote.value, scheme: 'basic', user: 'u', token: async () => null });
  const warnings: string[] = [];
  const warn = (warning: Error) => warnings.push(warning.message);
  process.on('warning', warn);
  try {
    const pack = async function* () {
      for (let i = 0; i < 100; i++) yield Buffer.alloc(128 * 1024);
    };
    await forge.push({ objectFormat: 'sha1', updates: [{ ref: REF, from: null, to: '1'.repeat(40) }], pack });
    await new Promise((done) => setImmediate(done));
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', warn);
    forge.close();
    server.close();
  }
});

test('a packet that comes byte by byte is copied once, not once for each byte', async () => {
  const whole = packet('x'.repeat(65_000));
  let copied = 0;
  const concat = Buffer.concat;
  const pieces = async function* () {
    for (const byte of whole) yield Buffer.from([byte]);
  };
  Buffer.concat = ((list: readonly Uint8Array[]) => {
    for (const one of list) copied += one.length;
    return concat(list);
  }) as typeof Buffer.concat;
  try {
    const reader = new PacketReader(pieces(), 100_000);
    expect(await reader.next()).toMatchObject({ kind: 'data' });
    expect(await reader.next()).toBeNull();
  } finally {
    Buffer.concat = concat;
  }
  expect(copied).toBeLessThan(3 * whole.length);
});
