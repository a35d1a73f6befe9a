import type { AuditEvent } from '../audit/event.ts';

type Of<T extends AuditEvent['type']> = Extract<AuditEvent, { type: T }>;

/** One program image that ran. */
export interface StoryCommand {
  readonly started: Of<'command.started'>;
  /** Absent when the log has no end of it. */
  exited?: Of<'command.exited'>;
}

/** One secret that a run was lent. */
export interface StoryCredential {
  readonly granted: Of<'secret.granted'>;
  /** How often its value went out, or into the sandbox. */
  used: number;
  lastUsed: string | null;
  /** When it was taken away before the run's end. */
  revoked: string | null;
  /** How often its placeholder was met where it does not belong. */
  alarms: number;
}

/** What the log says of one run, gathered for a person. */
export interface RunStory {
  created: Of<'run.created'> | null;
  started: Of<'run.started'> | null;
  stopped: Of<'run.stopped'> | Of<'run.lost'> | null;
  policy: Of<'policy.loaded'> | null;
  readonly commands: StoryCommand[];
  /** Every event with a decision that was not a permit, in order. */
  readonly refused: AuditEvent[];
  readonly credentials: StoryCredential[];
  /** Secrets that it asked for and did not get. */
  readonly secretsRefused: Of<'secret.refused'>[];
  readonly files: Of<'file.changed'>[];
  filesSummary: Of<'files.summary'> | null;
  /** Null where no registry was watched. */
  dependencies: Of<'dependencies.recorded'> | null;
  readonly downloaded: Of<'dependency.downloaded'>[];
  readonly mismatched: Of<'dependency.mismatch'>[];
  /** Answers of language models, and requests that got none. */
  readonly models: Of<'llm.response'>[];
  readonly limits: Of<'limit.reached'>[];
  readonly outputs: Of<'output.kept'>[];
  readonly deliveries: (Of<'git.forward.done'> | Of<'delivery.patch.done'>)[];
  recordsLost: number;
  firstSeq: number | null;
  lastSeq: number | null;
}

export async function readStory(events: AsyncIterable<AuditEvent> | Iterable<AuditEvent>): Promise<RunStory> {
  const story: RunStory = {
    created: null,
    started: null,
    stopped: null,
    policy: null,
    commands: [],
    refused: [],
    credentials: [],
    secretsRefused: [],
    files: [],
    filesSummary: null,
    dependencies: null,
    downloaded: [],
    mismatched: [],
    models: [],
    limits: [],
    outputs: [],
    deliveries: [],
    recordsLost: 0,
    firstSeq: null,
    lastSeq: null,
  };
  const running = new Map<number, StoryCommand>();
  for await (const event of events) tell(story, running, event);
  return story;
}

function tell(story: RunStory, running: Map<number, StoryCommand>, event: AuditEvent): void {
  story.firstSeq ??= event.seq;
  story.lastSeq = event.seq;
  if (event.decision !== undefined && event.decision.effect !== 'permit') story.refused.push(event);
  switch (event.type) {
    case 'run.created':
      story.created = event;
      break;
    case 'run.started':
      story.started = event;
      break;
    case 'run.stopped':
    case 'run.lost':
      story.stopped = event;
      break;
    case 'policy.loaded':
      story.policy = event;
      break;
    case 'command.started': {
      const command: StoryCommand = { started: event };
      story.commands.push(command);
      running.set(event.seq, command);
      break;
    }
    case 'command.exited': {
      const command = event.cause === null ? undefined : running.get(event.cause);
      if (command !== undefined) command.exited = event;
      break;
    }
    case 'secret.granted':
      story.credentials.push({ granted: event, used: 0, lastUsed: null, revoked: null, alarms: 0 });
      break;
    case 'secret.refused':
      story.secretsRefused.push(event);
      break;
    case 'secret.used':
    case 'secret.alarm':
    case 'secret.revoked':
      tellOfCredential(story, event);
      break;
    case 'file.changed':
      story.files.push(event);
      break;
    case 'files.summary':
      story.filesSummary = event;
      break;
    case 'dependencies.recorded':
      story.dependencies = event;
      break;
    case 'dependency.downloaded':
      story.downloaded.push(event);
      break;
    case 'dependency.mismatch':
      story.mismatched.push(event);
      break;
    case 'llm.response':
      story.models.push(event);
      break;
    case 'limit.reached':
      story.limits.push(event);
      break;
    case 'recorder.lost':
      story.recordsLost++;
      break;
    case 'output.kept':
      story.outputs.push(event);
      break;
    case 'git.forward.done':
    case 'delivery.patch.done':
      story.deliveries.push(event);
      break;
  }
}

function tellOfCredential(story: RunStory, event: Of<'secret.used' | 'secret.alarm' | 'secret.revoked'>): void {
  for (const credential of story.credentials) {
    const { secret, grant } = credential.granted.resource;
    if (event.type === 'secret.revoked') {
      if (event.resource.secret === secret) credential.revoked ??= event.time;
    } else if (event.resource.grant === grant) {
      if (event.type === 'secret.alarm') credential.alarms++;
      else {
        credential.used++;
        credential.lastUsed = event.time;
      }
    }
  }
}
