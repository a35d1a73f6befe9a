import type { NewEvent, Ticket } from '../../src/audit/log.ts';

/** Events for the tests of the log. */
export const run = '0123456789abcdef';
export const principal = { id: 'user:alice', kind: 'user' } as const;

export function state(to: string, runId: string | null = run): NewEvent {
  return { type: 'run.state', run: runId, principal, action: null, resource: { from: null, to } };
}

export function started(id: number, runId: string = run): NewEvent {
  const resource = {
    id,
    pid: id + 1,
    parent: 0,
    argv: ['true', String(id)],
    argvCut: false,
    cwd: '/workspace',
    requested: 'true',
    at: '2026-01-01T00:00:00.000Z',
  };
  return { type: 'command.started', run: runId, principal, action: 'command.execute', resource };
}

export function exited(id: number, cause: number | Ticket, runId: string = run): NewEvent {
  return {
    type: 'command.exited',
    run: runId,
    principal,
    action: 'command.execute',
    resource: { id, path: '/usr/bin/true', sha256: 'a'.repeat(64) },
    outcome: { identity: 'kernel', how: { kind: 'exited', code: 0 }, durationMs: 3, at: '2026-01-01T00:00:00.003Z' },
    cause,
  };
}
