import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addressKind } from '../../src/gateways/egress/addresses.ts';
import { relayBody } from '../../src/gateways/egress/body.ts';
import { checkServerName, readClientHello, SecondHelloGuard } from '../../src/gateways/egress/client-hello.ts';
import { answerDns } from '../../src/gateways/egress/dns.ts';
import { parseRequestHead, parseResponseHead } from '../../src/gateways/egress/head.ts';
import { Inlet } from '../../src/gateways/egress/inlet.ts';
import { Names } from '../../src/gateways/egress/names.ts';
import { Refusal } from '../../src/gateways/egress/refusal.ts';
import { FrameGuard } from '../../src/gateways/egress/websocket.ts';
import { compilePolicy } from '../../src/policy/index.ts';
import { clientHello } from '../fakes/client-hello.ts';
import { openScene, POLICY, PUBLIC, type Scene } from '../fakes/egress-scene.ts';

/** Whatever bytes come, the gateway stands, and nothing is resolved or dialled that was not decided upon. */
const SEED = 20_261_120;
const runs = (count: number) => ({ seed: SEED, numRuns: count });

let scene: Scene;
let names: Names;
beforeAll(async () => {
  scene = await openScene({ limits: { headTime: 60, idleTime: 60, halfClosedTime: 30, connectTime: 100 } });
  names = new Names(await compilePolicy({ repository: { file: 'p', text: POLICY } }), 100);
});
afterAll(() => scene.close());

const heads = [
  'GET http://allowed.example/a?b=c HTTP/1.1\r\nHost: allowed.example\r\nAccept: */*\r\n\r\n',
  'POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nContent-Length: 5\r\n\r\nhello',
  'POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'CONNECT allowed.example:443 HTTP/1.1\r\nHost: allowed.example:443\r\n\r\n',
  'GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n\r\nGET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n',
  'GET http://live.example/ HTTP/1.1\r\nHost: live.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
];

/** Pieces that change what a head means. */
const pieces = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  ':',
  '@',
  '#',
  '%2e',
  '..',
  '\\',
  ',',
  '0',
  '00',
  '+',
  '-1',
  'chunked',
  'evil.example',
  'Host: evil.example\r\n',
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  '127.0.0.1',
  '[::1]',
  '65979',
  'HTTP/2.0',
  '\r\n\r\nGET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n',
  '\x80',
  '\xff',
  'é',
] as const;

const mutation = fc.record({
  at: fc.nat({ max: 400 }),
  remove: fc.nat({ max: 12 }),
  put: fc.oneof(
    fc.constantFrom(...pieces),
    fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  ),
});
const mutated = (base: string, changes: readonly { at: number; remove: number; put: string }[]) =>
  changes.reduce((text, { at, remove, put }) => {
    const from = at % (text.length + 1);
    return text.slice(0, from) + put + text.slice(from + remove);
  }, base);
const hostile = fc
  .tuple(fc.constantFrom(...heads), fc.array(mutation, { maxLength: 4 }))
  .map(([base, changes]) => Buffer.from(mutated(base, changes), 'latin1'));

test('mutated requests: nothing that was not decided upon is resolved or dialled', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(hostile, { minLength: 20, maxLength: 20 }), async (requests) => {
      await scene.reset();
      await Promise.all(
        requests.map(async (bytes) => {
          const socket = await scene.open();
          socket.resume();
          const closed = new Promise((resolve) => socket.once('close', resolve));
          socket.end(bytes);
          await closed;
        }),
      );
      await scene.until(() => scene.closed.length === scene.decided.length);
      const permitted = scene.decided.filter((event) => event.decision.effect === 'permit');
      const reachable = new Set(permitted.map((event) => `${PUBLIC[event.host]}:${event.port}`));
      expect(scene.resolved.filter((name) => !permitted.some((event) => event.host === name))).toEqual([]);
      expect(scene.dialled.filter((address) => !reachable.has(address))).toEqual([]);
      expect(scene.dialled.length).toBeLessThanOrEqual(permitted.length);
      expect(scene.leaked).toEqual([]);
      expect(scene.seen.filter((request) => request.host === 'evil.example')).toEqual([]);
    }),
    runs(40),
  );
});

