/** A guest makes an event with each request that is denied: neither the log nor the memory behind it is its to fill. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { openAuditLog } from '../../src/audit/log.ts';
import { readEvents } from '../../src/audit/read.ts';
import type { LimitError } from '../../src/base/errors.ts';
import { Redactor } from '../../src/base/redact/index.ts';
import { Ledger } from '../../src/gateways/egress/ledger.ts';
import { defaultEgressLimits } from '../../src/gateways/egress/limits.ts';
import { compilePolicy, decide } from '../../src/policy/index.ts';
import type { RunAgent } from '../../src/runs/agent.ts';
import type { Found } from '../../src/runs/discover.ts';
import type { RunLedger } from '../../src/runs/ledger.ts';
import type { LoadedPolicy } from '../../src/runs/policy-layers.ts';
import type { RunRequest } from '../../src/runs/request.ts';
import { RunLog, recorded } from '../../src/runs/run-log.ts';
import { RunScope } from '../../src/runs/scope.ts';
import type { RunIo, System } from '../../src/runs/system.ts';

const root = mkdtempSync(join(tmpdir(), 'cordon-flood-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const policy = await compilePolicy({
  repository: { file: 'policy.yaml', text: 'version: 1\nsecurity: {allowed_network_hosts: ["allowed.example:443"]}\n' },
});

test('denials without end come to the end of what one run may record, which ends the run, once', async () => {
  const dir = join(root, 'audit');
  const log = await openAuditLog({ dir, keys: join(root, 'keys') });
  const run = new RunLog(log, '0123456789abcdef', { id: 'user:a@acme.example', kind: 'user' }, new Redactor(), 50_000);
  const stops: LimitError[] = [];
  run.whenFull((why) => stops.push(why));
  const deny = (path: string) => {
    const decision = run.decide(policy, { action: 'net.connect', host: 'evil.example', port: 80 });
    const resource = { host: 'evil.example', port: 80, method: 'GET', path };
    return run.append(
      { type: 'network.decided', action: 'net.request', resource, decision: recorded(decision) },
      'agent',
    );
  };
  for (let i = 0; i < 6; i++) await deny(`/${'a'.repeat(6000)}`);
  expect(stops).toEqual([]);
  for (let i = 0; i < 6; i++) await deny(`/${'a'.repeat(6000)}`);
  expect(stops.map(({ code, limit }) => ({ code, limit }))).toEqual([{ code: 'limit_exceeded', limit: 'record' }]);
  await log.close();
  // What happened before the run is over is in the record all the same.
  expect([...readEvents(dir)].length).toBe(12);
});

test('a run whose record is full before anybody waits for that is ended all the same', async () => {
  const log = await openAuditLog({ dir: join(root, 'early'), keys: join(root, 'early-keys') });
  const run = new RunLog(log, '0123456789abcdef', { id: 'user:a@acme.example', kind: 'user' }, new Redactor(), 1024);
  const resource = { host: 'evil.example', port: 80, method: 'GET', path: `/${'a'.repeat(2000)}` };
  const decision = recorded(run.decide(policy, { action: 'net.connect', host: 'evil.example', port: 80 }));
  await run.append({ type: 'network.decided', action: 'net.request', resource, decision }, 'agent');
  const request = { readOnly: true } as RunRequest;
  const system = { clock: { now: () => 0 }, organisation: null, runs: root } as unknown as System;
  const found = { repository: {}, document: null } as unknown as Found;
  const ledger = { id: '0123456789abcdef', log: run } as unknown as RunLedger;
  const loaded = {} as LoadedPolicy;
  const { stop } = new RunScope(system, request, {} as RunIo, found, loaded, ledger, new Redactor(), {} as RunAgent);
  expect(stop.signal.reason).toMatchObject({
    limit: 'record',
    message: expect.stringMatching(/full: 1(\.0)? ki?b of events/i),
    remedy: expect.stringContaining('cordon runs show 0123456789abcdef'),
  });
  await log.close();
});

test('hosts that are denied are not remembered', async () => {
  const ledger = new Ledger({
    policy,
    decide: (action) => decide(policy, action),
    log: { decided: async () => 1, closed: () => {}, unjudged: () => {}, dependency: () => {} },
    clock: { now: () => 0, monotonic: () => 0 },
    limits: defaultEgressLimits,
    onBroken: () => {},
  });
  const budgets = vi.spyOn(ledger, 'budgets');
  for (let i = 0; i < 10; i++) {
    const target = { host: `x${i}.example`, port: 443 };
    await expect(ledger.enter(target, null, [{ action: 'net.connect', ...target }])).rejects.toThrow();
  }
  expect(budgets).not.toHaveBeenCalled();
  const target = { host: 'allowed.example', port: 443 };
  const crossing = await ledger.enter(target, null, [{ action: 'net.connect', ...target }]);
  crossing.up(1);
  expect(budgets).toHaveBeenCalledTimes(1);
});
