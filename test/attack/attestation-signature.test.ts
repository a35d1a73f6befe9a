/** The link between a proof and the commits' own signatures: real keys and certificates, real commits, and every way to mix them up. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { certifyRun, type RunKey } from '../../src/attest/authority.ts';
import type { SshCertificate } from '../../src/attest/ssh/certificate.ts';
import { joinCommit, splitCommit } from '../../src/attest/ssh/commit.ts';
import { fingerprint, formatPublicKey, generateKey, type SshPrivateKey } from '../../src/attest/ssh/keys.ts';
import { formatKrl } from '../../src/attest/ssh/krl.ts';
import { signMessage } from '../../src/attest/ssh/sshsig.ts';
import type { Change } from '../../src/attest/statement.ts';
import type { TrustDocument } from '../../src/attest/trust.ts';
import { AttestationScene, LOGGED, minutes, RUN } from '../fakes/attestation-scene.ts';

const OTHER_RUN = '01m7x776ffpyjb6y';
const HOUR = 3_600_000;
let scene: AttestationScene;
let authority: SshPrivateKey;
let run: RunKey;

beforeAll(() => {
  scene = new AttestationScene();
  authority = generateKey();
  run = certified();
});
afterAll(() => scene.dispose());

/** A run's key as the installation certifies it: begun five minutes before the log has its proof. */
function certified({ id = RUN, started = Date.parse(minutes(-5)), limit = HOUR, by = authority } = {}): RunKey {
  return certifyRun({ id, principals: [`agent:${id}`, 'user:ada'], started, limit }, by);
}

/** What git would sign: a commit on the base with the tree of the scene's last one. */
function payload({ date = Date.parse(minutes(-1)), message = 'signed\n' } = {}): Buffer {
  const who = `Agent <agent@acme.example> ${Math.floor(date / 1000)} +0000`;
  const tree = scene.tree(scene.head);
  return Buffer.from(`tree ${tree}\nparent ${scene.base}\nauthor ${who}\ncommitter ${who}\n\n${message}`);
}

const signatureOf = (bytes: Buffer, key: SshPrivateKey, certificate?: SshCertificate, namespace = 'git') =>
  signMessage(bytes, namespace, key, certificate);

function put(object: Buffer): string {
  return scene.user.bytes(['hash-object', '-w', '-t', 'commit', '--stdin'], object).toString().trim();
}

function commitOf(bytes: Buffer, signature: string | null): string {
  return put(signature === null ? bytes : joinCommit(bytes, signature, 'sha1'));
}

interface Told {
  readonly signing?: Change['signing'];
  readonly document?: Partial<TrustDocument>;
  readonly requireSignature?: boolean;
}

const signing = (of: RunKey = run, more: Partial<NonNullable<Change['signing']>> = {}) => ({
  key: fingerprint(of.key.blob),
  authority: fingerprint(of.certificate.authority.blob),
  verifiedAt: LOGGED,
  ...more,
});

const trusted = (key = authority, from = minutes(-60), until: string | null = null) => ({
  authorities: [{ key: formatPublicKey(key), from, until }],
});

/** An honest attestor's proof of that commit; the link that broke, or null. */
async function broken(commit: string, told: Told = {}): Promise<string | null> {
  const statement = await scene.change([{ commit, tree: scene.tree(commit) }]);
  const bundle = await scene.bundle(
    { predicate: { signing: told.signing === undefined ? signing() : told.signing } },
    null,
    statement,
  );
  const document = { ...scene.trust, ...trusted(), ...told.document };
  return scene.broken(bundle, {
    commits: [commit],
    document,
    ...(told.requireSignature === undefined ? {} : { requireSignature: told.requireSignature }),
  });
}

const signed = (of: RunKey = run, options: Parameters<typeof payload>[0] = {}) => {
  const bytes = payload(options);
  return commitOf(bytes, signatureOf(bytes, of.key, of.certificate));
};

const krl = (serials: readonly bigint[], keys: readonly SshPrivateKey[] = [], by = authority) =>
  formatKrl({
    version: 2n,
    generated: Date.parse(LOGGED),
    comment: '',
    serials: [{ authority: by, serials }],
    keys,
  }).toString('base64');

describe('what holds', () => {
  test('a commit signed by the run’s key', async () => {
    const commit = signed();
    expect(await broken(commit)).toBeNull();
    expect(await broken(commit, { requireSignature: true })).toBeNull();
  });

  test('a certificate that ran out since: it is judged when the log has it, not now', async () => {
    const short = certified({ limit: 60_000 });
    expect(Number(short.certificate.validBefore) * 1000).toBeLessThan(Date.now());
    expect(await broken(signed(short), { signing: signing(short) })).toBeNull();
  });

  test('an authority that was replaced after it', async () => {
    expect(await broken(signed(), { document: trusted(authority, minutes(-60), minutes(1)) })).toBeNull();
  });

  test('a revocation list with other serials, and the same serial of another authority', async () => {
    const { serial } = run.certificate;
    expect(await broken(signed(), { document: { krl: krl([serial + 1n]) } })).toBeNull();
    expect(await broken(signed(), { document: { krl: krl([serial], [], generateKey()) } })).toBeNull();
  });

  test('an unsigned commit that is said to be one, until signatures are demanded', async () => {
    const commit = commitOf(payload({ message: 'plain\n' }), null);
    expect(await broken(commit, { signing: null })).toBeNull();
    expect(await broken(commit, { signing: null, requireSignature: true })).toBe('signature');
  });

  test('a date of the committer’s own: it is nobody’s evidence', async () => {
    expect(await broken(signed(run, { date: Date.parse('2001-01-01T00:00:00Z') }))).toBeNull();
  });
});

