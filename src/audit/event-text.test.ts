import { expect, test } from 'vitest';
import * as z from 'zod';
import { eventTypes } from './event.ts';
import { rewriteTexts } from './event-text.ts';
import { type Spec, specs } from './event-types.ts';

const shout = (text: string) => text.toUpperCase();
const digest = `sha256:${'ab'.repeat(32)}`;

test('free texts are changed, at any depth; ids, digests, times and words of a list are not', () => {
  const event = {
    type: 'command.started',
    action: 'command.execute',
    resource: {
      id: 7,
      pid: 8,
      parent: 0,
      argv: ['curl', 'x'],
      argvCut: false,
      cwd: '/w',
      requested: '/bin/curl',
      at: '2026-01-01T00:00:00.000Z',
    },
    decision: { effect: 'deny', rules: ['a'], policyDigest: digest, subjectDigest: digest, reason: 'no' },
  } as const;
  expect(rewriteTexts(event, shout)).toEqual({
    ...event,
    resource: { ...event.resource, argv: ['CURL', 'X'], cwd: '/W', requested: '/BIN/CURL' },
    decision: { ...event.decision, rules: ['A'], reason: 'NO' },
  });
});

test('of one of several forms, the texts of that form', () => {
  const exited = (how: object) => ({ type: 'command.exited', resource: { path: '/a' }, outcome: { how } }) as const;
  expect(rewriteTexts(exited({ kind: 'replaced' }), shout).outcome).toEqual({ how: { kind: 'replaced' } });
  const granted = { type: 'secret.granted', resource: { use: { kind: 'header', host: 'a', header: 'b' } } } as const;
  expect(rewriteTexts(granted, shout).resource).toEqual({ use: { kind: 'header', host: 'A', header: 'B' } });
});

test('also in what may be any JSON', () => {
  const decided = [{ effect: 'deny', action: { path: 'a', list: ['b', 1, { deep: 'c' }] } }];
  const event = { type: 'decisions.recorded', resource: { count: 1, decided } } as const;
  expect(rewriteTexts(event, shout).resource.decided).toEqual([
    { effect: 'deny', action: { PATH: 'A', LIST: ['B', 1, { deep: 'C' }] } },
  ]);
});

test('nothing to change: the very same object', () => {
  const event = { type: 'file.changed', resource: { path: 'a', change: 'added', kind: 'file', before: null } } as const;
  expect(rewriteTexts(event, (text) => text)).toBe(event);
});

test('what programs tell things apart by stays, also when a value of a secret is that word', () => {
  const counts = {
    commands: 1,
    changedFiles: 0,
    outputBytes: 0,
    recordsLost: 0,
    decisions: { permit: 1, deny: 0, ask: 0 },
  };
  const stopped = {
    type: 'run.stopped',
    resource: {},
    outcome: { status: 'succeeded', reason: 'it succeeded', head: null, branch: null, counts },
  } as const;
  expect(rewriteTexts(stopped, shout).outcome).toEqual({ ...stopped.outcome, reason: 'IT SUCCEEDED' });
  const state = { type: 'run.state', resource: { from: 'delivering', to: 'succeeded' } } as const;
  expect(rewriteTexts(state, shout)).toBe(state);
  const closed = {
    type: 'network.closed',
    resource: { host: 'a.example', port: 1, address: null },
    outcome: { result: 'completed', status: 200, bytesOut: 0, bytesIn: 0, durationMs: 0 },
  } as const;
  expect(rewriteTexts(closed, shout).outcome).toBe(closed.outcome);
  const revoked = { type: 'secret.revoked', resource: { secret: 'DB_PASSWORD', runs: [], unanswered: [] } } as const;
  expect(rewriteTexts(revoked, (one) => one.toLowerCase())).toBe(revoked);
});

/** A form that the rewriting does not know would let texts pass as they are. */
test('every part of every event is of a form that is looked into', () => {
  const known = ['object', 'array', 'nullable', 'optional', 'record', 'union', 'lazy'];
  const leaves = ['string', 'number', 'int', 'boolean', 'enum', 'literal', 'undefined'];
  const visit = (schema: z.ZodType): void => {
    const { type } = schema.def;
    expect([...known, ...leaves]).toContain(type);
    if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) visit(schema.unwrap() as z.ZodType);
    else if (schema instanceof z.ZodArray) visit(schema.element as z.ZodType);
    else if (schema instanceof z.ZodRecord) visit(schema.valueType as z.ZodType);
    else if (schema instanceof z.ZodObject) for (const field of Object.values(schema.shape)) visit(field as z.ZodType);
    else if (schema instanceof z.ZodUnion) for (const option of schema.options) visit(option as z.ZodType);
  };
  for (const type of eventTypes) {
    const spec: Spec = specs[type];
    visit(spec.resource());
    if (spec.outcome !== undefined) visit(spec.outcome());
  }
});
