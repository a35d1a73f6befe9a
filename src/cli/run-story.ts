import type { AuditEvent } from '../audit/event.ts';

type Of<T extends AuditEvent['type']> = Extract<AuditEvent, { type: T }>;

/** One program image that ran. */
export interface StoryCommand {
  readonly started: Of<'command.started'>;
  /** Absent when the log has no end of it. */
  exited?: Of<'command.exited'>;
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
  readonly files: Of<'file.changed'>[];
  filesSummary: Of<'files.summary'> | null;
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
    files: [],
    filesSummary: null,
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
    case 'file.changed':
      story.files.push(event);
      break;
    case 'files.summary':
      story.filesSummary = event;
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
