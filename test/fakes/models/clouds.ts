/** Clouds that serve language models: their paths, credentials, signatures and framing, as their documentation has them. */
import { createHash, createHmac, type KeyObject, verify } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { crc32 } from 'node:zlib';
import { chat } from './chat.ts';
import { gemini } from './gemini.ts';
import { ScriptedServer } from './http.ts';
import { messages } from './messages.ts';
import { responses } from './responses.ts';
import type { Encoder, Turn } from './turn.ts';

export interface CloudRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  readonly body: any;
}

const encoders = { chat, responses, messages, gemini } as const;

export interface CloudShape {
  readonly wire: keyof typeof encoders;
  /** Whether a request is one for a stream. */
  stream(request: CloudRequest): boolean;
  /** What is wrong with it: path, credentials, body. */
  wrong(request: CloudRequest): string | null;
  /** Amazon's frames in place of server-sent events. */
  readonly frames?: boolean;
  /** Answers of the token endpoint, where it is one. */
  token?(request: CloudRequest): { readonly status: number; readonly body: object } | null;
  /** How its errors are written, where not as its protocol has them. */
  error?(status: number, message: string): object;
}

export class Cloud extends ScriptedServer {
  readonly heard: CloudRequest[] = [];
  readonly wrong: string[] = [];
  tokens = 0;
  turns: Turn[] = [];
  readonly #shape: CloudShape;

  constructor(shape: CloudShape) {
    super();
    this.#shape = shape;
  }

  protected override failed(error: Error): void {
    this.wrong.push(error.message);
  }

  protected override async serve(incoming: IncomingMessage, bytes: Buffer, response: ServerResponse): Promise<void> {
    const json = incoming.headers['content-type']?.startsWith('application/json');
    const request: CloudRequest = {
      method: incoming.method ?? '',
      url: incoming.url ?? '',
      headers: incoming.headers as Record<string, string>,
      bytes,
      body: json ? JSON.parse(bytes.toString()) : Object.fromEntries(new URLSearchParams(bytes.toString())),
    };
    const token = this.#shape.token?.(request) ?? null;
    if (token !== null) {
      this.tokens++;
      send(response, token.status, token.body);
      return;
    }
    this.heard.push(request);
    const wrong = request.method === 'POST' ? this.#shape.wrong(request) : 'no POST';
    if (wrong !== null) this.wrong.push(wrong);
    await this.#answer(request, this.turns.shift() ?? { text: 'nothing more to say' }, response);
  }

  async #answer(request: CloudRequest, turn: Turn, response: ServerResponse): Promise<void> {
    const encoder: Encoder = encoders[this.#shape.wire];
    if (turn.error !== undefined) {
      const { status, message, headers } = turn.error;
      const body = this.#shape.error?.(status, message) ?? encoder.error(status, message);
      send(response, status, body as object, headers);
      return;
    }
    if (!this.#shape.stream(request)) return send(response, 200, encoder.whole(turn, 'm') as object);
    const frames = this.#shape.frames === true;
    response.writeHead(200, { 'content-type': frames ? 'application/vnd.amazon.eventstream' : 'text/event-stream' });
    for (const event of encoder.events(turn, 'm')) {
      if (turn.drip !== undefined) await new Promise((resolve) => setTimeout(resolve, turn.drip));
      if (response.destroyed) return;
      response.write(frames ? chunkFrame(event) : event);
    }
    response.end();
  }
}

function send(response: ServerResponse, status: number, body: object, headers: Readonly<Record<string, string>> = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** https://smithy.io/2.0/aws/amazon-eventstream.html */
export function awsFrame(headers: Readonly<Record<string, string>>, payload: Buffer): Buffer {
  const fields = Object.entries(headers).map(([name, value]) => {
    const field = Buffer.alloc(name.length + 4);
    field.writeUInt8(name.length, 0);
    field.write(name, 1);
    field.writeUInt8(7, name.length + 1);
    field.writeUInt16BE(Buffer.byteLength(value), name.length + 2);
    return Buffer.concat([field, Buffer.from(value)]);
  });
  const head = Buffer.concat(fields);
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(16 + head.length + payload.length, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const most = Buffer.concat([prelude, head, payload]);
  const end = Buffer.alloc(4);
  end.writeUInt32BE(crc32(most), 0);
  return Buffer.concat([most, end]);
}

/** One event of Anthropic's, as Bedrock sends it. */
export function chunkFrame(event: string): Buffer {
  const data = /^data: (.*)$/m.exec(event)?.[1] ?? '';
  const payload = JSON.stringify({ bytes: Buffer.from(data).toString('base64'), p: 'abcdef' });
  const headers = { ':event-type': 'chunk', ':content-type': 'application/json', ':message-type': 'event' };
  return awsFrame(headers, Buffer.from(payload));
}

/** Checks a signature of version 4 from what came over the wire alone. Null when it is right. */
export function wrongSignature(
  { method, url, headers, bytes }: CloudRequest,
  credentials: { readonly accessKeyId: string; readonly secretAccessKey: string },
  service: string,
): string | null {
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/;
  const [, id, day = '', region = '', asked, names = '', signature] = form.exec(headers.authorization ?? '') ?? [];
  if (id !== credentials.accessKeyId || asked !== service) return 'no such credentials';
  if (headers['x-amz-date']?.slice(0, 8) !== day) return 'another day';
  if (!names.split(';').includes('host')) return 'the host is not signed';
  const [path = '', query = ''] = url.split('?');
  const hash = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');
  const lines = names.split(';').map((name) => `${name}:${headers[name] ?? ''}\n`);
  const canonical = `${method}\n${path.replaceAll('%', '%25')}\n${query}\n${lines.join('')}\n${names}\n${hash(bytes)}`;
  const mac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const key = mac(mac(mac(mac(`AWS4${credentials.secretAccessKey}`, day), region), service), 'aws4_request');
  const text = `AWS4-HMAC-SHA256\n${headers['x-amz-date']}\n${day}/${region}/${service}/aws4_request\n${hash(canonical)}`;
  return mac(key, text).toString('hex') === signature ? null : 'the signature is wrong';
}

/** Checks the assertion of a service account. Null when it is right. */
export function wrongAssertion(assertion: string, key: KeyObject, now: number): string | null {
  const [head = '', claims = '', signature = ''] = assertion.split('.');
  if (!verify('sha256', Buffer.from(`${head}.${claims}`), key, Buffer.from(signature, 'base64url')))
    return 'the signature is wrong';
  const said = JSON.parse(Buffer.from(claims, 'base64url').toString());
  if (said.scope !== 'https://www.googleapis.com/auth/cloud-platform') return 'another scope';
  return said.iat * 1000 <= now && said.exp * 1000 > now && said.exp - said.iat <= 3600 ? null : 'not valid now';
}
