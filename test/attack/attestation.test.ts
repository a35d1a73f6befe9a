/** Proofs that were forged, bent, moved or dug out again: each breaks, and at the link that it should. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { type Bundle, encodeBundle } from '../../src/attest/bundle.ts';
import { signEnvelope } from '../../src/attest/envelope.ts';
import { MERGE, type Statement } from '../../src/attest/statement.ts';
import { parseTrust } from '../../src/attest/trust.ts';
import { signCheckpoint, signerFromSeed } from '../../src/audit/checkpoint.ts';
import { leafHash } from '../../src/audit/merkle.ts';
import {
  AttestationScene,
  type Bent,
  DIGEST,
  LOGGED,
  MemoryLog,
  minutes,
  newAttestor,
  REF,
  REPOSITORY,
} from '../fakes/attestation-scene.ts';

const scene = new AttestationScene();
afterAll(() => scene.dispose());
const other = `sha256:${'b'.repeat(64)}`;
const text = (bundle: Bundle) => encodeBundle(bundle).toString();
const bytes = (value: string) => Buffer.from(value);

describe('the honest proof', () => {
  test('holds, for each of its commits, and against everything that is expected', async () => {
    const commits = scene.commits.map(({ commit }) => commit);
    const expected = {
      commits,
      repository: REPOSITORY,
      ref: REF,
      policies: [DIGEST],
      deliveringAt: Date.parse(minutes(30)),
      content: true,
    };
    const verdicts = await scene.verify(await scene.bundle(), expected);
    expect(verdicts.map(({ broken }) => broken)).toEqual([null, null, null]);
    expect(verdicts[0]?.held.length).toBeGreaterThan(6);
  });

  test('holds with approvals, where the policy asked', async () => {
    const decision = { seq: 1, effect: 'ask', rules: [], subjectDigest: DIGEST, required: 2 } as const;
    const approvals = ['user:bo', 'user:cy'].map((by, i) => ({ seq: 2 + i, by, subjectDigest: DIGEST, at: LOGGED }));
    const honest = await scene.bundle({
      predicate: { decision, approvals },
      record: (record) => ({ ...record, cause: 1 }),
    });
    expect(await scene.broken(honest)).toBeNull();
  });

  test('holds when its refs are all there is, and long after it ran out', async () => {
    scene.place(encodeBundle(await scene.bundle()));
    expect(await scene.broken(null)).toBeNull();
    expect(await scene.broken(null, { commits: [scene.commits[1]?.commit ?? ''] })).toBeNull();
    scene.user.git('update-ref', '-d', `refs/attestations/cordon/${scene.head}`);
    expect(await scene.broken(null)).toBe('found');
  });
});

describe('bytes that were changed', () => {
  const cases: Record<string, readonly [(bundle: Bundle) => string | Bundle, string]> = {
    'nothing in them': [() => '', 'bundle'],
    'no JSON': [(b) => text(b).slice(0, -3), 'bundle'],
    'white space': [(b) => `${JSON.stringify(JSON.parse(text(b)), null, 1)}\n`, 'bundle'],
    'no newline at the end': [(b) => text(b).trimEnd(), 'bundle'],
    'a key twice': [(b) => text(b).replace('{"envelope":', '{"of":null,"envelope":'), 'bundle'],
    'an unknown key': [(b) => text(b).replace(',"of":null', ',"of":null,"seal":1'), 'bundle'],
    'an unknown key in the envelope': [(b) => text(b).replace('"payloadType"', '"a":1,"payloadType"'), 'bundle'],
    'keys in another order': [(b) => `${JSON.stringify({ of: null, ...JSON.parse(text(b)) })}\n`, 'bundle'],
    'another payload type': [(b) => text(b).replace('in-toto+json', 'in-toto+xml'), 'bundle'],
    'two signatures': [
      (b) => ({ ...b, envelope: { ...b.envelope, signatures: [...b.envelope.signatures, ...b.envelope.signatures] } }),
      'bundle',
    ],
    'no signature': [(b) => ({ ...b, envelope: { ...b.envelope, signatures: [] } }), 'attestor'],
    'base64 in another spelling': [
      (b) => text(b).replace(/"sig":"([^"]*)=="/, (_, sig: string) => `"sig":"${sig}"`),
      'bundle',
    ],
    'a payload that begins with a byte more': [
      (b) => ({
        ...b,
        envelope: {
          ...b.envelope,
          payload: Buffer.concat([Buffer.from(' '), Buffer.from(b.envelope.payload, 'base64')]).toString('base64'),
        },
      }),
      'attestor',
    ],
    'a bit of the signature': [
      (b) => ({
        ...b,
        envelope: { ...b.envelope, signatures: b.envelope.signatures.map((s) => ({ ...s, sig: flipped(s.sig) })) },
      }),
      'attestor',
    ],
    'a record that says it is younger': [
      (b) => ({ ...b, log: { ...b.log, record: b.log.record.replace(LOGGED, minutes(-30)) } }),
      'inclusion',
    ],
    'a bit of the inclusion proof': [
      (b) => ({ ...b, log: { ...b.log, proof: b.log.proof.map((hash, i) => (i === 0 ? flipped(hash) : hash)) } }),
      'inclusion',
    ],
    'a shorter inclusion proof': [(b) => ({ ...b, log: { ...b.log, proof: b.log.proof.slice(1) } }), 'inclusion'],
    'the place in the log': [(b) => ({ ...b, log: { ...b.log, seq: b.log.seq - 1 } }), 'inclusion'],
    'the size in the checkpoint': [
      (b) => ({
        ...b,
        log: { ...b.log, checkpoint: b.log.checkpoint.replace(/\n(\d+)\n/, (_, n: string) => `\n${Number(n) + 1}\n`) },
      }),
      'checkpoint',
    ],
    'a bundle within the bundle': [(b) => ({ ...b, of: { ...b, of: null } }), 'bundle'],
    'a bundle within a bundle within the bundle': [(b) => ({ ...b, of: { ...b, of: { ...b, of: null } } }), 'bundle'],
  };
  test.each(Object.entries(cases))('%s', async (_, [bend, link]) => {
    const bent = bend(await scene.bundle());
    expect(await scene.broken(typeof bent === 'string' ? bytes(bent) : bent)).toBe(link);
  });
});

describe('proofs by somebody else', () => {
  test('signed by a key that nobody trusts', async () => {
    expect(await scene.broken(await scene.bundle({ attestor: newAttestor() }))).toBe('attestor');
  });

  test('signed by another key under the trusted key’s id', async () => {
    const forger = { ...newAttestor(), keyid: scene.attestor.keyid };
    expect(await scene.broken(await scene.bundle({ attestor: forger }))).toBe('attestor');
  });

  test('signed by a trusted key under another trusted key’s id', async () => {
    const second = newAttestor();
    const document = {
      ...scene.trust,
      attestors: [...scene.trust.attestors, { ...scene.trust.attestors[0], key: second.spki } as never],
    };
    const confused = await scene.bundle({ attestor: { keyid: second.keyid, privateKey: scene.attestor.privateKey } });
    expect(await scene.broken(confused, { document })).toBe('attestor');
  });

  test('in another log, also one that calls itself the same', async () => {
    const log = new MemoryLog();
    expect(await scene.broken(await scene.bundle({ log, predicate: { log: log.signer.name } }))).toBe('checkpoint');
    expect(await scene.broken(await scene.bundle({ log: new MemoryLog(scene.log.signer.name) }))).toBe('checkpoint');
  });

  test('in a log that is trusted, and not the one that the statement names', async () => {
    const log = new MemoryLog();
    const document = { ...scene.trust, logs: [...scene.trust.logs, { key: log.signer.vkey, pinned: null }] };
    expect(
      await scene.broken(await scene.bundle({ log, predicate: { log: log.signer.name } }), { document }),
    ).toBeNull();
    expect(await scene.broken(await scene.bundle({ log }), { document })).toBe('checkpoint');
  });

  test('the attestor’s key alone: no record, another’s record, another’s checkpoint', async () => {
    const [mine, theirs] = [await scene.bundle(), await scene.bundle({ predicate: { requester: 'user:mallory' } })];
    expect(await scene.broken({ ...theirs, log: mine.log })).toBe('record');
    expect(await scene.broken({ ...theirs, log: { ...theirs.log, checkpoint: mine.log.checkpoint } })).toBe(
      'inclusion',
    );
    const forger = signerFromSeed(scene.log.signer.name, Buffer.alloc(32, 7));
    const alone = { size: 1, root: leafHash(Buffer.from(theirs.log.record)) };
    expect(
      await scene.broken({
        ...theirs,
        log: { ...theirs.log, seq: 0, proof: [], checkpoint: signCheckpoint(alone, forger) },
      }),
    ).toBe('checkpoint');
  });

  test('the log’s key alone: a record of an envelope that nobody signed', async () => {
    const honest = await scene.bundle();
    const statement = Buffer.from(honest.envelope.payload, 'base64').toString().replace('user:ada', 'user:eve');
    const envelope = { ...honest.envelope, payload: Buffer.from(statement).toString('base64') };
    expect(await scene.broken({ ...honest, envelope })).toBe('attestor');
  });

  test('another statement, well signed, in place of the one that was logged', async () => {
    const honest = await scene.bundle();
    const statement = Buffer.from(
      Buffer.from(honest.envelope.payload, 'base64').toString().replace('user:ada', 'user:eve'),
    );
    const envelope = signEnvelope(statement, scene.attestor.keyid, scene.attestor.privateKey);
    expect(await scene.broken({ ...honest, envelope })).toBe('record');
  });
});

describe('records that say something else', () => {
  const cases: Record<string, readonly [Bent['record'], string]> = {
    'another type': [(record) => ({ ...record, type: 'run.created' }), 'record'],
    'another run': [(record) => ({ ...record, run: '01m7x776ffpyjb6y' }), 'record'],
    'another decision': [(record) => ({ ...record, cause: 2 }), 'record'],
    'another repository': [(record) => ({ ...record, resource: { ...record.resource, repository: 'x' } }), 'record'],
    'fewer commits': [(record) => ({ ...record, resource: { ...record.resource, commits: 2 } }), 'record'],
    'another place': [(record) => ({ ...record, seq: 1 }), 'record'],
    'an unknown key': [(record) => ({ ...record, note: 'x' }), 'record'],
    'a time that is none': [(record) => ({ ...record, time: '2026-02-30T12:00:00.000Z' }), 'record'],
    'after the permission ran out': [(record) => ({ ...record, time: minutes(61) }), 'expiry'],
    'before the key counted': [(record) => ({ ...record, time: minutes(-61) }), 'time'],
    'before it was issued': [(record) => ({ ...record, time: minutes(-6) }), 'time'],
  };
  test.each(Object.entries(cases))('%s', async (_, [record, link]) => {
    expect(await scene.broken(await scene.bundle({ record: record as NonNullable<Bent['record']> }))).toBe(link);
  });
});

describe('statements that do not fit', () => {
  const permit = {
    seq: 3,
    effect: 'permit',
    rules: ['policy.yaml:7 branches'],
    subjectDigest: DIGEST,
    required: 0,
  } as const;
  const ask = { ...permit, effect: 'ask', required: 1, seq: 3 } as const;
  const yes = { seq: 4, by: 'user:bo', subjectDigest: DIGEST, at: LOGGED };
  const cases: Record<string, readonly [Bent, string]> = {
    'no rule permitted it': [{ predicate: { decision: { ...permit, rules: [] } } }, 'permit'],
    'asked, and nobody said yes': [{ predicate: { decision: ask } }, 'permit'],
    'asked of nobody': [{ predicate: { decision: { ...ask, required: 0 } } }, 'permit'],
    'an approval of something else': [
      { predicate: { decision: ask, approvals: [{ ...yes, subjectDigest: other }] } },
      'permit',
    ],
    'one person twice for two': [{ predicate: { decision: { ...ask, required: 2 }, approvals: [yes, yes] } }, 'permit'],
    'an approval from before the question': [
      { predicate: { decision: ask, approvals: [{ ...yes, seq: 2 }] } },
      'permit',
    ],
    'an approval from after the push': [
      { predicate: { decision: ask, approvals: [{ ...yes, seq: 9_999 }] } },
      'permit',
    ],
    'a commit left out': [{ statement: (s) => ({ ...s, commits: s.commits.slice(1) }) as Statement }, 'range'],
    'a commit in the middle left out': [
      { statement: (s) => ({ ...s, commits: [s.commits[0], s.commits[2]] }) as Statement },
      'range',
    ],
    'a commit too many': [
      {
        statement: (s) =>
          ({ ...s, commits: [{ commit: scene.base, tree: scene.tree(scene.base) }, ...s.commits] }) as Statement,
      },
      'range',
    ],
    'another beginning': [{ predicate: { from: scene.user.git('rev-parse', `${scene.base}~1`) } }, 'range'],
    'a beginning that is not in the clone': [{ predicate: { from: '1'.repeat(40) } }, 'range'],
    'another tree of the beginning': [{ predicate: { fromTree: scene.tree(`${scene.base}~1`) } }, 'range'],
    'another tree of a commit': [
      {
        statement: (s) =>
          ({
            ...s,
            commits: s.commits.map((c, i) => (i === 1 ? { ...c, tree: scene.tree(scene.base) } : c)),
          }) as Statement,
      },
      'commit',
    ],
    'another digest of what changed': [
      { predicate: { diff: { digest: other, files: 3, paths: ['x.txt', 'y.txt', 'z.txt'] } } },
      'change',
    ],
    'a commit twice': [
      {
        payload: (p) => bytes(p.toString().replaceAll(scene.commits[0]?.commit ?? '', scene.commits[1]?.commit ?? '')),
      },
      'statement',
    ],
    'an end that is not the last commit': [{ predicate: { to: scene.commits[0]?.commit ?? '' } }, 'statement'],
    'white space in the signed text': [{ payload: (p) => bytes(p.toString().replace('{', '{ ')) }, 'statement'],
    'a key twice in the signed text': [
      { payload: (p) => bytes(p.toString().replace('"requester":', '"requester":"user:eve","requester":')) },
      'statement',
    ],
    'an unknown key in the signed text': [
      { payload: (p) => bytes(p.toString().replace('"run":', '"root":true,"run":')) },
      'statement',
    ],
    'bytes that are no text': [{ payload: (p) => Buffer.concat([p, Buffer.of(0xff)]) }, 'statement'],
    'another type of statement': [
      { payload: (p) => bytes(p.toString().replace('Statement/v1', 'Statement/v0')) },
      'statement',
    ],
    'another predicate': [{ payload: (p) => bytes(p.toString().replace('change/v1', 'change/v2')) }, 'statement'],
    'a number that is not exact': [
      { payload: (p) => bytes(p.toString().replace('"seq":3', '"seq":9007199254740993')) },
      'statement',
    ],
    'a branch that is none': [{ predicate: { ref: 'refs/tags/v1' } }, 'statement'],
  };
  test.each(Object.entries(cases))('%s', async (_, [bent, link]) => {
    expect(await scene.broken(await scene.bundle(bent))).toBe(link);
  });

  test('other names of what changed', async () => {
    const { diff } = (await scene.change()).predicate as unknown as {
      diff: { digest: string; files: number; paths: string[] };
    };
    const renamed = { ...diff, paths: ['x.txt', 'y.txt', 'harmless.md'] };
    expect(await scene.broken(await scene.bundle({ predicate: { diff: renamed } }))).toBe('change');
  });
});

describe('proofs used where they do not belong', () => {
  test('for another repository, branch or policy', async () => {
    const honest = await scene.bundle();
    expect(await scene.broken(honest, { repository: 'forge.example/acme/other' })).toBe('repository');
    expect(await scene.broken(honest, { ref: 'refs/heads/main' })).toBe('ref');
    expect(await scene.broken(honest, { policies: [other] })).toBe('policy');
    const policies = [
      { digest: DIGEST, from: minutes(-90), until: minutes(-1) },
      { digest: other, from: minutes(-1), until: null },
    ];
    expect(await scene.broken(honest, { document: { ...scene.trust, policies } })).toBe('policy');
    expect(
      await scene.broken(honest, {
        document: { ...scene.trust, policies: [{ ...policies[1], digest: DIGEST } as never] },
      }),
    ).toBeNull();
  });

  test('for a push that comes too late, or before its time', async () => {
    const honest = await scene.bundle();
    expect(await scene.broken(honest, { deliveringAt: Date.parse(minutes(61)) })).toBe('expiry');
    expect(await scene.broken(honest, { deliveringAt: Date.parse(minutes(-6)) })).toBe('expiry');
  });

  test('for another commit with the same tree, the same parents and another message', async () => {
    const twin = scene.user.git(
      'commit-tree',
      scene.tree(scene.head),
      '-p',
      `${scene.head}~1`,
      '-m',
      'not what was judged',
    );
    scene.place(encodeBundle(await scene.bundle()), twin);
    expect(await scene.broken(null, { commits: [twin] })).toBe('commit');
    expect(await scene.broken(await scene.bundle(), { commits: [twin] })).toBe('commit');
    expect(await scene.broken(await scene.bundle(), { commits: [scene.base] })).toBe('commit');
  });

  test('a trailer in the message proves nothing', async () => {
    const claimed = scene.user.git(
      'commit-tree',
      scene.tree(scene.head),
      '-p',
      scene.base,
      '-m',
      'x\n\nCordon-Run: 01m7x776ffpyjb6x',
    );
    expect(await scene.broken(null, { commits: [claimed] })).toBe('found');
  });

  test('a good proof is found beside a bad one', async () => {
    scene.place(bytes('rubbish'));
    expect(await scene.broken(null)).toBe('bundle');
    const oid = scene.user
      .bytes(['hash-object', '-w', '--stdin'], encodeBundle(await scene.bundle()))
      .toString()
      .trim();
    scene.user.git('update-ref', `refs/attestations/cordon/${scene.head}-01m7x776ffpyjb6x`, oid);
    expect(await scene.broken(null)).toBeNull();
    scene.user.git('update-ref', '-d', `refs/attestations/cordon/${scene.head}-01m7x776ffpyjb6x`);
  });
});

describe('keys that do not count any more', () => {
  const withAttestor = (change: object) => ({
    ...scene.trust,
    attestors: scene.trust.attestors.map((one) => ({ ...one, ...change })),
  });

  test('a rotated key counts for what was logged in its time', async () => {
    const honest = await scene.bundle();
    expect(await scene.broken(honest, { document: withAttestor({ until: minutes(1) }) })).toBeNull();
    expect(await scene.broken(honest, { document: withAttestor({ until: minutes(-1) }) })).toBe('time');
    expect(await scene.broken(honest, { document: withAttestor({ from: minutes(1) }) })).toBe('time');
  });

  test('a stolen key counts up to a time or a record, whatever date the statement bears', async () => {
    const honest = await scene.bundle();
    const { seq } = honest.log;
    const backdated = await scene.bundle({ predicate: { issuedAt: minutes(-50) } });
    expect(await scene.broken(honest, { document: withAttestor({ revokedFrom: minutes(1) }) })).toBeNull();
    expect(await scene.broken(honest, { document: withAttestor({ revokedFrom: seq + 1 }) })).toBeNull();
    for (const revokedFrom of [minutes(-10), LOGGED, seq, 0]) {
      expect(await scene.broken(honest, { document: withAttestor({ revokedFrom }) })).toBe('revocation');
      expect(await scene.broken(backdated, { document: withAttestor({ revokedFrom }) })).toBe('revocation');
    }
  });

  test('a revoked run', async () => {
    const honest = await scene.bundle();
    const revoke = (run: string, revokedFrom: string | number) => ({
      document: { ...scene.trust, revokedRuns: [{ run, revokedFrom }] },
    });
    expect(await scene.broken(honest, revoke('01m7x776ffpyjb6x', 0))).toBe('revocation');
    expect(await scene.broken(honest, revoke('01m7x776ffpyjb6x', minutes(-1)))).toBe('revocation');
    expect(await scene.broken(honest, revoke('01m7x776ffpyjb6x', minutes(1)))).toBeNull();
    expect(await scene.broken(honest, revoke('01m7x776ffpyjb6y', 0))).toBeNull();
  });

  test('a log whose key was stolen counts for the checkpoint that was kept', async () => {
    const honest = await scene.bundle();
    const [, size, root] = honest.log.checkpoint.split('\n');
    const pin = (pinned: { size: number; root: string }) => ({
      document: { ...scene.trust, logs: scene.trust.logs.map((log) => ({ ...log, pinned })) },
    });
    expect(await scene.broken(honest, pin({ size: Number(size), root: root ?? '' }))).toBeNull();
    expect(await scene.broken(await scene.bundle(), pin({ size: Number(size), root: root ?? '' }))).toBe('checkpoint');
  });
});

describe('merges', () => {
  const squash = (parent: string, tree = scene.tree(scene.head)) =>
    scene.user.git('commit-tree', tree, '-p', parent, '-m', 'squashed');
  async function merged(commit: string, bent: Bent = {}, of?: Bundle): Promise<Bundle> {
    const { envelopeDigest } = await import('../../src/attest/envelope.ts');
    const inner = of ?? (await scene.bundle());
    const predicate = {
      repository: REPOSITORY,
      ref: 'refs/heads/main',
      from: scene.user.git('rev-parse', `${commit}^1`),
      to: commit,
      of: envelopeDigest(inner.envelope),
      change: scene.head,
      requester: 'user:ada',
      log: scene.log.signer.name,
      issuedAt: LOGGED,
    };
    const statement: Statement = { type: MERGE, commits: [{ commit, tree: scene.tree(commit) }], predicate };
    return scene.bundle(bent, inner, statement);
  }

  test('a squashed change holds, for the branch it went to', async () => {
    const commit = squash(scene.base);
    expect(await scene.broken(await merged(commit), { commits: [commit], ref: 'refs/heads/main' })).toBeNull();
    expect(await scene.broken(await merged(commit), { commits: [commit], ref: REF })).toBe('ref');
  });

  test('not with another tree, on another base, or with more in between', async () => {
    const evil = squash(scene.base, scene.tree(scene.base));
    expect(await scene.broken(await merged(evil), { commits: [evil] })).toBe('change');
    const moved = squash(`${scene.base}~1`);
    expect(await scene.broken(await merged(moved), { commits: [moved] })).toBe('range');
    const stowaway = scene.user.git('commit-tree', scene.tree(scene.base), '-p', scene.base, '-m', 'stowaway');
    const on = squash(stowaway);
    expect(await scene.broken(await merged(on, { predicate: { from: scene.base } as never }), { commits: [on] })).toBe(
      'range',
    );
  });

  test('not of a change that does not hold itself, or of another one', async () => {
    const commit = squash(scene.base);
    const expired = await scene.bundle({ record: (record) => ({ ...record, time: minutes(61) }) });
    expect(await scene.broken(await merged(commit, {}, expired), { commits: [commit] })).toBe('expiry');
    const honest = await merged(commit);
    expect(
      await scene.broken(
        { ...honest, of: await scene.bundle({ predicate: { requester: 'user:eve' } }) },
        { commits: [commit] },
      ),
    ).toBe('statement');
    expect(await scene.broken({ ...honest, of: null }, { commits: [commit] })).toBe('bundle');
  });
});

describe('a clone that lies', () => {
  /** Writes an object's bytes anew, as other content under the same id. */
  function overwrite(oid: string, type: string, content: Buffer): () => void {
    const path = join(scene.user.dir, '.git/objects', oid.slice(0, 2), oid.slice(2));
    const before = readFileSync(path);
    const mode = statSync(path).mode;
    execFileSync('chmod', ['u+w', path]);
    writeFileSync(path, deflateSync(Buffer.concat([Buffer.from(`${type} ${content.length}\0`), content])), { mode });
    return () => writeFileSync(path, before);
  }

  test('a commit’s bytes', async () => {
    const honest = await scene.bundle();
    const content = scene.user.bytes(['cat-file', 'commit', scene.head]);
    const restore = overwrite(scene.head, 'commit', Buffer.from(content.toString().replace('z\n', 'zz\n')));
    expect(await scene.broken(honest)).toBe('commit');
    restore();
    expect(await scene.broken(honest)).toBeNull();
  });

  test('a file’s bytes, where content is looked at', async () => {
    const honest = await scene.bundle();
    const oid = scene.user.git('rev-parse', `${scene.head}:x.txt`);
    const restore = overwrite(oid, 'blob', Buffer.from('malice\n'));
    expect(await scene.broken(honest, { content: true })).toBe('commit');
    restore();
    expect(await scene.broken(honest, { content: true })).toBeNull();
  });

  test('a bit of the stored proof', async () => {
    const good = encodeBundle(await scene.bundle());
    for (let at = 20; at < good.length; at += Math.ceil(good.length / 40)) {
      const bent = Buffer.from(good);
      bent[at] = (bent[at] as number) ^ 1;
      expect(await scene.broken(bent)).not.toBeNull();
    }
  });

  test('grafts and replacements hide no commit', async () => {
    const { commitsBetween } = await import('../../src/attest/range.ts');
    const { Clone } = await import('../../src/attest/clone.ts');
    const [, second] = scene.commits;
    const between = async () => {
      const clone = new Clone({ gitDir: join(scene.user.dir, '.git') }, 'sha1');
      try {
        return (await commitsBetween(clone, scene.base, scene.head)).length;
      } finally {
        clone.close();
      }
    };
    expect(await between()).toBe(3);
    writeFileSync(join(scene.user.dir, '.git/info/grafts'), `${scene.head} ${scene.base}\n`);
    expect(await between()).toBe(3);
    writeFileSync(join(scene.user.dir, '.git/info/grafts'), '');
    scene.user.git('replace', second?.commit ?? '', scene.base);
    expect(await between()).toBe(3);
    scene.user.git('replace', '-d', second?.commit ?? '');
    writeFileSync(join(scene.user.dir, '.git/shallow'), `${scene.head}\n`);
    await expect(between()).rejects.toThrow(/does not have all commits/);
    execFileSync('rm', [join(scene.user.dir, '.git/shallow')]);
    expect(readdirSync(join(scene.user.dir, '.git'))).not.toContain('shallow');
  });
});

describe('public key files', () => {
  const file = () => JSON.stringify(scene.trust);
  test.each([
    ['no JSON', (t: string) => t.slice(1)],
    ['a key twice', (t: string) => t.replace('"krl":null', '"krl":null,"krl":null')],
    ['an unknown key', (t: string) => t.replace('"krl":null', '"krl":null,"all":true')],
    ['a missing one', (t: string) => t.replace('"krl":null,', '')],
    ['nobody to trust', (t: string) => t.replace(/"attestors":\[.*?\]/, '"attestors":[]')],
    ['a key that is none', (t: string) => t.replace(/"key":"MCow/, '"key":"AAAA')],
    ['another format', (t: string) => t.replace('trust/1', 'trust/2')],
  ])('%s', (_, bend) => {
    expect(parseTrust(file(), 'f').logs).toHaveLength(1);
    expect(() => parseTrust(bend(file()), 'f')).toThrow(/cannot be used/);
  });
});

function flipped(base64: string): string {
  const raw = Buffer.from(base64, 'base64');
  raw[5] = (raw[5] as number) ^ 1;
  return raw.toString('base64');
}
