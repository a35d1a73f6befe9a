import type { IncomingMessage, ServerResponse } from 'node:http';
import { killGit } from '../../base/git.ts';
import { flushPacket, packet } from '../../base/pktline.ts';
import { collect, feed } from './git-io.ts';
import { answer, bodyOf, HttpRefusal, protocolOf } from './http.ts';
import type { Service, ServiceName } from './service.ts';

const FETCH_BODY = 32 * 1024 * 1024;
const REPORT_BYTES = 4 * 1024 * 1024;

export async function advertise(
  state: Service,
  request: IncomingMessage,
  response: ServerResponse,
  service: ServiceName,
): Promise<void> {
  const args = [service.slice(4), '--stateless-rpc', '--advertise-refs'];
  const push = service === 'git-receive-pack';
  // Pushing has no protocol 2; without the variable git answers as every client understands.
  const child = state.start(args, push ? 'quarantine' : 'view', push ? {} : protocolOf(request));
  child.stdin.end();
  const refs = await collect(child, REPORT_BYTES);
  if (refs === null) throw new HttpRefusal(500, 'the refs could not be read');
  const body = Buffer.concat([packet(`# service=${service}\n`), flushPacket, refs]);
  answer(response, 200, `application/x-${service}-advertisement`, body);
}

export async function fetchPack(state: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const child = state.start(['upload-pack', '--stateless-rpc', '--strict'], 'view', protocolOf(request));
  response.on('close', () => killGit(child));
  try {
    await feed(child, bodyOf(request, FETCH_BODY));
    response.writeHead(200, { 'Content-Type': 'application/x-git-upload-pack-result', 'Cache-Control': 'no-store' });
    const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
    child.stdout.pipe(response);
    await ended;
  } finally {
    killGit(child);
  }
}
