import { z } from 'zod';

/**
 * A run's recording: what came from outside, so that the run can be run again without it. One JSON object a line, beside the log as
 * content, encrypted with the run's key. What is in it went through the run's redactor.
 *
 *   {"k":"start","documents":{"organisation":…,"repository":…},"branch":…,"epoch":…,"seed":…}   always the first
 *   {"k":"part","id":…,"digest":…,"leaves":[[path,digest,text,[[kind,word]…]]…]}            before the first question that has it
 *   {"k":"model","wire":…,"digest":…,"like":…,"parts":[id…],"status":…,"headers":…,"pieces":[[ms,base64]…],"result":…}
 *   {"k":"http","method":…,"url":…,"body":{"digest":…,"like":…,"bytes":…},"status":…,"reason":…,"headers":[[name,value]…],"pieces":…,"result":…}
 *   {"k":"mcp","server":…,"method":…,"digest":…,"like":…,"answer":{"result":…}|{"fault":…}}
 */
export const RECORDING_MEDIA_TYPE = 'application/vnd.cordon.recording+jsonl';

const document = z.strictObject({ file: z.string(), text: z.string() }).nullable();
/** Milliseconds since its head, and bytes in base64. */
const pieces = z.array(z.tuple([z.int().nonnegative(), z.base64()]));

const startSchema = z.strictObject({
  k: z.literal('start'),
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
  id: z.int().nonnegative(),
  digest: z.string(),
  leaves: z.array(z.tuple([z.string(), z.string(), z.string(), z.array(z.tuple([z.string(), z.string()]))])),
});

const modelSchema = z.strictObject({
  k: z.literal('model'),
  wire: z.string(),
  /** Of what the agent asked; `like` with what changes from run to run taken out (volatile.ts). */
  digest: z.string(),
  like: z.string(),
  /** The whole question, where the policy keeps all that is said (`prompt_content: full`). */
  asked: z.string().nullable(),
  /** Of the parts of what was asked, to say where two differ. */
  parts: z.array(z.int().nonnegative()),
  status: z.int(),
  headers: z.record(z.string(), z.string()),
  pieces,
  result: z.string(),
});

const httpSchema = z.strictObject({
  k: z.literal('http'),
  method: z.string(),
  /** With its query: two requests that differ in it have different answers. */
  url: z.string(),
  /** Of the body that was sent, `like` as above; null where the host answered before it had all of it, or nobody looked at it. */
  body: z.strictObject({ digest: z.string(), like: z.string(), bytes: z.int().nonnegative() }).nullable().default(null),
  status: z.int(),
  reason: z.string(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  pieces,
  /** False when it broke off, or was longer than is kept. */
  complete: z.boolean(),
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

export const entrySchema = z.discriminatedUnion('k', [startSchema, partSchema, modelSchema, httpSchema, mcpSchema]);

export type StartEntry = z.output<typeof startSchema>;
export type PartEntry = z.output<typeof partSchema>;
export type ModelEntry = z.output<typeof modelSchema>;
export type HttpEntry = z.output<typeof httpSchema>;
export type McpEntry = z.output<typeof mcpSchema>;
export type Entry = z.output<typeof entrySchema>;
