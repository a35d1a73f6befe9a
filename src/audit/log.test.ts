import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exited, newHome, principal, run, started, state } from '../../test/fakes/audit-home.ts';
import { AuditUnavailableError } from '../base/errors.ts';
import { openCheckpoint, parseVerifierKey } from './checkpoint.ts';
import { crossing } from './crossing.ts';
import { type Disk, realDisk } from './disk.ts';
import { type NewEvent, openAuditLog, type Ticket } from './log.ts';
import { readEvents, tailEvents } from './read.ts';
import { verifyAudit } from './verify.ts';

const at = (ms: number) => ({ now: () => ms, monotonic: () => performance.now() });

describe('appending', () => {
  test('numbers from 0, stores exactly what was given, in order', async () => {
    const home = newHome();
    const log = await openAuditLog({ ...home, clock: at(1_700_000_000_123) });
    expect(log.checkpoint()).toBeNull();
    const seqs = await Promise.all([log.append(state('a')), log.append(state('b')), log.append(state('c', null))]);
    expect(seqs.map(({ seq }) => seq)).toEqual([0, 1, 2]);
    const stored = [...readEvents(home.dir)];
    expect(stored[0]?.record.toString()).toBe(
      `{"seq":0,"time":"2023-11-14T22:13:20.123Z","type":"run.state","run":"${run}","principal":{"id":"user:alice","kind":"user"},` +
        '"action":null,"resource":{"from":null,"to":"a"},"cause":null}',
    );
    expect(openCheckpoint(log.checkpoint() as string, parseVerifierKey(log.vkey)).size).toBe(3);
    await log.close();
    await expect(log.append(state('d'))).rejects.toThrow(AuditUnavailableError);
  });

  test('goes on where it ended, at once after opening', async () => {
    const home = newHome();
    for (let round = 0; round < 5; round++) {
      const log = await openAuditLog(home);
      for (let i = 0; i < 60; i++) await log.append(state(`${round}.${i}`));
      await log.close();
    }
    expect([...readEvents(home.dir)].map(({ seq }) => seq)).toEqual(Array.from({ length: 300 }, (_, i) => i));
    expect(await verifyAudit(home.dir, { vkey: readFileSync(join(home.keys, 'audit.vkey'), 'utf8') })).toMatchObject({
      ok: true,
      size: 300,
      records: 300,
    });
  });

  test('an event may name as its cause one that was only enqueued', async () => {
    const home = newHome();
    const log = await openAuditLog(home);
    await log.append(state('before'));
    const tickets: Ticket[] = [];
    for (let id = 0; id < 3; id++) tickets.push(log.enqueue(started(id)));
    for (const [id, ticket] of tickets.entries()) log.enqueue(exited(id, ticket));
    await log.flush();
    expect([...readEvents(home.dir, { types: ['command.exited'] })].map(({ event }) => event.cause)).toEqual([1, 2, 3]);
    await log.close();
  });

  test('enqueueing more than the queue holds asks the caller to wait', async () => {
    const log = await openAuditLog(newHome());
    const big = state('x'.repeat(60_000));
    const tickets = Array.from({ length: 200 }, () => log.enqueue(big));
    let free = false;
    void tickets.at(-1)?.room.then(() => {
      free = true;
    });
    await tickets[0]?.room;
    expect(free).toBe(false);
    await tickets.at(-1)?.room;
    await log.close();
  });

  test('a wrong or oversized event is refused by itself; flush says so when nobody looked', async () => {
    const log = await openAuditLog(newHome());
    await expect(log.append(state('x'.repeat(70_000)))).rejects.toThrow(/more than the 65535 of a record/);
    await expect(log.append({ ...state('x'), type: 'no.such' } as unknown as NewEvent)).rejects.toMatchObject({
      code: 'internal',
    });
    await expect(log.append({ ...state('x'), secret: 'y' } as unknown as NewEvent)).rejects.toMatchObject({
      code: 'internal',
    });
    await expect(log.append({ ...state('x'), run: '../..' })).rejects.toMatchObject({ code: 'internal' });
    await log.flush();
    const refused = log.enqueue(state('x'.repeat(70_000)));
    const dependent = log.enqueue(exited(1, refused));
    await expect(dependent.durable).rejects.toThrow(/not recorded before/);
    await expect(log.flush()).rejects.toThrow(/more than the 65535/);
    expect(await log.append(state('still here'))).toEqual({ seq: 0 });
    await log.close();
  });

  test('changing the event afterwards changes nothing', async () => {
    const home = newHome();
    const log = await openAuditLog(home);
    const event = { ...started(1), resource: { ...started(1).resource, argv: ['true'] } } as NewEvent & {
      resource: { argv: string[] };
    };
    const done = log.append(event);
    event.resource.argv.push('--changed');
    await done;
    await log.close();
    expect([...readEvents(home.dir)][0]?.event.resource).toMatchObject({ argv: ['true'] });
  });
});

