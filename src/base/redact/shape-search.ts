import { ByteSearch, matchLength } from './byte-search.ts';
import { privateKeyShape, SHAPE_WINDOW, type TokenShape, tokenShapes } from './shapes.ts';

/**
 * The shapes of credentials, found in a stream. Where the shape of an issuer is met, all that could still be part of it goes
 * with it: the *run*. Runs are followed byte by byte, so that one without end takes no memory.
 */

/** Where a run stands. Passed on from one piece of a stream to the next. */
export type RunState = number;
/** The state behind `byte`, or `ENDED` when `byte` is no longer part of the run. */
export type Step = (state: RunState, byte: number) => RunState;
export const ENDED = -1;

export interface Shape {
  readonly id: string;
  readonly prefix: Buffer;
  /** Shapes with the same family follow the same run: one within a run of another says nothing new. */
  readonly family: number;
  /**
   * Bytes of the head that begins at `at`, 0 when it is none, null when only later bytes can say. `before` is the byte in
   * front of it, -1 at the start; `last` when no bytes will follow.
   */
  head(data: Buffer, at: number, before: number, last: boolean): number | null;
  readonly step: Step;
}

/** A run of a PEM block ends behind its end line, at a byte that no PEM has, or here: a missing end must not take all. */
const PEM_BYTES = 16 * 1024;

const EVERY_BYTE = Buffer.from(Uint8Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1');
/** By the characters: a few classes serve all shapes, and each takes time at every start. */
const classes = new Map<string, Uint8Array>();

function classOf(characters: string): Uint8Array {
  const known = classes.get(characters);
  if (known !== undefined) return known;
  const found = new Uint8Array(256);
  for (const [byte] of EVERY_BYTE.matchAll(new RegExp(`[${characters}]`, 'g'))) found[byte.charCodeAt(0)] = 1;
  classes.set(characters, found);
  return found;
}

function tokenShape(shape: TokenShape, prefix: string, family: number): Shape {
  const [body, notBefore] = [classOf(shape.body), classOf(shape.notBefore)];
  const notAfter = shape.notAfter === undefined ? null : classOf(shape.notAfter);
  const head: Shape['head'] = (data, at, before, last) => {
    if (before >= 0 && notBefore[before] === 1) return 0;
    const start = at + prefix.length;
    const end = start + shape.min;
    for (let i = start; i < Math.min(end, data.length); i++) if (body[data[i] as number] === 0) return 0;
    if (end > data.length) return last ? 0 : null;
    if (notAfter === null) return end - at;
    if (end === data.length) return last ? end - at : null;
    return notAfter[data[end] as number] === 1 ? 0 : end - at;
  };
  const step: Step = notAfter === null ? (_, byte) => (body[byte] === 1 ? 0 : ENDED) : () => ENDED;
  return { id: shape.id, prefix: Buffer.from(prefix), family, head, step };
}

function privateKey(family: number): Shape {
  const head = new RegExp(privateKeyShape.head, 'y');
  return {
    id: privateKeyShape.id,
    prefix: Buffer.from(privateKeyShape.prefix),
    family,
    head(data, at, _before, last) {
      const end = Math.min(data.length, at + privateKeyShape.headMax);
      head.lastIndex = 0;
      const found = head.exec(data.toString('latin1', at, end));
      if (found !== null) return found[0].length;
      return last || end < data.length || end === at + privateKeyShape.headMax ? 0 : null;
    },
    step: pemStep,
  };
}

/** Also of PEM as it stands in JSON, with `\n` for line feeds, and of the headers of RFC 1421 (`Proc-Type: 4,ENCRYPTED`). */
const pemBytes = classOf('A-Za-z0-9+/=\\s:,.\\\\-');
const END_LINE = Buffer.from('-----END ');
const DASH = 0x2d;
/** States: bytes × 16 + how much of the end line was seen: 0–8 of `-----END `, 9 within the label, 10–14 its dashes. */
const STATES = 16;
const LABEL = END_LINE.length;
const LAST_DASH = LABEL + 5;

function pemStep(state: RunState, byte: number): RunState {
  const seen = state % STATES;
  const bytes = Math.floor(state / STATES) + 1;
  if (seen === LAST_DASH || bytes > PEM_BYTES || pemBytes[byte] === 0) return ENDED;
  return bytes * STATES + endLineSeen(seen, byte);
}

function endLineSeen(seen: number, byte: number): number {
  if (seen >= LABEL) return byte === DASH ? seen + 1 : LABEL;
  if (END_LINE[seen] === byte) return seen + 1;
  if (byte !== DASH) return 0;
  return seen === 5 ? 5 : 1; // more than five dashes: the last five count
}

const shapes: readonly Shape[] = [
  ...tokenShapes.flatMap((shape, family) => shape.prefixes.map((prefix) => tokenShape(shape, prefix, family))),
  privateKey(tokenShapes.length),
];
export const FAMILIES = tokenShapes.length + 1;

const search = new ByteSearch(
  shapes.map((shape) => shape.prefix),
  SHAPE_WINDOW,
);

export interface ShapeVisitor {
  /** A shape whose head ends at `end`. */
  found(shape: Shape, at: number, end: number): void;
  /** One may begin here: what follows will say. */
  undecided(at: number): void;
}

/**
 * Finds all heads in `data`. `before`: the byte in front of it, -1 at the start of a stream. `skip` says whether a family's
 * run, which another of the family would only repeat, reaches as far as a place.
 */
export function searchShapes(
  data: Buffer,
  before: number,
  last: boolean,
  skip: (family: number, end: number) => boolean,
  visitor: ShapeVisitor,
): void {
  search.scan(data, (at, id) => {
    const shape = shapes[id] as Shape;
    const known = matchLength(data, at, shape.prefix);
    if (known < shape.prefix.length && at + known < data.length) return;
    if (skip(shape.family, at + shape.prefix.length)) return;
    if (known < shape.prefix.length) {
      if (!last) visitor.undecided(at);
      return;
    }
    const head = shape.head(data, at, at === 0 ? before : (data[at - 1] as number), last);
    if (head === null) visitor.undecided(at);
    else if (head > 0) visitor.found(shape, at, at + head);
  });
  if (last) return;
  for (const at of search.beginningsAtEnd(data)) visitor.undecided(at);
}
