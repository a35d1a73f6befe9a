import type { IncomingMessage, ServerResponse } from 'node:http';
import { killGit } from '../../base/git.ts';
import { flushPacket, type Packet, PacketReader, packet } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
import { collect, feed } from './git-io.ts';
import { answer, bodyOf, HttpRefusal, protocolOf } from './http.ts';
import type { FetchVerdict } from './server.ts';
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
  const head = await readFetchHead(reader);
  const verdict = head.listing ? null : await decideAll(state, head.wants);
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
    await feed(child, head.bytes);
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

interface FetchHead {
  /** Protocol 2 asks which refs there are, and for no object. */
  readonly listing: boolean;
  /** Object ids. */
  readonly wants: readonly string[];
  /** As they came. */
  readonly bytes: Buffer;
}

/** Up to the first flush: all of a request of protocol 2, what is wanted in an older one. */
async function readFetchHead(reader: PacketReader): Promise<FetchHead> {
  const taken: Buffer[] = [];
  const wants: string[] = [];
  let listing = false;
  for (let next = await reader.next(); next !== null; next = await reader.next()) {
    if (next.kind === 'data') {
      const line = next.data.toString('latin1', 0, 100);
      if (taken.length === 0) listing = /^command=ls-refs\n?$/.test(line);
      const wanted = /^want ([0-9a-f]{40,64})\b/i.exec(line)?.[1]?.toLowerCase(); // git takes both cases
      if (wanted !== undefined) wants.push(wanted);
    }
    taken.push(rawPacket(next));
    if (next.kind === 'flush') break;
  }
  return { listing, wants, bytes: Buffer.concat(taken) };
}

/** The verdict on each ref that is wanted; what is wanted by another id (a file of a partial clone) is of the base. */
async function decideAll({ options }: Service, wants: readonly string[]): Promise<FetchVerdict | null> {
  const { decideFetch, quarantine } = options;
  if (decideFetch === undefined) return null;
  const refs = [...new Set(wants.map((oid) => quarantine.shown.get(oid) ?? quarantine.baseRef))];
  const verdicts: (FetchVerdict & { permit: true })[] = [];
  const done = async (bytes: number, whole: boolean) => {
    for (const verdict of verdicts) await verdict.done(bytes, whole);
  };
  for (const ref of refs.length === 0 ? [quarantine.baseRef] : refs) {
    const verdict = await decideFetch(ref);
    if (verdict.permit) verdicts.push(verdict);
    else {
      await done(0, false);
      return verdict;
    }
  }
  return { permit: true, done };
}

function rawPacket(one: Packet): Buffer {
  if (one.kind === 'data') return packet(one.data);
  return Buffer.from(one.kind === 'flush' ? '0000' : one.kind === 'delimiter' ? '0001' : '0002');
}
