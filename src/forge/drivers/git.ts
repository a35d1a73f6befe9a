import { Redactor } from '../../base/redact/index.ts';
import type { Credential, Forge, ForgeOptions, Purpose } from '../forge.ts';
import { openSmartHttp } from '../smart-http/index.ts';

/** How a token is shown to a server that is nothing but git over HTTP. */
export interface GitForgeOptions extends Omit<ForgeOptions, 'credential'> {
  /** `basic`: user and token; `bearer`: the token alone. */
  readonly scheme: 'basic' | 'bearer';
  readonly user: string;
  /** Read at each use; null where there is none. It cannot be narrowed: such a server knows no purposes. */
  readonly token: (purpose: Purpose) => Promise<Buffer | null>;
}

/** A plain git server: one token for everything that it opens. */
export function gitForge(options: GitForgeOptions): Forge {
  const { scheme, user, token, ...rest } = options;
  return openSmartHttp({
    ...rest,
    credential: async (purpose) => {
      const bytes = await token(purpose);
      return bytes === null ? null : credential(scheme, user, bytes);
    },
  });
}

function credential(scheme: 'basic' | 'bearer', user: string, token: Buffer): Credential {
  const pair = Buffer.concat([Buffer.from(`${user}:`), token]);
  const value = scheme === 'basic' ? pair.toString('base64') : token.toString('latin1');
  const redactor = new Redactor({ shapes: false });
  redactor.add('token', token);
  redactor.add('token', value);
  return {
    authorization: `${scheme === 'basic' ? 'Basic' : 'Bearer'} ${value}`,
    redact: (text) => redactor.redact(text),
  };
}
