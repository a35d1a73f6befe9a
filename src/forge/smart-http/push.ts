import { flushPacket, packet } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
import { ForgeError, type PushRequest, type RefUpdate } from '../forge.ts';
import { AGENT, Conversation, sideBand } from './conversation.ts';
import type { Peer } from './fetch.ts';

/**
 * Pushing by protocol 0 (gitprotocol-pack(5)), all updates or none (`atomic`). Each command names what its ref must be at, and the
 * forge compares and sets: that is the lease.
 *
 *     GET  info/refs?service=git-receive-pack     refs and capabilities
 *     POST git-receive-pack                       commands, flush, pack → report-status
 */
const REPORT_BYTES = 1024 * 1024;
const SAID = 2000;

export async function push(peer: Peer, request: PushRequest): Promise<void> {
  const { updates, objectFormat } = request;
  const offered = await readOffer(peer, updates);
  const wanted = ['report-status', 'side-band-64k', 'ofs-delta', 'quiet'].filter((name) => offered.has(name));
  if (!offered.has('report-status')) throw fault(peer, 'does not report what becomes of a push');
  if (updates.length > 1 && !offered.has('atomic')) throw fault(peer, 'does not take several refs as a whole');
  if (offered.has('atomic')) wanted.push('atomic');
  if ((offered.get('object-format') ?? 'sha1') !== objectFormat) throw fault(peer, `does not take ${objectFormat}`);
  if (offered.has('object-format')) wanted.push(`object-format=${objectFormat}`);
  const zero = '0'.repeat(objectFormat === 'sha1' ? 40 : 64);
  const capabilities = ` ${[...wanted, AGENT].join(' ')}`;
  const head = updates.map(({ from, to, ref }, i) =>
    packet(`${from ?? zero} ${to} ${ref}${i === 0 ? `\0${capabilities}` : ''}`),
  );
  const answer = await peer.transport.call({
    method: 'POST',
    path: '/git-receive-pack',
    accept: 'application/x-git-receive-pack-result',
    headers: { 'Content-Type': 'application/x-git-receive-pack-request' },
    body: bodyOf(Buffer.concat([...head, flushPacket]), request.pack),
    maxBytes: REPORT_BYTES,
    credential: peer.credential,
  });
  await readReport(peer, answer, updates, offered.has('side-band-64k'));
}

async function* bodyOf(head: Buffer, pack: PushRequest['pack']): AsyncGenerator<Buffer> {
  yield head;
  yield* pack();
}

/** What the other side can do; refuses, before anything is sent, what it would refuse anyway. */
async function readOffer(peer: Peer, updates: readonly RefUpdate[]): Promise<ReadonlyMap<string, string>> {
  const talk = new Conversation(
    peer.name,
    await peer.transport.call({
      method: 'GET',
      path: '/info/refs?service=git-receive-pack',
      accept: 'application/x-git-receive-pack-advertisement',
      maxBytes: peer.limits.refBytes,
      credential: peer.credential,
    }),
  );
  const { offered, now } = await talk.whole(() => readAdvertisement(talk));
  for (const { ref, from } of updates) {
    if ((now.get(ref) ?? null) !== from) throw taken(peer, ref, from);
  }
  return offered;
}

async function readAdvertisement(talk: Conversation) {
  if ((await talk.line()) === '# service=git-receive-pack') await talk.next();
  else throw talk.fault('no service');
  const offered = new Map<string, string>();
  const now = new Map<string, string>();
  for (let line = await talk.line(); line !== null; line = await talk.line()) {
    const [ref = '', capabilities] = line.split('\0');
    for (const word of (capabilities ?? '').split(' ').filter((word) => word !== '')) {
      const [key = '', value = ''] = word.split(/=(.*)/s);
      offered.set(key, value);
    }
    const [oid = '', name = ''] = ref.split(' ');
    now.set(name, oid);
  }
  return { offered, now };
}

function taken(peer: Peer, ref: string, from: string | null): ForgeError {
  const what = ref.replace(/^refs\/heads\//, 'branch ');
  return new ForgeError(
    'taken',
    from === null ? `${what} exists already in ${peer.name}` : `${what} of ${peer.name} was moved meanwhile`,
    { remedy: 'name another branch with --branch NAME, or remove it there' },
  );
}

async function readReport(
  peer: Peer,
  answer: AsyncGenerator<Buffer>,
  updates: readonly RefUpdate[],
  banded: boolean,
): Promise<void> {
  let said = '';
  const outer = new Conversation(peer.name, answer, REPORT_BYTES);
  const inner = banded
    ? new Conversation(
        peer.name,
        sideBand(outer, peer.name, (text) => (said = `${said}${text}`.slice(0, SAID))),
      )
    : outer;
  const lines: string[] = [];
  await outer.whole(async () => {
    for (let line = await inner.line(); line !== null; line = await inner.line()) lines.push(line);
    // What it tells people may come after the report.
    if (banded) while ((await inner.next()) !== null);
  });
  const remark = said.trim() === '' ? '' : `; it says: ${safeText(said.trim().replace(/\s*\n\s*/g, ' · '))}`;
  const [unpack, ...results] = lines;
  if (unpack === undefined) {
    throw new ForgeError('protocol', `${peer.name} did not say what became of the push${remark}`, {
      unsure: true,
      transient: true,
    });
  }
  if (unpack !== 'unpack ok')
    throw new ForgeError(
      'rejected',
      `${peer.name} did not take the objects: ${safeText(unpack.slice(7, 300))}${remark}`,
    );
  for (const { ref, from } of updates) {
    if (results.includes(`ok ${ref}`)) continue;
    const no = results.find((line) => line.startsWith(`ng ${ref} `))?.slice(ref.length + 4) ?? 'no reason given';
    if (/already exists|fetch first|non-fast-forward|failed to update ref|reference already/.test(no))
      throw taken(peer, ref, from);
    throw new ForgeError('rejected', `${peer.name} refuses ${ref}: ${safeText(no.slice(0, 300))}${remark}`, {
      remedy: 'see the rules for branches of that repository, or deliver elsewhere: --branch NAME, --deliver patch',
    });
  }
}

function fault(peer: Peer, why: string): ForgeError {
  return new ForgeError('protocol', `${peer.name} ${why}`, { remedy: 'deliver with --deliver patch' });
}