describe('crossing', () => {
  const intent: NewEvent = {
    type: 'content.delete',
    run: null,
    principal,
    action: null,
    resource: { run, reason: 'r' },
  };
  const outcome = (result: { ok: boolean }): NewEvent => ({
    type: 'content.deleted',
    run: null,
    principal,
    action: null,
    resource: { run },
    outcome: { result: result.ok ? 'done' : 'failed', reason: null },
  });

  test('records before and after, also when the act throws', async () => {
    const home = newHome();
    const log = await openAuditLog(home);
    const seen = await crossing(log, intent, async (seq) => [seq, [...readEvents(home.dir)].length], outcome);
    expect(seen).toEqual([0, 1]);
    await expect(crossing(log, intent, () => Promise.reject(new Error('no')), outcome)).rejects.toThrow('no');
    await log.close();
    const events = [...readEvents(home.dir)].map(({ event }) => [
      event.type,
      event.cause,
      event.outcome && 'result' in event.outcome && event.outcome.result,
    ]);
    expect(events[1]).toEqual(['content.deleted', 0, 'done']);
    expect(events[3]).toEqual(['content.deleted', 2, 'failed']);
  });

  test('does not act when the intent cannot be recorded', async () => {
    const home = newHome();
    const log = await openAuditLog(home);
    await log.append(state('a'));
    rmSync(join(home.dir, 'journal'), { recursive: true });
    let acted = false;
    const act = async () => {
      acted = true;
    };
    await expect(crossing(log, intent, act, outcome)).rejects.toThrow(AuditUnavailableError);
    expect(acted).toBe(false);
    await expect(log.close()).rejects.toThrow(AuditUnavailableError);
  });
});

describe('the files under an open log', () => {
  const segment = (dir: string) => join(dir, 'journal', readdirSync(join(dir, 'journal'))[0] as string);
  const harm: Record<string, (dir: string) => void> = {
    'deleted journal': (dir) => rmSync(segment(dir)),
    'replaced journal': (dir) => {
      const bytes = readFileSync(segment(dir));
      rmSync(segment(dir));
      writeFileSync(join(dir, 'journal', '0000000000000000'), bytes, { mode: 0o600 });
    },
    'cut journal': (dir) => truncateSync(segment(dir), 10),
    'moved folder': (dir) => renameSync(dir, `${dir}.away`),
    'replaced lock': (dir) => {
      rmSync(join(dir, 'lock'));
      writeFileSync(join(dir, 'lock'), '');
    },
  };
  test.each(Object.keys(harm))('%s: every later append fails', async (name) => {
    const home = newHome();
    const log = await openAuditLog(home);
    await log.append(state('a'));
    harm[name]?.(home.dir);
    await expect(log.append(state('b'))).rejects.toThrow(AuditUnavailableError);
    await expect(log.append(state('c'))).rejects.toThrow(AuditUnavailableError);
    await expect(log.close()).rejects.toThrow(AuditUnavailableError);
  });
});

function replaceByLink(folder: string, name: string): void {
  renameSync(join(folder, name), join(folder, 'elsewhere'));
  symlinkSync('elsewhere', join(folder, name));
}

