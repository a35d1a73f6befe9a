/**
 * What a hostile agent asks to have signed. Each case first has an honest commit signed, which stock git must find good;
 * then it tries its attack, which must be refused, leave no signature, and stand in the log.
 */
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  allowedSigners,
  loadOrCreateAuthority,
  readAuthorities,
  revocationList,
  revokeCertificate,
} from '../../src/attest/authority.ts';
import { issueCertificate } from '../../src/attest/ssh/certificate.ts';
import { joinCommit, splitCommit } from '../../src/attest/ssh/commit.ts';
import { fingerprint, generateKey } from '../../src/attest/ssh/keys.ts';
import { parseSshSignature, signMessage } from '../../src/attest/ssh/sshsig.ts';
import type { AuditEvent } from '../../src/audit/event.ts';
import { MAX_SIGNATURES } from '../../src/runs/signing.ts';
import { type CommitFields, type SigningScene, signingScene } from '../fakes/signing-scene.ts';

let run: SigningScene;
let honest: { readonly oid: string; readonly object: Buffer };

/** Judged by stock git, with nothing but the line that trusts the authority. */
function verify(oid: string, scene = run): Promise<{ ok: boolean; text: string }> {
  const state = readAuthorities(scene.keys) as NonNullable<ReturnType<typeof readAuthorities>>;
  writeFileSync(join(scene.keys, 'signers'), `${allowedSigners(state).join('\n')}\n`);
  writeFileSync(join(scene.keys, 'krl'), revocationList(state, Date.now()));
  const config = {
    'gpg.ssh.allowedSignersFile': join(scene.keys, 'signers'),
    'gpg.ssh.revocationFile': join(scene.keys, 'krl'),
  };
  const options = Object.entries(config).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  return scene.scene.guest.tryGit(...options, 'verify-commit', '-v', oid);
}

const outcomes = () => run.events().flatMap((event) => (event.type === 'git.signed' ? [event.outcome.result] : []));

beforeEach(async () => {
  run = await signingScene();
  honest = await run.signed(run.commit());
  const { ok, text } = await verify(honest.oid);
  expect(text).toContain('Good "git" signature for agent:0123456789abcdef');
  expect(ok).toBe(true);
  expect(await run.signer.isSigned(honest.object)).toBe(true);
});
afterEach(async () => {
  // Whatever was tried: one signature was given, and every question has its answer.
  const events = run.events();
  const asked = events.filter(({ type }) => type === 'git.sign.decided').map(({ seq }) => seq);
  const answered = events.filter(({ type }) => type === 'git.signed').map(({ cause }) => cause);
  expect(answered).toEqual(asked);
  await run.close();
});

describe('refused, with a reason that git shows, and in the log', () => {
  const oid = 'a'.repeat(40);
  const now = () => Math.floor(Date.now() / 1000);
  const at = (seconds: number) => `Agent <agent@acme.example> ${seconds} +0000`;
  const cases: Record<string, [body: () => Buffer | string, reason: RegExp]> = {
    'arbitrary text': [() => 'I promise to pay the bearer', /not a commit/],
    nothing: [() => '', /not a commit/],
    'a tag': [() => `object ${oid}\ntype commit\ntag v1\ntagger ${at(now())}\n\nm\n`, /it is a tag/],
    'a push certificate': [() => `certificate version 0.1\npusher x ${now()} +0000\n\n`, /not a commit/],
    'an SSH challenge to be used elsewhere': [
      () => Buffer.concat([Buffer.from('SSHSIG'), Buffer.alloc(200)]),
      /not a commit/,
    ],
    'a commit of a foreign parent': [() => run.commit({ parents: [oid] }), /parent aaaaaaaaaaaa is not known/],
    'a merge with a foreign parent': [() => run.commit({ parents: [run.scene.checkout.base, oid] }), /is not known/],
    'a history of its own': [() => run.commit({ parents: [] }), /begins a history of its own/],
    'one parent twice': [() => run.commit({ parents: [run.scene.checkout.base, run.scene.checkout.base] }), /twice/],
    'a parent that is a tree': [
      () => run.commit({ parents: [run.scene.guest.git('rev-parse', 'HEAD^{tree}')] }),
      /is not known/,
    ],
    'an id of another length': [() => run.commit({ tree: 'a'.repeat(64) }), /tree is not an id/],
    'a backdated commit': [
      () => run.commit({ committer: at(now() - 3600), author: at(now() - 3600) }),
      /committer’s date/,
    ],
    'a commit of tomorrow': [() => run.commit({ committer: at(now() + 86_400) }), /committer’s date/],
    'an author’s date of last year': [() => run.commit({ author: at(now() - 31_536_000) }), /author’s date/],
    'NUL bytes in the message': [() => run.commit({ message: Buffer.from('a\0b') }), /NUL/],
    'NUL bytes in the headers': [() => run.commit({ further: 'encoding x\0\n' }), /NUL/],
    'a signature in it already': [
      () => joinCommit(run.commit(), signMessage(Buffer.from('x'), 'git', generateKey()), 'sha1'),
      /signature already/,
    ],
    'the other format’s signature in it': [() => run.commit({ further: 'gpgsig-sha256 x\n' }), /signature already/],
    'a second tree': [() => run.commit({ further: `tree ${oid}\n` }), /header that git does not write: "tree"/],
    'a second author': [() => run.commit({ further: `author ${at(now())}\n` }), /"author"/],
    'an unknown header': [() => run.commit({ further: 'x-approved-by boss\n' }), /"x-approved-by"/],
    'a header of two lines': [() => run.commit({ further: 'encoding a\n b\n' }), /does not write/],
    'headers in another order': [
      () =>
        run
          .commit()
          .toString()
          .replace(/(author .*\n)(committer .*\n)/, '$2$1'),
      /no author where/,
    ],
    'a line end of Windows': [
      () =>
        run
          .commit()
          .toString()
          .replace(/ \+0000\n/, ' +0000\r\n'),
      /author is malformed/,
    ],
    'an author with control characters': [
      () => run.commit({ author: `A\u001b[2J <a@acme.example> ${now()} +0000` }),
      /author is malformed/,
    ],
    'an author with two addresses': [
      () => run.commit({ author: `A <a@acme.example> <b@x> ${now()} +0000` }),
      /malformed/,
    ],
    'headers that are not UTF-8': [
      () => Buffer.from(run.commit({ author: `\xe9 <a@x> ${now()} +0000` }).toString(), 'latin1'),
      /UTF-8|malformed/,
    ],
    'bytes before the commit': [() => Buffer.concat([Buffer.from('\n'), run.commit()]), /not a commit/],
    'no message': [() => run.commit().toString().split('\n\n')[0] as string, /not a commit/],
  };
  test.each(Object.entries(cases))('%s', async (_name, [body, reason]) => {
    const { status, text } = await run.post(body());
    expect(text).toMatch(reason);
    expect(text).toMatch(/^cordon refuses to sign: [^\n]+\n$/);
    expect(status).toBe(403);
    expect(outcomes()).toEqual(['signed', 'refused']);
  });
});

