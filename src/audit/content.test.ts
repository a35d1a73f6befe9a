import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { newHome, principal, run } from '../../test/fakes/audit-home.ts';
import { AuditInvalidError, LimitError, NotFoundError } from '../base/errors.ts';
import { openContentStore } from './content.ts';
import { CHUNK_BYTES, SALT_BYTES } from './content-format.ts';
import { openAuditLog } from './log.ts';
import { deleteRunContent } from './retention.ts';
import { verifyAudit } from './verify.ts';

const other = 'fedcba9876543210';
const options = { mediaType: 'text/plain', maxBytes: 10 * CHUNK_BYTES };

function newStore() {
  const home = newHome();
  const dir = join(home.dir, 'content');
  return { ...home, content: dir, store: openContentStore({ dir, keys: home.keys }) };
}

test('comes back, whatever its length and pieces, and lies there encrypted', async () => {
  const { store, content } = newStore();
  const edges = [
    0,
    1,
    CHUNK_BYTES - SALT_BYTES - 1,
    CHUNK_BYTES - SALT_BYTES,
    CHUNK_BYTES - SALT_BYTES + 1,
    3 * CHUNK_BYTES,
  ];
  for (const length of edges) {
    const data = Buffer.alloc(length, 'a secret word ');
    const pieces = [data.subarray(0, length >> 1), data.subarray(length >> 1)];
    const ref = await store.put(run, pieces, options);
    expect(ref).toMatchObject({ bytes: length, mediaType: 'text/plain' });
    expect(await store.readAll(run, ref, length)).toEqual(data);
    expect(readFileSync(join(content, run, ref.id)).includes('secret')).toBe(false);
  }
});

test('the same content has another digest every time', async () => {
  const { store } = newStore();
  const [a, b] = [
    await store.put(run, Buffer.from('1234'), options),
    await store.put(run, Buffer.from('1234'), options),
  ];
  expect(a.digest).not.toBe(b.digest);
});

test('any changed or missing byte is found', async () => {
  const { store, content } = newStore();
  const data = Buffer.alloc(CHUNK_BYTES + 100, 'x');
  const ref = await store.put(run, data, options);
  const path = join(content, run, ref.id);
  const sealed = readFileSync(path);
  await fc.assert(
    fc.asyncProperty(fc.nat(sealed.length - 1), fc.nat(7), async (at, bit) => {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] as number) ^ (1 << bit);
      writeFileSync(path, changed);
      await expect(store.readAll(run, ref, data.length)).rejects.toThrow(AuditInvalidError);
    }),
    { numRuns: 30 },
  );
  writeFileSync(path, sealed);
  truncateSync(path, 4 + 32 + CHUNK_BYTES + 16); // exactly at the end of a chunk
  await expect(store.readAll(run, ref, data.length)).rejects.toThrow(AuditInvalidError);
  writeFileSync(path, sealed);
  await expect(
    store.readAll(run, { ...ref, digest: ref.digest.replace(/.$/, (c) => (c === '0' ? '1' : '0')) }, data.length),
  ).rejects.toThrow(AuditInvalidError);
  expect(await store.readAll(run, ref, data.length)).toEqual(data);
});

test('content of one run is not taken for that of another', async () => {
  const { store, content } = newStore();
  const [mine, theirs] = [
    await store.put(run, Buffer.from('mine'), options),
    await store.put(other, Buffer.from('theirs'), options),
  ];
  writeFileSync(join(content, other, theirs.id), readFileSync(join(content, run, mine.id)));
  await expect(store.readAll(other, theirs, 100)).rejects.toThrow(AuditInvalidError);
  await expect(store.readAll('../../etc', mine, 100)).rejects.toThrow(NotFoundError);
  await expect(store.readAll(run, { ...mine, id: '../../../keys' }, 100)).rejects.toThrow(NotFoundError);
});

test('a source that is too long, or fails, leaves nothing', async () => {
  const { store, content } = newStore();
  await expect(store.put(run, Buffer.alloc(11), { ...options, maxBytes: 10 })).rejects.toThrow(LimitError);
  async function* failing() {
    yield Buffer.from('begin');
    throw new Error('the source broke');
  }
  await expect(store.put(run, failing(), options)).rejects.toThrow(/the source broke/);
  expect(readdirSync(join(content, run))).toEqual([]);
});

test('deleting a run is recorded, takes key and files, and the log still verifies', async () => {
  const { dir, keys, content, store } = newStore();
  const log = await openAuditLog({ dir, keys });
  const ref = await store.put(run, Buffer.from('the output'), options);
  const kept = await store.put(other, Buffer.from('another'), options);
  await log.append({
    type: 'output.kept',
    run,
    principal,
    action: null,
    resource: { stream: 'both', bytes: 10, cut: false },
    content: ref,
  });
  await deleteRunContent(log, store, { run, principal, reason: 'retention of 180 days' });
  await deleteRunContent(log, store, { run, principal, reason: 'again' });
  await log.close();
  expect(readdirSync(content)).toEqual([other]);
  expect(readdirSync(join(keys, 'content'))).toEqual([`${other}.key`]);
  await expect(store.readAll(run, ref, 100)).rejects.toThrow(NotFoundError);
  expect(await store.readAll(other, kept, 100)).toEqual(Buffer.from('another'));
  const report = await verifyAudit(dir, { vkey: log.vkey });
  expect(report).toMatchObject({ ok: true, records: 5, openIntents: [] });
});

test('keys are readable by their owner only, and lie outside the log', async () => {
  const { store, keys, dir } = newStore();
  await store.put(run, Buffer.from('x'), options);
  const path = join(keys, 'content', `${run}.key`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(dirname(path).startsWith(dir)).toBe(false);
  rmSync(path);
  writeFileSync(path, Buffer.alloc(32), { mode: 0o644 });
  await expect(store.put(run, Buffer.from('x'), options)).rejects.toThrow(/mode 644/);
});