test('a full disk stops the log at once and for good; what was acknowledged is there when it is opened again', async () => {
  const home = newHome();
  let full = false;
  const disk: Disk = {
    ...realDisk,
    create: async (path, replace) => {
      const file = await realDisk.create(path, replace);
      return {
        fd: file.fd,
        // Half of it fits, as on a disk that fills up in the middle of a write.
        write: async (bytes, position) => {
          await file.write(full ? bytes.subarray(0, bytes.length >> 1) : bytes, position);
          if (full) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        },
        truncate: (length) => file.truncate(length),
        datasync: () => file.datasync(),
        close: () => file.close(),
      };
    },
  };
  const log = await openAuditLog({ ...home, disk });
  await log.append(state('fits'));
  full = true;
  await expect(log.append(state('does not'))).rejects.toMatchObject({
    code: 'audit_unavailable',
    remedy: expect.stringContaining('make room'),
  });
  full = false;
  await expect(log.append(state('too late'))).rejects.toThrow(AuditUnavailableError);
  await log.close().catch(() => {});
  const again = await openAuditLog(home);
  await again.append(state('again'));
  await again.close();
  expect([...readEvents(home.dir)].map(({ event }) => (event.resource as { to: string }).to)).toEqual([
    'fits',
    'again',
  ]);
  expect(await verifyAudit(home.dir, { vkey: log.vkey })).toMatchObject({ ok: true, records: 2 });
});

describe('opening refuses', () => {
  async function filled() {
    const home = newHome();
    const log = await openAuditLog(home);
    for (let i = 0; i < 300; i++) log.enqueue(state(String(i)));
    await log.close();
    return home;
  }
  const refused = (home: { dir: string; keys: string }) => expect(openAuditLog(home)).rejects;

  test.each([
    ['a log folder that others can write', (h: { dir: string; keys: string }) => chmodSync(h.dir, 0o777)],
    ['a keys folder that others can write', (h) => chmodSync(h.keys, 0o770)],
    ['a key that others can read', (h) => chmodSync(join(h.keys, 'audit.key'), 0o644)],
    ['a key that is a link', (h) => replaceByLink(h.keys, 'audit.key')],
    ['a key that is damaged', (h) => writeFileSync(join(h.keys, 'audit.key'), 'PRIVATE+KEY+x')],
    ['a new key on an old log', (h) => rmSync(h.keys, { recursive: true })],
    ['a deleted journal', (h) => rmSync(join(h.dir, 'journal'), { recursive: true })],
    ['a changed tile', (h) => writeFileSync(join(h.dir, 'tile/0/001.p/44'), Buffer.alloc(44 * 32))],
    ['a missing tile', (h) => rmSync(join(h.dir, 'tile/1'), { recursive: true })],
    ['a changed checkpoint', (h) => writeFileSync(join(h.dir, 'checkpoint'), 'x\n1\n\n')],
    ['a journal folder that is a link', (h) => replaceByLink(h.dir, 'journal')],
  ] as [string, (home: { dir: string; keys: string }) => void][])('%s', async (_, harm) => {
    const home = await filled();
    harm(home);
    await refused(home).toMatchObject({
      code: expect.stringMatching(/^audit_(unavailable|invalid)$/),
      remedy: expect.any(String),
    });
  });

  test('a folder that cannot be made', async () => {
    const home = newHome();
    writeFileSync(home.dir, 'a file');
    await refused(home).toThrow(AuditUnavailableError);
  });
});

test('two that begin a log at once share one key and one log', async () => {
  const home = newHome();
  const logs = await Promise.all(Array.from({ length: 4 }, () => openAuditLog(home)));
  expect(new Set(logs.map(({ vkey }) => vkey)).size).toBe(1);
  await Promise.all(logs.flatMap((log) => Array.from({ length: 50 }, (_, i) => log.append(state(String(i))))));
  await Promise.all(logs.map((log) => log.close()));
  expect(await verifyAudit(home.dir, { vkey: logs[0]?.vkey as string })).toMatchObject({ ok: true, size: 200 });
  expect(statSync(join(home.keys, 'audit.key')).mode & 0o777).toBe(0o600);
});

test('tail shows what others append, across tiles and journal', async () => {
  const home = newHome();
  const [reader, writer] = [new AbortController(), await openAuditLog(home)];
  await writer.append(state('0'));
  const seen: string[] = [];
  const tail = (async () => {
    for await (const { event } of tailEvents(home.dir, { from: 0, types: ['run.state'] }, reader.signal)) {
      seen.push((event.resource as { to: string }).to);
      if (seen.length === 3) reader.abort();
    }
  })();
  await writer.append(started(1));
  await writer.append(state('1'));
  await writer.publish();
  await writer.append(state('2'));
  await tail;
  expect(seen).toEqual(['0', '1', '2']);
  await writer.close();
});