test('heads: never a throw, and what is taken has one meaning', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        hostile,
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      ),
      (bytes) => {
        const end = bytes.indexOf('\r\n\r\n');
        const head = end === -1 ? Buffer.concat([bytes, Buffer.from('\r\n\r\n')]) : bytes.subarray(0, end + 4);
        parseResponseHead(head, 'GET');
        const result = parseRequestHead(head);
        if (!result.ok) return;
        const { method, target, minor, headers } = result.value;
        const again = `${method} ${target} HTTP/1.${minor}\r\n${headers.map((each) => `${each.name}: ${each.value}\r\n`).join('')}\r\n`;
        const second = parseRequestHead(Buffer.from(again, 'latin1'));
        expect(second).toEqual(result);
        expect(headers.filter((header) => header.lower === 'host').length).toBeLessThanOrEqual(1);
        const lengths = headers.filter((header) => /^(content.length|transfer.encoding)$/.test(header.lower));
        expect(lengths.length).toBeLessThanOrEqual(1);
      },
    ),
    runs(5000),
  );
});

test('handshakes: only refusals are thrown, and no other name passes', () => {
  const hellos = [
    clientHello({ names: ['allowed.example'] }),
    clientHello({ names: ['evil.example'], recordSize: 11 }),
  ];
  const change = fc.record({ at: fc.nat({ max: 200 }), byte: fc.nat({ max: 255 }) });
  fc.assert(
    fc.property(
      fc.constantFrom(...hellos),
      fc.array(change, { maxLength: 5 }),
      fc.nat({ max: 200 }),
      (base, changes, cut) => {
        const bytes = Buffer.from(base);
        for (const { at, byte } of changes) bytes[at % bytes.length] = byte;
        try {
          const hello = readClientHello(bytes.subarray(0, Math.max(1, bytes.length - cut)));
          if (hello !== null) {
            checkServerName(hello, 'allowed.example');
            expect(hello.serverName?.toLowerCase().replace(/\.$/, '')).toBe('allowed.example');
          }
          new SecondHelloGuard('allowed.example').pass(bytes);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
        }
      },
    ),
    runs(5000),
  );
});

/** Relays one chunked body that comes in these pieces; what came out, and why it ended early. */
async function relayed(pieces: readonly Buffer[]): Promise<{ out: Buffer; refusal: Refusal | null }> {
  const from = new PassThrough();
  const to = new PassThrough();
  const chunks: Buffer[] = [];
  to.on('data', (chunk: Buffer) => chunks.push(chunk));
  const done = relayBody(new Inlet(from), to, { kind: 'chunked' }, () => {}).then(
    () => null,
    (error: unknown) => {
      if (error instanceof Refusal) return error;
      throw error;
    },
  );
  for (const piece of pieces) from.write(piece);
  from.end();
  const refusal = await done;
  to.end();
  await finished(to);
  return { out: Buffer.concat(chunks), refusal };
}

/** What the strictest reader makes of it: the content, or null where it is no whole body. */
function strictly(body: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  let rest = body;
  for (;;) {
    const size = /^([0-9a-f]+)\r\n/.exec(rest.toString('latin1'));
    if (size === null) return null;
    const length = Number.parseInt(size[1] ?? '', 16);
    rest = rest.subarray(size[0].length);
    if (rest.toString('latin1', length, length + 2) !== '\r\n') return null;
    if (length === 0) return rest.length === 2 ? Buffer.concat(parts) : null;
    parts.push(rest.subarray(0, length));
    rest = rest.subarray(length + 2);
  }
}

test('chunked bodies: what passes whole is one body to the strictest reader, and what is refused is none', async () => {
  const base = '5;a=b\r\nhello\r\n1F\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n.\r\n0\r\nX-A: b\r\n\r\n';
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { maxLength: 3 }), fc.nat({ max: 60 }), async (changes, cut) => {
      const bytes = Buffer.from(mutated(base, changes), 'latin1');
      const { out, refusal } = await relayed(
        [bytes.subarray(0, cut), bytes.subarray(cut)].filter((each) => each.length > 0),
      );
      expect(strictly(out) !== null).toBe(refusal === null);
    }),
    runs(1500),
  );
});

