import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { joinCommit } from '../../src/attest/ssh/commit.ts';
import type { AuditEvent } from '../../src/audit/event.ts';
import { openAuditLog } from '../../src/audit/log.ts';
import { readEvents } from '../../src/audit/read.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import { type GitServer, startGitServer } from '../../src/gateways/git/server.ts';
import { compilePolicy } from '../../src/policy/index.ts';
import { RunLog } from '../../src/runs/run-log.ts';
import { RunSigner, type SignerOptions } from '../../src/runs/signing.ts';
import { branch, onlyBranch, pushScene, type Scene, type SceneOptions } from './push-scene.ts';

export interface CommitFields {
  tree?: string;
  parents?: readonly string[];
  author?: string;
  committer?: string;
  /** Lines between the committer and the message, each with its newline. */
  further?: string;
  message?: string | Buffer;
}

export interface SigningSceneOptions extends SceneOptions {
  readonly policy?: string;
  readonly run?: string;
  readonly ask?: SignerOptions['ask'];
  /** Instead of one of its own: several runs of one installation. */
  readonly beside?: SigningScene;
}

export interface SigningScene {
  readonly scene: Scene;
  readonly signer: RunSigner;
  readonly keys: string;
  readonly server: GitServer;
  /** When the run began, in milliseconds since 1970. */
  readonly started: number;
  /** Milliseconds by which the run's clock is ahead. */
  ahead: number;
  /** A commit as git makes it, in this run, now, on the base. */
  commit(fields?: CommitFields): Buffer;
  /** What the shim sends, and what it is told. */
  post(
    body: Buffer | string,
    options?: { path?: string; method?: string; type?: string; headers?: Record<string, string> },
  ): Promise<{ readonly status: number; readonly text: string }>;
  /** The commit with its signature, in the guest's repository; throws when it is refused. */
  signed(payload: Buffer): Promise<{ readonly oid: string; readonly object: Buffer }>;
  events(): AuditEvent[];
  close(): Promise<void>;
}

/** A run's signer behind the git gateway, with a real log, policy and authority, and no sandbox. */
export async function signingScene(options: SigningSceneOptions = {}): Promise<SigningScene> {
  const scene = options.beside?.scene ?? (await pushScene(options));
  const run = options.run ?? '0123456789abcdef';
  const keys = join(scene.home, 'keys');
  const audit = join(scene.home, `audit-${run}`);
  const log = await openAuditLog({ dir: audit, keys });
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text: options.policy ?? 'version: 1\n' } });
  const started = Date.now();
  const made = { ahead: 0 };
  const clock = { now: () => Date.now() + made.ahead, monotonic: () => performance.now() };
  const signer = new RunSigner({
    run,
    requester: 'user:a@acme.example',
    started,
    clock,
    policy,
    log: new RunLog(log, run, { id: 'user:a@acme.example', kind: 'user' }, new Redactor()),
    quarantine: scene.quarantine,
    keys,
    ask: options.ask ?? (async () => {}),
  });
  const sign = (payload: Buffer) => signer.sign(payload);
  const server = await startGitServer({ quarantine: scene.quarantine, judge: onlyBranch(branch), sign }, { port: 0 });
  const format = scene.repository.objectFormat;
  const result: SigningScene = Object.assign(made, {
    scene,
    signer,
    keys,
    server,
    started,
    commit(fields: CommitFields = {}) {
      const who = `Agent <agent@acme.example> ${Math.floor(Date.now() / 1000)} +0000`;
      const { tree = scene.guest.git('rev-parse', 'HEAD^{tree}'), parents = [scene.checkout.base] } = fields;
      const { author = who, committer = who, further = '', message = 'subject\n' } = fields;
      const lines = [`tree ${tree}`, ...parents.map((parent) => `parent ${parent}`)];
      const head = `${lines.join('\n')}\nauthor ${author}\ncommitter ${committer}\n${further}\n`;
      return Buffer.concat([Buffer.from(head), Buffer.from(message)]);
    },
    post(
      body: Buffer | string,
      { path = '/sign/git', method = 'POST', type = 'application/x-git-commit', headers = {} } = {},
    ) {
      return new Promise<{ status: number; text: string }>((resolve, reject) => {
        const all = { 'Content-Type': type, 'Content-Length': String(Buffer.byteLength(body)), ...headers };
        const asked = httpRequest({ port: server.port, host: '127.0.0.1', path, method, headers: all }, (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        });
        asked.on('error', reject);
        asked.end(body);
      });
    },
    async signed(payload: Buffer) {
      const { status, text } = await result.post(payload);
      if (status !== 200) throw new Error(text);
      const object = joinCommit(payload, text, format);
      const oid = scene.guest.bytes(['hash-object', '-w', '-t', 'commit', '--stdin'], object).toString().trim();
      return { oid, object };
    },
    events: () => [...readEvents(audit)].map(({ event }) => event),
    async close() {
      signer.close();
      await server.close();
      await log.close();
      if (options.beside === undefined) await scene.close();
    },
  });
  return result;
}
