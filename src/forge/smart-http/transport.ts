import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import { ProxyError, tunnelAgent } from '../../base/proxy-tunnel.ts';
import { safeText } from '../../base/term.ts';
import type { RemoteName } from '../../policy/remotes.ts';
import { type Credential, ForgeError, type ForgeLimits, type ForgeOptions } from '../forge.ts';

/**
 * HTTP(S) to one host for one repository. Written on Node's client, not left to git: the credential stays in this process (no argument, no
 * environment, no file, no helper), nothing is sent anywhere else whatever the answer says, and every answer is bounded.
 */
export interface Call {
  readonly method: 'GET' | 'POST';
  /** Below the repository: `/info/refs?service=git-upload-pack`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | AsyncIterable<Buffer>;
  /** The media type that the answer must have. */
  readonly accept: string;
  readonly maxBytes: number;
  readonly credential: Credential | null;
}

const ERROR_TEXT = 4096;
const GRACE = 60_000;
const TICK = 5_000;

// Not imported: an import reads every export, and two of node:http's load Node's whole fetch client.
const http = process.getBuiltinModule('node:http');
const https = process.getBuiltinModule('node:https');
const tls = process.getBuiltinModule('node:tls');

export class Transport {
  readonly #remote: RemoteName;
  readonly #limits: ForgeLimits;
  readonly #signal: AbortSignal | undefined;
  readonly #agent: import('node:http').Agent;
  /** Where the repository turned out to be on that host. */
  #base: string;

  constructor({ repository, ca = [], proxy, signal }: ForgeOptions, limits: ForgeLimits) {
    this.#remote = repository;
    this.#limits = limits;
    this.#signal = signal;
    this.#base = repository.path;
    const options = { keepAlive: true, maxSockets: 4 };
    if (repository.scheme === 'http') {
      const through = proxy === undefined ? {} : { proxyEnv: { HTTP_PROXY: `http://${proxy.host}:${proxy.port}` } };
      this.#agent = new http.Agent({ ...options, ...through });
      return;
    }
    const trust = ca.length === 0 ? {} : { ca: [...tls.getCACertificates('default'), ...ca] };
    const secure = { ...options, minVersion: 'TLSv1.2' as const, ...trust };
    this.#agent =
      proxy === undefined ? new https.Agent(secure) : tunnelAgent({ ...secure, proxy, openTime: limits.idle, signal });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The answer's body, once status and type are what they should be. A `GET` may be led elsewhere on the same host. */
  async call(call: Call): Promise<AsyncGenerator<Buffer>> {
    for (let led = 0; ; led++) {
      const answer = await this.#send(call);
      const status = answer.message.statusCode ?? 0;
      if (status >= 300 && status < 400) {
        answer.message.destroy();
        this.#follow(call, answer.message, led);
        continue;
      }
      if (status !== 200) throw await this.#refused(call, answer, status);
      const type = answer.message.headers['content-type']?.split(';')[0]?.trim();
      if (type !== call.accept) {
        answer.message.destroy();
        throw new ForgeError('protocol', `${this.#remote.name} is not served by git's smart protocol`, {
          remedy: `is it the address of a repository? it answered with ${safeText(type ?? 'no type')}`,
        });
      }
      return answer.body();
    }
  }

  async #send(call: Call): Promise<Answer> {
    const { host, port, scheme } = this.#remote;
    const options: RequestOptions = {
      agent: this.#agent,
      host: host.replace(/^\[|\]$/g, ''),
      port,
      method: call.method,
      path: `${this.#base}${call.path}`,
      headers: {
        'User-Agent': 'git/cordon',
        Accept: call.accept,
        'Accept-Encoding': 'identity',
        ...(Buffer.isBuffer(call.body) ? { 'Content-Length': call.body.length } : {}),
        ...(call.credential === null ? {} : { Authorization: call.credential.authorization }),
        ...call.headers,
      },
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
    };
    const request = (scheme === 'http' ? http : https).request(options);
    const timer = setTimeout(() => request.destroy(new Slow(this.#limits.time)), this.#limits.time);
    request.setTimeout(this.#limits.idle, () => request.destroy(new Slow(this.#limits.idle)));
    request.once('close', () => clearTimeout(timer));
    try {
      return new Answer(await converse(request, call.body), call, this.#limits, (error) => this.#failure(error, call));
    } catch (error) {
      request.destroy();
      throw this.#failure(error, call);
    }
  }

  /** A renamed or `.git`-less address on the same host; everything else would take the credential to strangers. */
  #follow(call: Call, message: IncomingMessage, led: number): void {
    const { scheme, host, port, name } = this.#remote;
    const location = message.headers.location ?? '';
    const here = `${scheme}://${host}:${port}`;
    const url = URL.canParse(location, `${here}${this.#base}${call.path}`)
      ? new URL(location, `${here}${this.#base}${call.path}`)
      : null;
    const same = url !== null && url.origin === new URL(here).origin && url.username === '' && url.password === '';
    const target = `${url?.pathname}${url?.search}`;
    if (same && call.method === 'GET' && led < 3 && target.endsWith(call.path)) {
      this.#base = target.slice(0, -call.path.length);
      return;
    }
    const where = url === null ? 'nowhere' : safeText(`${url.protocol}//${url.host}${url.pathname}`.slice(0, 200));
    throw new ForgeError('redirect', `${name} leads on to ${where}, where Cordon does not follow`, {
      remedy: 'if that is where it is now, name that address with --repo',
    });
  }

  async #refused(call: Call, answer: Answer, status: number): Promise<ForgeError> {
    const { name, host } = this.#remote;
    const text = await answer.text(ERROR_TEXT);
    const said = text === '' ? '' : `: ${safeText(clean(call, text)).slice(0, 300)}`;
    if (status === 401 || status === 403) {
      const why = call.credential === null ? `asks who is there` : `does not take the credential`;
      return new ForgeError('auth', `${name} ${why} (${status})${said}`, {
        remedy:
          call.credential === null
            ? `name a token for ${host} under forges: in config.yaml, and set it: cordon secrets set NAME`
            : 'see that the token is valid and may read and write this repository',
      });
    }
    if (status === 404 || status === 410) {
      return new ForgeError('not_found', `there is no repository ${name}, or not for this credential (${status})`, {
        remedy: `see the address; a token for ${host} is named under forges: in config.yaml`,
      });
    }
    const transient = status >= 500 || status === 429 || status === 408;
    return new ForgeError(transient ? 'server' : 'protocol', `${name} answered ${status}${said}`, {
      transient,
      unsure: status >= 500,
    });
  }

  #failure(error: unknown, call: Call): ForgeError {
    if (error instanceof ForgeError) return error;
    const { name } = this.#remote;
    if (this.#signal?.aborted)
      return new ForgeError('cancelled', `the exchange with ${name} was cancelled`, { unsure: true });
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const why = safeText(clean(call, error instanceof Error ? error.message : String(error))).slice(0, 300);
    if (/CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS_CERT|HOSTNAME/.test(code)) {
      return new ForgeError('certificate', `${name} does not show a certificate that holds: ${why}`, {
        remedy: 'an authority of your own is named by ca_file: under forges: in config.yaml',
      });
    }
    const remedy = error instanceof ProxyError ? { remedy: 'see proxy: under network: in config.yaml' } : {};
    return new ForgeError('unreachable', `${name} does not answer: ${why}`, {
      transient: true,
      unsure: true,
      ...remedy,
    });
  }
}

const clean = ({ credential }: Call, text: string): string => credential?.redact(text) ?? text;

class Slow extends Error {
  constructor(time: number) {
    super(`nothing within ${Math.round(time / 1000)} s`);
  }
}

/** Sends the body and waits for the head of the answer, which may come before all of the body is taken. */
function converse(request: ClientRequest, body: Call['body']): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let refused = false;
    request.on('error', reject);
    // With neither, as after a change of protocol that nobody asked for: who waits would wait for ever.
    request.once('close', () => reject(new Error('it ended the connection without an answer')));
    request.once('response', (message) => {
      refused = message.statusCode !== 200; // a good answer may begin while there is still something to send
      resolve(message);
    });
    if (body === undefined || Buffer.isBuffer(body)) {
      request.end(body);
      return;
    }
    write(request, body, () => refused).catch((error: Error) => {
      request.destroy(error);
      reject(error);
    });
  });
}