test('frames of WebSockets: cut anywhere, what is looked at is what was sent; other bytes are refused or wait', () => {
  const frame = fc.record({
    opcode: fc.constantFrom(0, 1, 2, 9, 10),
    payload: fc.uint8Array({ maxLength: 125 }),
    mask: fc.uint8Array({ minLength: 4, maxLength: 4 }),
    wide: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat({ max: 400 }), { maxLength: 6 }), (frames, cuts) => {
      const bytes = Buffer.concat(
        frames.map(({ opcode, payload, mask, wide }) => {
          const length = wide && opcode < 8 ? [254, 0, payload.length] : [128 | payload.length];
          const masked = Buffer.from(payload).map((byte, i) => byte ^ (mask[i & 3] ?? 0));
          return Buffer.concat([Buffer.from([128 | opcode, ...length]), mask, masked]);
        }),
      );
      const seen: [Buffer[], Buffer[]] = [[], []];
      const guard = new FrameGuard(
        (piece) => seen[0].push(piece),
        (piece) => seen[1].push(piece),
      );
      const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const passed = places.slice(1).map((end, i) => guard.pass(bytes.subarray(places[i], end)));
      expect(Buffer.concat(passed).equals(bytes)).toBe(true);
      for (const [i, control] of [false, true].entries()) {
        const sent = frames.filter(({ opcode }) => opcode >= 8 === control).map(({ payload }) => payload);
        expect(Buffer.concat(seen[i] ?? []).equals(Buffer.concat(sent))).toBe(true);
      }
    }),
    runs(1500),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        new FrameGuard(
          () => {},
          () => {},
        ).pass(Buffer.from(bytes));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
      }
    }),
    runs(3000),
  );
});

test('DNS: any bytes are answered or not, and never with what was not asked', () => {
  const query = Buffer.from('010201000001000000000000076578616d706c65036e65740000010001', 'hex');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
        fc.array(fc.tuple(fc.nat({ max: 28 }), fc.nat({ max: 255 })), { maxLength: 4 }).map((changes) => {
          const bytes = Buffer.from(query);
          for (const [at, byte] of changes) bytes[at] = byte;
          return bytes;
        }),
      ),
      (bytes) => {
        const answer = answerDns(bytes, names, () => {});
        if (answer === null) return;
        expect(answer.subarray(0, 2)).toEqual(bytes.subarray(0, 2));
        expect(answer.readUInt16BE(2) & 0x8000).toBe(0x8000);
        expect(answer.length).toBeLessThanOrEqual(bytes.length + 16);
      },
    ),
    runs(5000),
  );
});

test('an IPv4 address that is not public is not public inside any IPv6 address', () => {
  const special = fc.oneof(
    fc.tuple(fc.constantFrom(10, 127, 0), fc.nat({ max: 255 }), fc.nat({ max: 255 }), fc.nat({ max: 255 })),
    fc.tuple(fc.constant(169), fc.constant(254), fc.nat({ max: 255 }), fc.nat({ max: 255 })),
    fc.tuple(fc.constant(192), fc.constant(168), fc.nat({ max: 255 }), fc.nat({ max: 255 })),
    fc.tuple(fc.constant(100), fc.integer({ min: 64, max: 127 }), fc.nat({ max: 255 }), fc.nat({ max: 255 })),
    fc.tuple(fc.integer({ min: 224, max: 255 }), fc.nat({ max: 255 }), fc.nat({ max: 255 }), fc.nat({ max: 255 })),
  );
  fc.assert(
    fc.property(special, ([a, b, c, d]) => {
      const dotted = `${a}.${b}.${c}.${d}`;
      const high = ((a << 8) | b).toString(16);
      const low = ((c << 8) | d).toString(16);
      for (const text of [
        dotted,
        `::ffff:${dotted}`,
        `::${dotted}`,
        `::ffff:${high}:${low}`,
        `64:ff9b::${dotted}`,
        `64:ff9b::${high}:${low}`,
        `2002:${high}:${low}::1`,
        `2a00::5efe:${high}:${low}`,
        `2a00::200:5efe:${high}:${low}`,
      ]) {
        expect([text, addressKind(text)]).not.toEqual([text, 'global']);
      }
    }),
    runs(2000),
  );
});
