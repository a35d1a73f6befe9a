/** Who may be signed for is the policy's to say; in repositories of both object formats. */
import { afterEach, expect, test } from 'vitest';
import { PolicyDeniedError } from '../../src/base/errors.ts';
import { type SigningScene, signingScene } from '../fakes/signing-scene.ts';

let run: SigningScene;
afterEach(() => run.close());

const who = (mail: string) => `Agent <${mail}> ${Math.floor(Date.now() / 1000)} +0000`;
const decided = () =>
  run.events().flatMap((event) => (event.type === 'git.sign.decided' ? [event.decision?.effect ?? null] : []));

test('another author, or another committer, than the policy’s is refused with the rule’s reason', async () => {
  run = await signingScene({ policy: 'version: 1\ngit: {push: {authors: ["*@acme.example"]}}\n' });
  await run.signed(run.commit());
  for (const fields of [{ author: who('b@evil.example') }, { committer: who('b@evil.example') }]) {
    const { status, text } = await run.post(run.commit(fields));
    expect(status).toBe(403);
    expect(text).toMatch(/^cordon refuses to sign: git\.sign of b@evil\.example is denied: .* → .*authors/);
  }
  // One form: who writes the address otherwise is not somebody else.
  await run.signed(run.commit({ author: who('AGENT@Acme.Example') }));
  expect(decided()).toEqual(['permit', 'deny', 'deny', 'permit']);
});

test('a forbid in the policy’s own language holds', async () => {
  run = await signingScene({
    policy: 'version: 1\nrules: |\n  forbid (principal, action == Action::"git.sign", resource);\n',
  });
  expect(await run.post(run.commit())).toMatchObject({ status: 403 });
  expect(decided()).toEqual(['deny']);
  expect(run.events().some(({ type }) => type === 'git.certified')).toBe(false);
});

test('what needs an approval waits for it, and is not signed without', async () => {
  let answer = true;
  run = await signingScene({
    policy: 'version: 1\napprovals:\n  - {when: git.sign, approvers: ["role:security"]}\n',
    ask: async () => {
      if (!answer) throw new PolicyDeniedError('nobody said yes', []);
    },
  });
  await run.signed(run.commit());
  answer = false;
  expect(await run.post(run.commit())).toEqual({ status: 403, text: 'cordon refuses to sign: nobody said yes\n' });
  expect(decided()).toEqual(['ask', 'ask']);
});

test('in a repository of SHA-256 objects', async () => {
  run = await signingScene({ initArgs: ['--object-format=sha256'] });
  const first = await run.signed(run.commit());
  expect(first.object.toString()).toContain('\ngpgsig-sha256 -----BEGIN SSH SIGNATURE-----\n');
  const second = await run.signed(run.commit({ parents: [first.oid] }));
  expect(await run.signer.isSigned(second.object)).toBe(true);
  expect(await run.post(run.commit({ tree: 'a'.repeat(40) }))).toMatchObject({ status: 403 });
});
