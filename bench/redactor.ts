/**
 * Redacting text of a build's log and of source code with 100 secrets granted, in pieces of 64 KiB as they come from a pipe.
 * Beside it what programs do without a redactor of their own: a chain of `String.replaceAll`, and one regular expression of
 * all forms; both look for the same forms of the same values, and for no shapes. Fails below 100 MB/s.
 */
import { createHash } from 'node:crypto';
import { encodingsOf, Redactor } from '../src/base/redact/index.ts';

const SECRETS = 100;
const BYTES = 32 * 1024 * 1024;
const PIECE = 64 * 1024;
const ROUNDS = 5;
const LIMIT = 100;

const secrets = Array.from({ length: SECRETS }, (_, i) => {
  const digest = createHash('sha256').update(`secret ${i}`).digest();
  // The sizes and alphabets that credentials have: tokens, passwords, keys.
  const value = [digest.toString('base64'), digest.toString('hex').slice(0, 40), `ghx_${digest.toString('base64url')}`];
  return { name: `SECRET_${i}`, value: value[i % 3] as string };
});

const line = (i: number) =>
  [
    `2026-01-01T00:00:0${i % 10}.123Z [build] compiled src/components/part-${i}.tsx in ${i % 97} ms (sha256-${createHash('sha256').update(String(i)).digest('base64')})`,
    `  at Object.<anonymous> (/workspace/node_modules/@acme/package-${i % 50}/dist/index.js:${i % 1000}:${i % 80})`,
    `export const value${i} = { name: "item ${i}", path: ["/repos/acme/app", ${i}], enabled: ${i % 2 === 0} };`,
  ].join('\n');
const unit = Array.from({ length: 2_000 }, (_, i) => line(i)).join('\n');

function corpus(hits: boolean): Buffer {
  const one = hits ? unit.replaceAll('item 7', (m) => `${m} ${secrets[7]?.value}`) : unit;
  return Buffer.alloc(BYTES, one);
}

/** MB/s of the fastest of some rounds. */
function speed(data: Buffer, work: (piece: Buffer) => void, bytes = data.length): number {
  let best = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    for (let at = 0; at < bytes; at += PIECE) work(data.subarray(at, at + PIECE));
    best = Math.max(best, bytes / 1e6 / ((performance.now() - start) / 1e3));
  }
  return best;
}

const redactor = new Redactor();
const start = performance.now();
for (const { name, value } of secrets) redactor.add(name, value);
redactor.redact('ready');
const ready = performance.now() - start;
const forms = secrets.flatMap(({ name, value }) =>
  encodingsOf(Buffer.from(value)).map((form) => ({ form: form.toString(), mark: `[secret:${name}]` })),
);
const escaped = forms.map(({ form }) => form.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
const expression = new RegExp(escaped.sort((a, b) => b.length - a.length).join('|'), 'g');

interface Row {
  readonly what: string;
  readonly plain: number;
  readonly hits: number;
}

const [plain, hits] = [corpus(false), corpus(true)];
const measure = (what: string, work: () => (piece: Buffer) => void, bytes?: number): Row => ({
  what,
  plain: speed(plain, work(), bytes),
  hits: speed(hits, work(), bytes),
});

const expected = hits.toString().replace(expression, '').length;
if (expected === hits.length) throw new Error('the corpus holds no secrets: there is nothing to measure');

const piece = hits.subarray(0, PIECE);
const left = new RegExp(expression.source).test(redactor.redact(piece).toString());
if (left || !redactor.matches(piece)) throw new Error('redaction lets some through: there is nothing to measure');

const rows = [
  measure('cordon, values and shapes', () => {
    const redaction = redactor.open();
    return (piece) => void redaction.write(piece, false);
  }),
  measure(
    'replaceAll for each form',
    () => (piece) => {
      let text = piece.toString();
      for (const { form, mark } of forms) text = text.replaceAll(form, mark);
    },
    8 * PIECE,
  ),
  measure('one regular expression', () => (piece) => void piece.toString().replace(expression, '[secret]'), 8 * PIECE),
];

console.log(`${SECRETS} secrets, ${forms.length} forms; ready in ${ready.toFixed(1)} ms`);
console.log('MB/s                        no secrets  with secrets');
for (const { what, plain: a, hits: b } of rows) {
  console.log(what.padEnd(28) + a.toFixed(1).padStart(10) + b.toFixed(1).padStart(14));
}
const ours = rows[0] as Row;
if (Math.min(ours.plain, ours.hits) < LIMIT) {
  console.error(`redaction is below ${LIMIT} MB/s`);
  process.exitCode = 1;
}
