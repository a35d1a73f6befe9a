import * as z from 'zod';
import {
  count,
  digest,
  hex,
  none,
  ownWord,
  runId,
  runState,
  type Spec,
  seq,
  text,
  time,
  word,
} from './event-fields.ts';
import { agentSpecs, promptPart } from './event-types-agents.ts';
import { mcpSpecs } from './event-types-mcp.ts';
import { modelSpecs } from './event-types-models.ts';
import { secretSpecs } from './event-types-secrets.ts';
import { signingSpecs } from './event-types-signing.ts';

export * from './event-fields.ts';

const decisions = z.strictObject({ permit: count, deny: count, ask: count });
const exec = z.strictObject({ id: count, path: text, sha256: hex.nullable() });
const transfer = z.strictObject({ ref: text, from: text.nullable(), to: text.nullable(), target: text });
const result = z.strictObject({ result: z.enum(['done', 'failed']), reason: text.nullable() });

const fetched = z.strictObject({ repository: text, ref: text });

/** The table of all types. An outcome's `cause` is the seq of the intent it closes. */
export const specs = {
  'run.created': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        workspace: text,
        base: text,
        branch: text.nullable(),
        paths: z.array(text),
        agent: z.strictObject({ kind: word, argv: z.array(text), maxSteps: count.optional() }),
        task: text.nullable(),
        /** What came with it from others. */
        context: z.array(promptPart()).optional(),
        model: text.nullable().optional(),
        /** The run whose recording answers in place of the world. */
        replayOf: text.optional(),
        /** The lost run that this one goes on from. */
        resumes: text.optional(),
        policyFile: text.nullable(),
        grants: z.strictObject({ net: z.array(text), commands: z.array(text), secrets: z.array(text) }),
        approvals: word,
        deliver: word,
        readOnly: z.boolean(),
        record: z.boolean(),
        limits: z.record(word, z.number()),
      }),
    decision: 'optional',
  },
  'run.started': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        /** The commit it starts from. */
        base: text,
        policyDigest: digest,
        /** Null when the toolbox is the machine's `/usr`. */
        toolboxDigest: digest.nullable(),
        driver: word,
        controls: z.array(z.strictObject({ name: word, state: word, mechanism: text })),
      }),
    decision: 'optional',
  },
  'run.state': { phase: 'fact', resource: () => z.strictObject({ from: ownWord.nullable(), to: ownWord }) },
  'run.stopped': {
    phase: 'outcome',
    closes: ['run.started'],
    resource: () => none,
    outcome: () =>
      z.strictObject({
        status: runState,
        reason: text,
        head: text.nullable(),
        branch: text.nullable(),
        counts: z.strictObject({
          commands: count,
          changedFiles: count,
          outputBytes: count,
          recordsLost: count,
          decisions,
        }),
      }),
  },
  /** Found dead by a later process. It stands for the outcome of every intent of its run that has none; its cause may be null. */
  'run.lost': {
    phase: 'outcome',
    closes: ['run.started'],
    resource: () => none,
    outcome: () => z.strictObject({ reason: text }),
  },
  'policy.loaded': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        layers: z.array(z.strictObject({ layer: text, file: text, digest })),
        effective: digest,
      }),
  },
  /** What the policy says of one file of the toolbox, or of an execve that the recorder stopped. */
  'command.decided': {
    phase: 'fact',
    resource: () => z.strictObject({ requested: text, path: text.nullable(), sha256: hex.nullable() }),
    decision: 'required',
  },
  'command.started': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        id: count,
        pid: count,
        /** `id` of the image that started it; 0 for the trusted side. */
        parent: count,
        argv: z.array(text),
        argvCut: z.boolean(),
        cwd: text,
        requested: text,
        /** When the kernel saw it; `time` is when it was recorded. */
        at: time,
      }),
    decision: 'optional',
  },
  'command.exited': {
    phase: 'outcome',
    closes: ['command.started'],
    resource: () => exec,
    outcome: () =>
      z.strictObject({
        identity: z.enum(['kernel', 'request']),
        how: z.discriminatedUnion('kind', [
          z.strictObject({ kind: z.literal('exited'), code: z.int() }),
          z.strictObject({ kind: z.literal('signalled'), signal: z.int() }),
          z.strictObject({ kind: z.enum(['replaced', 'failed', 'unknown']) }),
        ]),
        argvSeen: z.array(text).optional(),
        durationMs: count,
        at: time,
      }),
  },
  'recorder.lost': { phase: 'fact', resource: () => z.strictObject({ reason: text }) },
  'limit.reached': { phase: 'fact', resource: () => z.strictObject({ limit: word, detail: text }) },
  'file.changed': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        path: text,
        change: z.enum(['added', 'modified', 'deleted']),
        kind: z.enum(['file', 'symlink', 'directory', 'special']),
        before: hex.nullable(),
        after: hex.nullable(),
      }),
  },
  /** All changes of a run in numbers; the list itself is content when it is long. */
  'files.summary': {
    phase: 'fact',
    resource: () => z.strictObject({ added: count, modified: count, deleted: count }),
    content: 'optional',
  },
  'output.kept': {
    phase: 'fact',
    resource: () => z.strictObject({ stream: z.enum(['stdout', 'stderr', 'both']), bytes: count, cut: z.boolean() }),
    content: 'required',
  },
  'network.decided': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        host: text,
        port: count,
        method: text.nullable(),
        path: text.nullable(),
        /** The MCP server whose crossing it is; left out for the agent's. */
        server: text.optional(),
      }),
    decision: 'required',
  },
  'network.closed': {
    phase: 'outcome',
    closes: ['network.decided'],
    resource: () => z.strictObject({ host: text, port: count, address: text.nullable() }),
    outcome: () =>
      z.strictObject({
        result: word,
        status: count.nullable(),
        bytesOut: count,
        bytesIn: count,
        durationMs: count,
      }),
  },
  /** What never came to a decision: bytes without meaning, a name that was asked for and is not answered. */
  'network.unjudged': {
    phase: 'fact',
    resource: () =>
      z.strictObject({ via: z.enum(['proxy', 'http', 'tls', 'dns']), host: text.nullable(), detail: text }),
  },
  /** A package came from a registry, every byte of it; its cause is the crossing's decision. */
  'dependency.downloaded': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        purl: text,
        /** Below which it lies, and where exactly. */
        registry: text,
        url: text,
        integrity: text,
        sha256: hex,
        bytes: count,
        /** As the registry says; null when it does not. */
        published: time.nullable(),
        /** The registry's index names its hash. */
        verified: z.boolean(),
      }),
  },
  /** What came is not what the index says: it was cut before its end. */
  'dependency.mismatch': {
    phase: 'fact',
    resource: () => z.strictObject({ purl: text, url: text, expected: text, found: text }),
  },
  /** Everything a run got from registries, as a CycloneDX document. */
  'dependencies.recorded': {
    phase: 'fact',
    resource: () => z.strictObject({ count, /** SHA-256 of the document. */ sbom: hex, format: text }),
    content: 'required',
  },
  /** A mirror is about to be brought up to date, with the forge's credential; of no run, as the run's policy comes with it. */
  'mirror.fetch': { phase: 'intent', resource: () => z.strictObject({ repository: text }), decision: 'optional' },
  'mirror.fetched': {
    phase: 'outcome',
    closes: ['mirror.fetch'],
    /** `bytes` of the pack that came. */
    resource: () => z.strictObject({ repository: text, refs: count, bytes: count }),
    outcome: () => result,
  },
  /** The guest fetches objects of what it is shown. */
  'git.fetch': { phase: 'intent', resource: () => fetched, decision: 'required' },
  'git.fetched': {
    phase: 'outcome',
    closes: ['git.fetch'],
    resource: () => fetched,
    outcome: () => z.strictObject({ result: z.enum(['done', 'failed']), reason: text.nullable(), bytes: count }),
  },
  ...agentSpecs,
  ...mcpSpecs,
  /** A push as it came in: what the guest asks for, before its objects are looked at. */
  'git.received': {
    phase: 'intent',
    resource: () =>
      z.strictObject({
        repository: text,
        commands: z.array(z.strictObject({ ref: text, from: text.nullable(), to: text.nullable() })),
        packBytes: count,
      }),
  },
  'git.decided': {
    phase: 'outcome',
    closes: ['git.received'],
    resource: () =>
      z.strictObject({
        repository: text,
        ref: text,
        kind: word,
        commits: count,
        changedPaths: count,
        changedLines: count,
      }),
    outcome: () => z.strictObject({ result: z.enum(['accepted', 'refused']), reason: text.nullable() }),
    decision: 'optional',
  },
  ...modelSpecs,
  ...signingSpecs,
  'git.forwarded': { phase: 'intent', resource: () => transfer, decision: 'optional' },
  'git.forward.done': { phase: 'outcome', closes: ['git.forwarded'], resource: () => transfer, outcome: () => result },
  'delivery.patch': {
    phase: 'intent',
    resource: () => z.strictObject({ target: text, digest, bytes: count }),
    decision: 'optional',
  },
  'delivery.patch.done': {
    phase: 'outcome',
    closes: ['delivery.patch'],
    resource: () => z.strictObject({ target: text }),
    outcome: () => result,
  },
  /** What came to a run from outside, so that it can be run again without it. */
  'run.recorded': {
    phase: 'fact',
    resource: () =>
      z.strictObject({ entries: count, bytes: count, /** True when it is not whole. */ cut: z.boolean() }),
    content: 'required',
  },
  /** Every question a run put to its policy, so that another policy can be asked the same; content when it is long. */
  'decisions.recorded': {
    phase: 'fact',
    resource: () =>
      z.strictObject({
        count,
        decided: z.array(
          z.strictObject({ effect: z.enum(['permit', 'deny', 'ask']), action: z.record(text, z.json()) }),
        ),
      }),
    content: 'optional',
  },
  'approval.requested': {
    phase: 'intent',
    resource: () =>
      z.strictObject({ approval: text, summary: text, approvers: z.array(text), count, expiresMs: count }),
    decision: 'required',
  },
  'approval.decided': {
    phase: 'outcome',
    closes: ['approval.requested'],
    resource: () => z.strictObject({ approval: text, subjectDigest: digest }),
    outcome: () => z.strictObject({ answer: z.enum(['approved', 'denied', 'expired']), note: text.nullable() }),
  },
  ...secretSpecs,
  'audit.exported': {
    phase: 'fact',
    resource: () => z.strictObject({ run: runId.nullable(), from: seq, to: seq, records: count, target: text }),
  },
  /** A batch that was being written when its writer died; none of it had been acknowledged. */
  'audit.recovered': {
    phase: 'fact',
    resource: () => z.strictObject({ segment: text, offset: count, discardedBytes: count, discardedDigest: digest }),
  },
  'content.delete': {
    phase: 'intent',
    resource: () => z.strictObject({ run: runId, reason: text }),
    decision: 'optional',
  },
  'content.deleted': {
    phase: 'outcome',
    closes: ['content.delete'],
    resource: () => z.strictObject({ run: runId }),
    outcome: () => result,
  },
  'configuration.changed': {
    phase: 'fact',
    resource: () => z.strictObject({ what: text, before: digest.nullable(), after: digest.nullable() }),
  },
} as const satisfies Record<string, Spec>;