async function write(request: ClientRequest, body: AsyncIterable<Buffer>, refused: () => boolean): Promise<void> {
  for await (const chunk of body) {
    if (refused() || request.destroyed) break;
    if (!request.write(chunk)) await turn(request);
  }
  if (!request.destroyed) request.end();
}

/** Until it takes more, or there is nothing to wait for. Leaves no listener: a large pack comes by here a hundred thousand times. */
function turn(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'close', 'response'] as const;
    const done = () => {
      for (const event of events) request.off(event, done);
      resolve();
    };
    for (const event of events) request.on(event, done);
  });
}

class Answer {
  readonly message: IncomingMessage;
  readonly #call: Call;
  readonly #limits: ForgeLimits;
  readonly #failure: (error: unknown) => ForgeError;

  constructor(message: IncomingMessage, call: Call, limits: ForgeLimits, failure: (error: unknown) => ForgeError) {
    this.message = message;
    this.#call = call;
    this.#limits = limits;
    this.#failure = failure;
  }

  /** Never more than `maxBytes`, and never slower than the least rate once a minute has gone by. */
  async *body(): AsyncGenerator<Buffer> {
    const { maxBytes } = this.#call;
    const { rate } = this.#limits;
    let size = 0;
    let time = 0;
    const timer = setInterval(() => {
      time += TICK;
      if (time > GRACE && size < (rate * time) / 1000) this.message.destroy(new Slow(time));
    }, TICK);
    try {
      for await (const chunk of this.message as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > maxBytes) {
          throw new ForgeError('limit', `the answer is larger than ${maxBytes} bytes`, {
            remedy: 'max_size: of that host under forges: in config.yaml raises it',
          });
        }
        yield chunk;
      }
      if (!this.message.complete) throw new Error('the answer ends too soon');
    } catch (error) {
      throw this.#failure(error);
    } finally {
      clearInterval(timer);
      this.message.destroy();
    }
  }

  async text(limit: number): Promise<string> {
    const chunks: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(() => this.message.destroy(), 5_000);
    try {
      for await (const chunk of this.message as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        size += chunk.length;
        if (size > limit) break;
      }
    } catch {
      // What there is of it will do.
    } finally {
      clearTimeout(timer);
      this.message.destroy();
    }
    const type = this.message.headers['content-type'] ?? '';
    return type.startsWith('text/plain') ? Buffer.concat(chunks).toString().slice(0, limit).trim() : '';
  }
}