describe('what does not', () => {
  const cases: Record<string, readonly [() => Promise<string | null>, string]> = {
    'a certificate that had run out when it was logged': [
      () => {
        const old = certified({ started: Date.parse(minutes(-120)), limit: 60_000 });
        return broken(signed(old), { signing: signing(old) });
      },
      'signature',
    ],
    'the same, with a commit backdated into its time': [
      () => {
        const old = certified({ started: Date.parse(minutes(-120)), limit: 60_000 });
        return broken(signed(old, { date: Date.parse(minutes(-119)) }), { signing: signing(old) });
      },
      'signature',
    ],
    'a check that is said to be later than the log’s record': [
      () => broken(signed(), { signing: signing(run, { verifiedAt: minutes(1) }) }),
      'time',
    ],
    'a certificate that is not valid yet': [
      () => {
        const early = certified({ started: Date.parse(minutes(10)) });
        return broken(signed(early), { signing: signing(early) });
      },
      'signature',
    ],
    'a certificate whose serial is revoked': [
      () => broken(signed(), { document: { krl: krl([1n, run.certificate.serial, 2n]) } }),
      'revocation',
    ],
    'a key that is revoked': [() => broken(signed(), { document: { krl: krl([], [run.key]) } }), 'revocation'],
    'an authority that is revoked': [() => broken(signed(), { document: { krl: krl([], [authority]) } }), 'revocation'],
    'an authority that nobody trusts': [() => broken(signed(), { document: trusted(generateKey()) }), 'signature'],
    'no authority at all': [() => broken(signed(), { document: { authorities: [] } }), 'signature'],
    'an authority that counts from later on': [
      () => broken(signed(), { document: trusted(authority, minutes(1)) }),
      'signature',
    ],
    'an authority that had been replaced': [
      () => broken(signed(), { document: trusted(authority, minutes(-60), minutes(-1)) }),
      'signature',
    ],
    'the certificate of another run': [
      () => {
        const other = certified({ id: OTHER_RUN });
        return broken(signed(other), { signing: signing(other) });
      },
      'signature',
    ],
    'the key of another run than is stated': [
      () => {
        const other = certified();
        return broken(signed(other));
      },
      'signature',
    ],
    'an authority of the attacker’s, with the run’s name': [
      () => {
        const forged = certified({ by: generateKey() });
        return broken(signed(forged), { signing: signing(forged) });
      },
      'signature',
    ],
    'a signature moved from another commit': [
      () => {
        const bytes = payload({ message: 'the other\n' });
        return broken(commitOf(payload({ message: 'mine\n' }), signatureOf(bytes, run.key, run.certificate)));
      },
      'signature',
    ],
    'a commit whose message was changed after it was signed': [
      () => {
        const object = scene.user.bytes(['cat-file', 'commit', signed()]);
        return broken(put(Buffer.from(object.toString('latin1').replace('signed\n', 'bent!!\n'), 'latin1')));
      },
      'signature',
    ],
    'an unsigned commit that is said to be signed': [
      () => broken(commitOf(payload({ message: 'bare\n' }), null)),
      'signature',
    ],
    'a signature without a certificate': [
      () => {
        const bytes = payload();
        return broken(commitOf(bytes, signatureOf(bytes, run.key)));
      },
      'signature',
    ],
    'the run’s certificate put in place of the thief’s in the signature': [
      () => {
        const bytes = payload();
        const thief = certified({ id: OTHER_RUN });
        const armoured = signatureOf(bytes, thief.key, thief.certificate);
        const body = Buffer.from(armoured.replace(/-----.*-----/g, ''), 'base64');
        const at = body.indexOf(thief.certificate.blob);
        const swapped = Buffer.concat([
          body.subarray(0, at - 4),
          lengthOf(run.certificate.blob),
          run.certificate.blob,
          body.subarray(at + thief.certificate.blob.length),
        ]);
        return broken(commitOf(bytes, armour(swapped)));
      },
      'signature',
    ],
    'a signature for another purpose': [
      () => {
        const bytes = payload();
        return broken(commitOf(bytes, signatureOf(bytes, run.key, run.certificate, 'file')));
      },
      'signature',
    ],
    'two signatures': [
      () => {
        const bytes = payload();
        const signature = signatureOf(bytes, run.key, run.certificate);
        return broken(put(joinCommit(joinCommit(bytes, signature, 'sha1'), signature, 'sha1')));
      },
      'signature',
    ],
    'a signature that is no signature': [
      () => broken(commitOf(payload(), '-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n')),
      'signature',
    ],
    'a certificate whose key id was changed': [
      () => {
        const bytes = payload();
        const object = scene.user.bytes(['cat-file', 'commit', signed()]);
        const { signature } = splitCommit(object, 'sha1');
        const damaged = Buffer.from((signature ?? '').replace(/-----.*-----/g, ''), 'base64');
        damaged[damaged.indexOf('cordon run')] = 0x43;
        return broken(commitOf(bytes, armour(damaged)));
      },
      'signature',
    ],
  };

  test.each(Object.entries(cases))('%s', async (_, [attempt, link]) => {
    expect(await attempt()).toBe(link);
  });
});

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return length;
}

function armour(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,70}/g) ?? [];
  return `-----BEGIN SSH SIGNATURE-----\n${lines.join('\n')}\n-----END SSH SIGNATURE-----\n`;
}
