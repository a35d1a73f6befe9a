import { createHash } from 'node:crypto';
import { OutsideError } from '../../../base/errors.ts';
import { isObject, parseObject } from '../wire/wire.ts';
import type { ProviderOptions, UpstreamRequest } from './provider.ts';

/** Milliseconds before its end at which a token is not used any more. */
const EARLY = 120_000;

/**
 * A token that is had for a key and lasts for a while. Asked for once, however many wait for it; another key asks anew, and so does a
 * failure.
 */
export class BearerToken {
  readonly #options: Pick<ProviderOptions, 'name' | 'post' | 'now'>;
  #known: { readonly key: string; readonly token: Promise<string>; until: number } | null = null;

  constructor(options: Pick<ProviderOptions, 'name' | 'post' | 'now'>) {
    this.#options = options;
  }

  /** `request` is made when there is none yet. Throws `OutsideError`, which shows nothing of the key. */
  get(key: string, request: () => UpstreamRequest): Promise<string> {
    const { now } = this.#options;
    const digest = createHash('sha256').update(key).digest('hex');
    if (this.#known?.key === digest && this.#known.until > now()) return this.#known.token;
    const known = { key: digest, token: this.#ask(request, (until) => (known.until = until)), until: Infinity };
    known.token.catch(() => {
      if (this.#known === known) this.#known = null;
    });
    this.#known = known;
    return known.token;
  }

  async #ask(request: () => UpstreamRequest, lasts: (until: number) => void): Promise<string> {
    const { name, post, now } = this.#options;
    const asked = request();
    const started = now();
    const { status, text } = await post(asked);
    const body = parseObject(text);
    if (status === 200 && isObject(body) && typeof body.access_token === 'string') {
      const seconds = typeof body.expires_in === 'number' ? body.expires_in : 0;
      lasts(started + seconds * 1000 - EARLY);
      return body.access_token;
    }
    const why = typeof body?.error === 'string' && /^[a-z_]{1,40}$/.test(body.error) ? `: ${body.error}` : '';
    throw new OutsideError(`${asked.url.host} gives no token for the provider ${name} (${status}${why})`, {
      remedy: 'check the secret that its key names, and what that account may do',
    });
  }
}

export function formPost(url: URL, fields: Readonly<Record<string, string>>): UpstreamRequest {
  return {
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: Buffer.from(new URLSearchParams(fields).toString()),
  };
}
