import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VKEY_FILE } from '../audit/keys.ts';
import { NotFoundError } from '../base/errors.ts';
import { readState } from './attestor.ts';
import { readAuthorities, revocationList } from './authority.ts';
import { TRUST_FORMAT, type TrustDocument } from './trust.ts';

/** What this installation hands out so that others can verify: public keys, since when they count, and what is revoked. */
export function installationTrust(keys: string, now: number): TrustDocument {
  const state = readState(keys);
  if (state === null) {
    throw new NotFoundError('nothing was attested on this machine yet: there are no keys to verify with', {
      remedy: 'make a run that delivers something, or name the public key file of another installation: --key FILE',
    });
  }
  const authorities = readAuthorities(keys);
  const krl = authorities === null || authorities.revoked.length === 0 ? null : revocationList(authorities, now);
  return {
    format: TRUST_FORMAT,
    logs: [{ key: readFileSync(join(keys, VKEY_FILE), 'utf8').trim(), pinned: null }],
    attestors: state.attestors,
    authorities: authorities?.authorities ?? [],
    krl: krl?.toString('base64') ?? null,
    revokedRuns: state.revokedRuns,
    policies: null,
  };
}
