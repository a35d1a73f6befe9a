import { isOid } from '../../base/git.ts';
import { PacketError, type PacketReader } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
import { canonicalRef } from '../../policy/git-refs.ts';

/**
 * The head of a push (gitprotocol-pack(5), "Reference Update Request and Packfile Transfer"):
 *
 *     update-requests = *shallow ( command-list | push-cert )
 *     command-list    = PKT(old SP new SP name NUL capabilities) *PKT(old SP new SP name) flush
 *
 * It is parsed here in full, and no git process ever sees it: what was understood is what is decided upon and done.
 */
export interface RefCommand {
  readonly ref: string;
  readonly kind: 'create' | 'update' | 'delete';
  readonly old: string;
  readonly new: string;
}

export interface PushHead {
  readonly commands: readonly RefCommand[];
  /** Commits that the pusher says it has no parents of. */
  readonly shallow: readonly string[];
  readonly capabilities: ReadonlySet<string>;
}

export const commandLimits = { bytes: 256 * 1024, commands: 64 };

/** What is offered. Else a client may name what it likes, except what changes the meaning of the request. */
export const capabilities: ReadonlySet<string> = new Set([
  'report-status',
  'report-status-v2',
  'side-band-64k',
  'atomic',
  'ofs-delta',
  'quiet',
  'delete-refs',
]);
const REFUSED = ['push-cert', 'push-options'];

/** Null for the empty request that git sends to try the connection. Throws `PacketError` saying what is wrong. */
export async function readPushHead(reader: PacketReader, objectFormat: 'sha1' | 'sha256'): Promise<PushHead | null> {
  const commands: RefCommand[] = [];
  const shallow: string[] = [];
  let asked = new Set<string>();
  for (;;) {
    const next = await reader.next();
    if (next === null) throw new PacketError('the request ends before its commands do');
    if (next.kind === 'flush') break;
    if (next.kind !== 'data') throw new PacketError(`a ${next.kind} packet among commands`);
    const line = next.data.toString('latin1');
    if (commands.length === 0 && line.startsWith('shallow ')) {
      shallow.push(oid(line.slice(8).replace(/\n$/, ''), objectFormat));
      continue;
    }
    const [command = '', rest] = splitOnce(line, '\0');
    if (commands.length === 0) asked = readCapabilities(rest ?? '', objectFormat);
    else if (rest !== undefined) throw new PacketError('capabilities behind the first command');
    commands.push(readCommand(Buffer.from(command, 'latin1'), objectFormat));
    if (commands.length > commandLimits.commands)
      throw new PacketError(`more than ${commandLimits.commands} refs at once`);
  }
  if (commands.length === 0) {
    if (shallow.length > 0) throw new PacketError('a push without a command');
    return null;
  }
  if (new Set(commands.map((command) => command.ref)).size !== commands.length)
    throw new PacketError('a ref named twice');
  return { commands, shallow, capabilities: asked };
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function oid(text: string, objectFormat: 'sha1' | 'sha256'): string {
  if (!isOid(text) || text.length !== (objectFormat === 'sha1' ? 40 : 64))
    throw new PacketError('not an object id of this repository');
  return text;
}

function readCapabilities(text: string, objectFormat: 'sha1' | 'sha256'): Set<string> {
  const names = new Set<string>();
  for (const word of text.replace(/\n$/, '').split(' ')) {
    if (REFUSED.some((name) => word === name || word.startsWith(`${name}=`)))
      throw new PacketError(`${safeText(word)} is not offered here`);
    if (word.startsWith('object-format=') && word !== `object-format=${objectFormat}`)
      throw new PacketError(`this repository uses ${objectFormat}`);
    if (capabilities.has(word)) names.add(word);
  }
  return names;
}

function readCommand(bytes: Buffer, objectFormat: 'sha1' | 'sha256'): RefCommand {
  const line = bytes.toString('utf8').replace(/\n$/, '');
  const match = /^([0-9a-f]+) ([0-9a-f]+) ([^ ]+)$/.exec(line);
  if (match === null) throw new PacketError('a command is not "old new ref"');
  const [from, to, ref] = [
    oid(match[1] as string, objectFormat),
    oid(match[2] as string, objectFormat),
    match[3] as string,
  ];
  const canonical = canonicalRef(ref);
  if (!canonical.ok) throw new PacketError(canonical.message);
  const none = /^0+$/;
  // From nothing to nothing is what git sends to delete a ref that is not there.
  return { ref, old: from, new: to, kind: none.test(to) ? 'delete' : none.test(from) ? 'create' : 'update' };
}
