import { z } from 'zod';

/**
 * A run's recording: what came from outside, so that the run can be run again without it. One JSON object a line, beside the log as
 * content, encrypted with the run's key. What is in it went through the run's redactor.
 *
 *   {"k":"start","version":2,"documents":{"organisation":…,"repository":…},"branch":…,"epoch":…,"seed":…}   always the first
 *   {"k":"part","id":…,"digest":…,"leaves":[[path,digest,text,[[kind,word]…]]…]}            before the first question that has it
 *   {"k":"model","id":…,"wire":…,"digest":…,"like":…,"asked":…,"parts":[id…],"status":…,"headers":…}   an answer begins
 *   {"k":"http","id":…,"method":…,"url":…,"status":…,"reason":…,"headers":[[name,value]…]}             another one does
 *   {"k":"piece","of":id,"at":ms,"bytes":base64}      of one of them, as it came; `at` is null for more of the piece before
 *   {"k":"end","of":id,"result":…,"whole":…,"body":{"digest":…,"like":…,"bytes":…}}   an answer without it is not whole
 *   {"k":"mcp","server":…,"method":…,"digest":…,"like":…,"answer":{"result":…}|{"fault":…}}
 *
 * Answers that come at the same time lie between each other. A recording that breaks off is good up to there.
 */
export const RECORDING_MEDIA_TYPE = 'application/vnd.cordon.recording+jsonl';
/** Version 1 had each answer in one line, and no number. */
export const RECORDING_VERSION = 2;

const document = z.strictObject({ file: z.string(), text: z.string() }).nullable();
/** Of an answer or a part: numbers of their own. */
const id = z.int().nonnegative();

const startSchema = z.strictObject({
  k: z.literal('start'),
  version: z.literal(RECORDING_VERSION),
  documents: z.strictObject({ organisation: document, repository: document }),
  /** The branch that the base was named by; null when it was none. */
  branch: z.string().nullable(),
  /** Seconds since 1970 and 32 hex digits, as they were offered to the agent. */
  epoch: z.int().nonnegative(),
  seed: z.string().regex(/^[0-9a-f]{32}$/),
});

/** A conversation is told again with each of its messages: each part of it is kept once. */
const partSchema = z.strictObject({
  k: z.literal('part'),
  id,
  digest: z.string(),
  leaves: z.array(z.tuple([z.string(), z.string(), z.string(), z.array(z.tuple([z.string(), z.string()]))])),
});

const modelSchema = z.strictObject({
  k: z.literal('model'),
  id,
  wire: z.string(),
  /** Of what the agent asked; `like` with what changes from run to run taken out (volatile.ts). */
  digest: z.string(),
  like: z.string(),
  /** The whole question, where the policy keeps all that is said (`prompt_content: full`). */
  asked: z.string().nullable(),
  /** Of the parts of what was asked, to say where two differ. */
  parts: z.array(id),
  status: z.int(),
  headers: z.record(z.string(), z.string()),
});

const httpSchema = z.strictObject({
  k: z.literal('http'),
  id,
  method: z.string(),
  /** With its query: two requests that differ in it have different answers. */
  url: z.string(),
  status: z.int(),
  reason: z.string(),
  headers: z.array(z.tuple([z.string(), z.string()])),
});

const pieceSchema = z.strictObject({
  k: z.literal('piece'),
  of: id,
  /** Milliseconds since the answer's head. */
  at: z.int().nonnegative().nullable(),
  bytes: z.base64(),
});

const endSchema = z.strictObject({
  k: z.literal('end'),
  of: id,
  /** `completed`, or how it broke off. Errors that are whole: `budget`, which had no room for the question; `spent`, at which the run was ended. */
  result: z.string(),
  /** False when more came than is kept. */
  whole: z.boolean(),
  /** Of the body that was sent to a host, `like` as above; null where the host answered before it had all of it, or nobody looked at it. */
  body: z.strictObject({ digest: z.string(), like: z.string(), bytes: z.int().nonnegative() }).nullable().default(null),
});

const mcpSchema = z.strictObject({
  k: z.literal('mcp'),
  server: z.string(),
  method: z.string(),
  /** Of its parameters; `like` with what changes from run to run taken out (volatile.ts). */
  digest: z.string(),
  like: z.string(),
  answer: z.record(z.string(), z.unknown()),
});

export const entrySchema = z.discriminatedUnion('k', [
  startSchema,
  partSchema,
  modelSchema,
  httpSchema,
  pieceSchema,
  endSchema,
  mcpSchema,
]);

export type StartEntry = z.output<typeof startSchema>;
/** What a run knows of its recording's beginning. */
export type Beginning = Omit<StartEntry, 'k' | 'version'>;
export type PartEntry = z.output<typeof partSchema>;
export type ModelEntry = z.output<typeof modelSchema>;
export type HttpEntry = z.output<typeof httpSchema>;
export type PieceEntry = z.output<typeof pieceSchema>;
export type EndEntry = z.output<typeof endSchema>;
export type McpEntry = z.output<typeof mcpSchema>;
export type Entry = z.output<typeof entrySchema>;
