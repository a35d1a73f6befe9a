import { canonicalRef } from '../../policy/git-refs.ts';
import {
  type Credential,
  type FetchRequest,
  ForgeError,
  type ForgeLimits,
  type RefListing,
  type RemoteRef,
} from '../forge.ts';
import { Conversation, command, sideBand } from './conversation.ts';
import type { Transport } from './transport.ts';

/**
 * Fetching by protocol v2 (gitprotocol-v2(5)), in one round: what we have is sent at once with `done`, so that the answer is the pack. Those
 * are the tips of a mirror that follows this very repository; there is nothing to negotiate.
 *
 *     GET  info/refs?service=git-upload-pack      capabilities
 *     POST git-upload-pack  command=ls-refs       names and ids
 *     POST git-upload-pack  command=fetch         want…, have…, done → packfile
 */
const SERVICE = '/git-upload-pack';
const V2 = { 'Git-Protocol': 'version=2' };
const HEAD_BYTES = 256 * 1024;

export interface Peer {
  readonly name: string;
  readonly transport: Transport;
  readonly limits: ForgeLimits;
  readonly credential: Credential | null;
}

export async function listRefs(peer: Peer, prefixes: readonly string[]): Promise<RefListing> {
  const objectFormat = await readFormat(peer);
  const body = command('ls-refs', objectFormat, ['symrefs', ...prefixes.map((prefix) => `ref-prefix ${prefix}`)]);
  const talk = await post(peer, body, peer.limits.refBytes);
  return talk.whole(() => readRefs(talk, peer, objectFormat));
}

async function readRefs(talk: Conversation, peer: Peer, objectFormat: RefListing['objectFormat']): Promise<RefListing> {
  const refs: RemoteRef[] = [];
  let head: string | null = null;
  let odd = 0;
  for (let line = await talk.line(); line !== null; line = await talk.line()) {
    const [oid = '', name = '', ...attributes] = line.split(' ');
    const target = attributes.find((attribute) => attribute.startsWith('symref-target:'))?.slice(14);
    if (name === 'HEAD') {
      if (target !== undefined && canonicalRef(target).ok) head = target;
      continue;
    }
    talk.oid(oid);
    if (!name.startsWith('refs/')) throw talk.fault(`a ref ${name.slice(0, 100)}`);
    if (canonicalRef(name).ok) refs.push({ name, oid });
    else odd += 1;
    if (refs.length + odd > peer.limits.refs)
      throw new ForgeError('limit', `${peer.name} has more than ${peer.limits.refs} branches and tags`);
  }
  refs.sort((a, b) => (a.name < b.name ? -1 : 1));
  if (refs.some(({ name }, i) => name === refs[i + 1]?.name)) throw talk.fault('one ref twice');
  return { objectFormat, head, refs, odd };
}

async function readFormat(peer: Peer): Promise<'sha1' | 'sha256'> {
  const { transport, credential, name } = peer;
  const talk = new Conversation(
    name,
    await transport.call({
      method: 'GET',
      path: '/info/refs?service=git-upload-pack',
      accept: 'application/x-git-upload-pack-advertisement',
      headers: V2,
      maxBytes: peer.limits.refBytes,
      credential,
    }),
    HEAD_BYTES,
  );
  return talk.whole(() => readCapabilities(talk, name));
}

async function readCapabilities(talk: Conversation, name: string): Promise<'sha1' | 'sha256'> {
  let first = await talk.line();
  if (first === '# service=git-upload-pack') {
    await talk.next();
    first = await talk.line();
  }
  if (first !== 'version 2') {
    throw new ForgeError('protocol', `${name} does not speak git's protocol 2`, {
      remedy: 'its git must be 2.18 or later',
    });
  }
  const capabilities = new Map<string, string>();
  for (let line = await talk.line(); line !== null; line = await talk.line()) {
    const [key = '', value = ''] = line.split(/=(.*)/s);
    capabilities.set(key, value);
  }
  if (!capabilities.has('ls-refs') || !capabilities.has('fetch')) throw talk.fault('no ls-refs and fetch');
  const format = capabilities.get('object-format') ?? 'sha1';
  if (format !== 'sha1' && format !== 'sha256') throw talk.fault(`objects named by ${format}`);
  return format;
}

async function post(peer: Peer, body: Buffer, maxBytes: number): Promise<Conversation> {
  const answer = await peer.transport.call({
    method: 'POST',
    path: SERVICE,
    accept: 'application/x-git-upload-pack-result',
    headers: { ...V2, 'Content-Type': 'application/x-git-upload-pack-request' },
    body,
    maxBytes,
    credential: peer.credential,
  });
  return new Conversation(peer.name, answer);
}

export async function* fetchPack(peer: Peer, request: FetchRequest): AsyncGenerator<Buffer> {
  const { wants, haves, objectFormat } = request;
  const body = command('fetch', objectFormat, [
    'thin-pack',
    'ofs-delta',
    ...wants.map((oid) => `want ${oid}`),
    ...haves.map((oid) => `have ${oid}`),
    'done',
  ]);
  // Side bands and packets add less than a hundredth.
  const talk = await post(peer, body, Math.ceil(peer.limits.packBytes * 1.01) + HEAD_BYTES);
  try {
    const section = await talk.line();
    if (section === 'shallow-info') {
      throw new ForgeError('protocol', `${peer.name} is itself a shallow clone`, {
        remedy: 'name the repository it was cloned from',
      });
    }
    if (section !== 'packfile') throw talk.fault(`a section ${section?.slice(0, 100) ?? 'without a name'}`);
    yield* sideBand(talk, peer.name, request.onProgress ?? (() => {}));
    await talk.whole(async () => {});
  } finally {
    await talk.close();
  }
}
