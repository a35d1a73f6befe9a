import type { IncomingMessage, ServerResponse } from 'node:http';
import { killGit } from '../../base/git.ts';
import { flushPacket, type Packet, PacketReader, packet } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
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
  // Pushing has no protocol 2: what is offered is offered as every client understands it.
  const refs = service === 'git-receive-pack' ? await state.refs.advertisement() : await viewRefs(state, request);
  const body = Buffer.concat([packet(`# service=${service}\n`), flushPacket, refs]);
  answer(response, 200, `application/x-${service}-advertisement`, body);
}

async function viewRefs(state: Service, request: IncomingMessage): Promise<Buffer> {
  const { view } = state.options.quarantine;
  const args = ['upload-pack', '--stateless-rpc', '--advertise-refs', view.gitDir];
  const child = state.start(args, view, state.timeout, protocolOf(request), PARTIAL);
  child.stdin.end();
  const refs = await collect(child, REPORT_BYTES);
  if (refs === null) throw new HttpRefusal(500, 'the refs could not be read');
  return refs;
}

/** One request of protocol 2, or all of a fetch by an older one. What is not reachable from the shown refs is not in the view at all. */
export async function fetchPack(state: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const protocol = protocolOf(request);
  const reader = new PacketReader(bodyOf(request, FETCH_BODY), FETCH_BODY);
  const first = await reader.next();
  const listing = first?.kind === 'data' && /^command=ls-refs\n?$/.test(first.data.toString('latin1'));
  const verdict = listing ? undefined : await state.options.decideFetch?.();
  const type = 'application/x-git-upload-pack-result';
  if (verdict?.permit === false) {
    for await (const _ of reader.rest());
    return answer(response, 200, type, packet(`ERR cordon: ${safeText(verdict.reason).slice(0, 1000)}`));
  }
  let bytes = 0;
  let whole = false;
  const { view } = state.options.quarantine;
  const args = ['upload-pack', '--stateless-rpc', '--strict', view.gitDir];
  const child = state.start(args, view, state.timeout, protocol, PARTIAL);
  child.stderr.resume();
  const ended = new Promise<boolean>((resolve) => child.on('close', (code) => resolve(code === 0)));
  response.on('close', () => killGit(child));
  try {
    if (first !== null) await feed(child, rawPacket(first));
    for await (const chunk of reader.rest()) await feed(child, chunk);
    child.stdin.end();
    response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' });
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    child.stdout.pipe(response);
    whole = await ended;
  } finally {
    killGit(child);
    await verdict?.done(bytes, whole);
  }
}

/** Partial clones, by the filters that cost no walk of their own. */
const PARTIAL = [
  'uploadpack.allowFilter=true',
  'uploadpackfilter.allow=false',
  'uploadpackfilter.blob:none.allow=true',
  'uploadpackfilter.blob:limit.allow=true',
];

function rawPacket(one: Packet): Buffer {
  if (one.kind === 'data') return packet(one.data);
  return Buffer.from(one.kind === 'flush' ? '0000' : one.kind === 'delimiter' ? '0001' : '0002');
}