describe('never comes to a question', () => {
  test.each<[string, NonNullable<Parameters<SigningScene['post']>[1]>, number]>([
    ['another namespace', { path: '/sign/file' }, 403],
    ['a namespace behind ours', { path: '/sign/git/../file' }, 403],
    ['no namespace', { path: '/sign/' }, 403],
    ['a query', { path: '/sign/git?namespace=file' }, 403],
    ['another method', { method: 'PUT' }, 405],
    ['what another program posts', { type: 'text/plain' }, 415],
  ])('%s', async (_name, options, expected) => {
    expect(await run.post(run.commit(), options)).toMatchObject({ status: expected });
    expect(outcomes()).toEqual(['signed']);
  });

  test('more than a megabyte, plain or inflated', async () => {
    const large = run.commit({ message: Buffer.alloc(1024 * 1024, 97) });
    expect(await run.post(large)).toMatchObject({ status: 413 });
    const bomb = gzipSync(run.commit({ message: Buffer.alloc(64 * 1024 * 1024, 97) }));
    expect(await run.post(bomb, { headers: { 'Content-Encoding': 'gzip' } })).toMatchObject({ status: 413 });
    expect(outcomes()).toEqual(['signed']);
  });

  test('half a commit, from a client that goes away', async () => {
    const payload = run.commit();
    const socket = connect(run.server.port as number, '127.0.0.1');
    const head = `POST /sign/git HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-commit\r\nContent-Length: ${payload.length}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), payload.subarray(0, -5)]));
    await new Promise<void>((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await new Promise<void>((resolve) => setTimeout(resolve, 20));
    expect(outcomes()).toEqual(['signed']);
  });
});

test('a flood ends at the run’s bound, and leaves no more in the log', async () => {
  const asked = await Promise.all(Array.from({ length: MAX_SIGNATURES + 20 }, () => run.signer.sign(Buffer.from('x'))));
  expect(asked.slice(-20)).toEqual(
    Array.from({ length: 20 }, () => ({ refusal: expect.stringContaining(`more than ${MAX_SIGNATURES}`) })),
  );
  expect(outcomes()).toHaveLength(MAX_SIGNATURES);
  expect(await run.post(run.commit())).toMatchObject({ status: 403 });
}, 180_000);

test('after the run’s end nothing is signed, not even what was asked for before', async () => {
  const late = run.signer.sign(run.commit());
  run.signer.close();
  expect(await late).toEqual({ refusal: 'the run has ended' });
  expect(await run.post(run.commit())).toMatchObject({
    status: 403,
    text: 'cordon refuses to sign: the run has ended\n',
  });
});

test('another run of the same machine signs nothing that stands on this one, and counts not as this one', async () => {
  const other = await signingScene({ beside: run, run: 'fedcba9876543210' });
  try {
    const refused = await other.post(other.commit({ parents: [honest.oid] }));
    expect(refused).toMatchObject({ status: 403, text: expect.stringContaining('is not known') });
    const own = await other.signed(other.commit());
    expect(await other.signer.isSigned(own.object)).toBe(true);
    expect(await run.signer.isSigned(own.object)).toBe(false);
    expect(await other.signer.isSigned(honest.object)).toBe(false);
  } finally {
    await other.close();
  }
});

describe('a commit does not count as signed', () => {
  const counts = (object: Buffer) => run.signer.isSigned(object);
  const signature = () => splitCommit(honest.object, 'sha1').signature as string;

  test('with the signature of another commit', async () => {
    expect(await counts(joinCommit(run.commit({ message: 'another\n' }), signature(), 'sha1'))).toBe(false);
  });

  test('without one, with half of one, or with one behind it', async () => {
    expect(await counts(run.commit())).toBe(false);
    expect(await counts(joinCommit(run.commit(), signature().slice(0, 200), 'sha1'))).toBe(false);
    const twice = joinCommit(honest.object, signature(), 'sha1');
    expect(await counts(twice)).toBe(false);
    expect(await counts(joinCommit(run.commit(), `${signature()}x\n`, 'sha1'))).toBe(false);
  });

  test('by a key of the agent’s own, also with a certificate that looks like the run’s', async () => {
    const payload = run.commit();
    const key = generateKey();
    expect(await counts(joinCommit(payload, signMessage(payload, 'git', key), 'sha1'))).toBe(false);
    const own = parseSshSignature(signature()).certificate;
    if (own === null) throw new Error('no certificate');
    const forged = issueCertificate(key, own, generateKey());
    expect(await counts(joinCommit(payload, signMessage(payload, 'git', key, forged), 'sha1'))).toBe(false);
  });

  test('with the certificate swapped for another of the same authority and key', async () => {
    const authority = await loadOrCreateAuthority(run.keys, new Date().toISOString());
    const own = parseSshSignature(signature());
    if (own.certificate === null) throw new Error('no certificate');
    const longer = issueCertificate(own.key, { ...own.certificate, validBefore: 9_999_999_999n }, authority);
    const body = signature().split('\n').slice(1, -2).join('');
    const swapped = Buffer.from(body, 'base64')
      .toString('latin1')
      .replace(own.certificate.blob.toString('latin1'), longer.blob.toString('latin1'));
    const armoured = `-----BEGIN SSH SIGNATURE-----\n${Buffer.from(swapped, 'latin1').toString('base64')}\n-----END SSH SIGNATURE-----\n`;
    expect(parseSshSignature(armoured).certificate?.validBefore).toBe(9_999_999_999n);
    expect(await counts(joinCommit(splitCommit(honest.object, 'sha1').payload, armoured, 'sha1'))).toBe(false);
  });
});

test('a revoked run’s commits are good for stock git no longer', async () => {
  const certified = run
    .events()
    .find((event): event is AuditEvent & { type: 'git.certified' } => event.type === 'git.certified');
  if (certified === undefined) throw new Error('no certificate in the log');
  const { serial, authority, key, validAfter, validBefore } = certified.resource;
  expect(key).toBe(fingerprint(parseSshSignature(splitCommit(honest.object, 'sha1').signature as string).key.blob));
  // A certificate counts whole seconds: never later than a minute before the run, never earlier than ten after its limit.
  expect(Date.parse(validAfter)).toBe(Math.floor(run.started / 1000) * 1000 - 60_000);
  expect(Date.parse(validBefore)).toBe(Math.ceil(run.started / 1000) * 1000 + 1_800_000 + 600_000);
  await revokeCertificate(run.keys, {
    run: '0123456789abcdef',
    authority,
    serial: BigInt(serial),
    at: new Date().toISOString(),
  });
  expect((await verify(honest.oid)).ok).toBe(false);
});

describe('what an honest agent does is signed', () => {
  const signs = async (fields: CommitFields) => (await verify((await run.signed(run.commit(fields))).oid)).ok;

  test('a next commit before the first is pushed, and a merge of both', async () => {
    expect(await signs({ parents: [honest.oid] })).toBe(true);
    expect(await signs({ parents: [run.scene.checkout.base, honest.oid] })).toBe(true);
  });

  test('a commit that is picked or amended keeps its author and date', async () => {
    const author = run.scene.guest.git('log', '-1', '--format=%an <%ae> %ad', '--date=raw', run.scene.checkout.base);
    run.ahead = 3_600_000;
    const committer = `Agent <agent@acme.example> ${Math.floor(Date.now() / 1000) + 3600} +0000`;
    const made = await run.signed(run.commit({ author, committer }));
    expect(await run.signer.isSigned(made.object)).toBe(true);
  });

  test('text of any kind, and an encoding', async () => {
    expect(await signs({ message: 'é 😀\n\ngpgsig no header\n', further: 'encoding ISO-8859-1\n' })).toBe(true);
    expect(await signs({ message: Buffer.of(0xe9, 0xff, 10), further: 'encoding ISO-8859-1\n' })).toBe(true);
  });
});
