import { join } from 'node:path';
import type { AuditEvent } from '../../src/audit/event.ts';
import { type AuditLog, openAuditLog } from '../../src/audit/log.ts';
import { readEvents } from '../../src/audit/read.ts';
import { systemClock, type TimerClock } from '../../src/base/clock.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import type { PushJudge } from '../../src/gateways/git/push.ts';
import { type GitServer, startGitServer } from '../../src/gateways/git/server.ts';
import { compilePolicy } from '../../src/policy/index.ts';
import { PushDesk } from '../../src/runs/push-desk.ts';
import { PushReview } from '../../src/runs/push-review.ts';
import type { RunRequest } from '../../src/runs/request.ts';
import { RunLog } from '../../src/runs/run-log.ts';
import type { RunIo } from '../../src/runs/system.ts';
import { branch, pushScene, type Scene, type SceneOptions } from './push-scene.ts';

export interface DeskSceneOptions extends SceneOptions {
  readonly policy?: string;
  readonly clock?: TimerClock;
  /** Who is at the terminal; absent: nobody. */
  readonly ask?: RunIo['ask'];
}

export interface DeskScene {
  readonly scene: Scene;
  readonly desk: PushDesk;
  readonly review: PushReview;
  readonly log: AuditLog;
  readonly server: GitServer;
  events(type?: string): AuditEvent[];
  close(): Promise<void>;
}

const RUN = '0123456789abcdef';
const REQUESTER = { id: 'user:ada@acme.example', kind: 'user' } as const;

/** The gateway as a run has it, with the real judge, policy and log, and the guest's `origin` at it; without a sandbox. */
export async function deskScene(options: DeskSceneOptions = {}): Promise<DeskScene> {
  const scene = await pushScene(options);
  const audit = join(scene.home, 'audit');
  const log = await openAuditLog({ dir: audit, keys: join(scene.home, 'keys') });
  const runLog = new RunLog(log, RUN, REQUESTER, new Redactor());
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text: options.policy ?? 'version: 1\n' } });
  const { repository, quarantine } = scene;
  const review = new PushReview({
    repository,
    branch,
    policy,
    request: requestOf(repository.dir, options.ask !== undefined),
    log: runLog,
    io: {
      signal: new AbortController().signal,
      onProgress: () => {},
      onOutput: () => {},
      notes: false,
      ...(options.ask && { ask: options.ask }),
    },
    clock: options.clock ?? systemClock,
  });
  const desk = new PushDesk({ repository, policy, log: runLog, review, isSigned: async () => false });
  const judge: PushJudge = desk;
  const server = await startGitServer({ quarantine, judge }, { port: 0 });
  scene.guest.git('remote', 'set-url', 'origin', `http://127.0.0.1:${server.port}/origin`);
  return {
    scene,
    desk,
    review,
    log,
    server,
    events: (type) =>
      [...readEvents(audit)].map(({ event }) => event).filter((event) => type === undefined || event.type === type),
    async close() {
      await server.close();
      await log.close();
      await scene.close();
    },
  };
}

function requestOf(workspace: string, present: boolean): RunRequest {
  return {
    requester: REQUESTER,
    workspace,
    repo: null,
    base: 'HEAD',
    branch: null,
    paths: [],
    agent: { kind: 'command', argv: ['sh'] },
    task: null,
    model: null,
    policyFile: null,
    grants: { net: [], commands: [], secrets: [] },
    approvals: present ? 'prompt' : 'deny',
    deliver: 'branch',
    readOnly: false,
    limits: {},
    record: true,
  };
}
