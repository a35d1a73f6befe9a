import { CordonError, LimitError } from '../../base/errors.ts';
import { git, gitFailure, isOid } from '../../base/git.ts';
import type { ObjectInfo, ObjectReader } from '../../base/git-objects.ts';
import { formatSize } from '../../base/size.ts';
import type { PushRequest } from './checks.ts';
import type { PushLimits } from './push-limits.ts';

/** Ids, types and sizes of what is reachable from the head and not from the base. Throws `LimitError`. */
export async function newObjects(
  request: PushRequest,
  limits: PushLimits,
  reader: ObjectReader,
): Promise<readonly ObjectInfo[]> {
  const { quarantine, head } = request;
  const args = ['rev-list', '--objects', '--no-object-names', head, '--not', quarantine.base];
  const listing = await git(quarantine.place, args, {
    timeout: limits.time,
    maxOutput: (limits.objects + 1) * 65,
  }).catch((cause: unknown) => {
    if (!(cause instanceof CordonError)) throw cause;
    throw new LimitError(
      'push',
      `more than ${limits.objects} objects, or takes longer than ${limits.time} ms to list`,
      { cause },
    );
  });
  if (listing.exitCode !== 0) {
    throw new LimitError('push', 'objects that are missing or malformed', {
      cause: gitFailure(quarantine.place, args, listing),
    });
  }
  const oids = listing.stdout.toString('latin1').split('\n').filter(isOid);
  if (oids.length > limits.objects) throw new LimitError('push', `more than ${limits.objects} objects`);
  const infos = await Promise.all(oids.map((oid) => reader.info(oid)));
  const objects = infos.filter((info) => info !== null);
  const total = objects.reduce((sum, object) => sum + object.size, 0);
  const largest = objects.find(
    (object) =>
      object.size > (object.type === 'blob' ? limits.fileBytes : Math.max(limits.treeBytes, limits.commitBytes)),
  );
  if (objects.length < oids.length) throw new LimitError('push', 'objects that are missing');
  if (total > limits.bytes)
    throw new LimitError('push', `${formatSize(total)} of objects; at most ${formatSize(limits.bytes)} are taken`);
  if (largest !== undefined) throw new LimitError('push', `one ${largest.type} of ${formatSize(largest.size)}`);
  return objects;
}
