import { expect, test } from 'vitest';
import type { AuditEvent } from '../audit/event.ts';
import { denialsOf } from './observe.ts';

let seq = 0;
const decision = (effect: string, ...rules: string[]) => ({ effect, rules, reason: 'the reason' });

function event(type: string, fields: Record<string, unknown>): AuditEvent {
  return { seq: seq++, type, cause: null, ...fields } as unknown as AuditEvent;
}

function decided(target: string, verdict: object, request: [string, string | null] | null = null): AuditEvent {
  const { hostname, port } = new URL(`http://${target}`);
  const [method, path] = request ?? [null, null];
  return event('network.decided', {
    resource: { host: hostname, port: Number(port), method, path },
    decision: verdict,
  });
}

function closed(of: AuditEvent, result: string): AuditEvent {
  return event('network.closed', { cause: of.seq, resource: {}, outcome: { result } });
}

test('what no rule permitted can be granted; what a rule stood against cannot', () => {
  const { crossings, ungrantable } = denialsOf([
    decided('a.example:443', decision('deny')),
    decided('b.example:8080', decision('deny'), ['GET', '/x']),
    decided('c.example:443', decision('deny', '/etc/cordon/policy.yaml:7 the ceiling')),
    decided('d.example:443', decision('ask', '.cordon/policy.yaml:9 approvals')),
    decided('e.example:443', decision('permit')),
  ]);
  expect(crossings).toEqual([
    { host: 'a.example', port: 443, method: null, path: null },
    { host: 'b.example', port: 8080, method: 'GET', path: '/x' },
  ]);
  expect(ungrantable).toEqual([
    { what: 'net.connect c.example:443', why: '/etc/cordon/policy.yaml:7 the ceiling', count: 1 },
    { what: 'net.connect d.example:443', why: '.cordon/policy.yaml:9 approvals', count: 1 },
  ]);
});

test('a fetch that was refused or asked about is told, and nothing is made up that would permit it', () => {
  const fetch = (ref: string, verdict: object) => event('git.fetch', { resource: { ref }, decision: verdict });
  const { ungrantable, ...rest } = denialsOf([
    fetch('refs/heads/main', decision('deny', '.cordon/policy.yaml:4 rules')),
    fetch('refs/heads/release/1', decision('permit')),
    fetch('refs/heads/release/2', decision('ask', '.cordon/policy.yaml:9 approvals')),
  ]);
  expect(ungrantable.map(({ what, why }) => `${what}: ${why}`)).toEqual([
    'git.fetch refs/heads/main: .cordon/policy.yaml:4 rules',
    'git.fetch refs/heads/release/2: .cordon/policy.yaml:9 approvals',
  ]);
  expect(rest).toMatchObject({ crossings: [], names: [], commands: [] });
});

test('what a rule permitted and did not suffice for: private addresses, WebSockets, and what nothing helps', () => {
  const events = ['address_refused', 'denied', 'budget', 'secret_refused', 'completed', 'connect_failed'].flatMap(
    (result) => {
      const start = decided(`${result.replace('_', '-')}.example:8080`, decision('permit'), ['GET', '/live']);
      return [start, closed(start, result)];
    },
  );
  const { crossings, ungrantable } = denialsOf(events);
  expect(crossings).toEqual([
    { host: 'address-refused.example', port: 8080, method: 'GET', path: '/live', private: true },
    { host: 'denied.example', port: 8080, method: 'GET', path: '/live', websocket: true },
  ]);
  expect(ungrantable.map(({ what }) => what)).toEqual([
    'net.request GET budget.example:8080/live',
    'net.request GET secret-refused.example:8080/live',
  ]);
});

test('addresses: private ones are known at sight, reserved ones lead nowhere', () => {
  const start = decided('192.0.2.1:8080', decision('permit'));
  const { crossings, ungrantable } = denialsOf([
    decided('10.0.0.1:8080', decision('deny')),
    decided('[::1]:8080', decision('deny')),
    decided('9.9.9.9:8080', decision('deny')),
    decided('198.51.100.1:8080', decision('deny')),
    start,
    closed(start, 'address_refused'),
  ]);
  expect(crossings.map(({ host, private: own }) => [host, own ?? false])).toEqual([
    ['10.0.0.1', true],
    ['[::1]', true],
    ['9.9.9.9', false],
  ]);
  expect(ungrantable).toMatchObject([
    { what: 'net.connect 198.51.100.1:8080' },
    { what: 'net.connect 192.0.2.1:8080' },
  ]);
});

test('names, programs, pushes, secrets, and what had no meaning', () => {
  const unjudged = (via: string, host: string | null) =>
    event('network.unjudged', { resource: { via, host, detail: 'a detail' } });
  const { names, commands, ungrantable } = denialsOf([
    unjudged('dns', 'a.example'),
    unjudged('dns', null),
    unjudged('tls', 'b.example'),
    event('command.decided', { resource: { requested: '/bin/perl', path: null }, decision: decision('deny') }),
    event('git.decided', { resource: { ref: 'refs/heads/main' }, decision: decision('deny', 'p.yaml:3 branches') }),
    event('decisions.recorded', {
      resource: {
        decided: [
          { effect: 'deny', action: { action: 'secret.use', name: 'TOKEN', host: 'a.example' } },
          { effect: 'deny', action: { action: 'net.connect', host: 'a.example', port: 443 } },
          { effect: 'permit', action: { action: 'secret.use', name: 'OTHER', host: 'a.example' } },
        ],
      },
    }),
  ]);
  expect({ names, commands }).toEqual({ names: ['a.example'], commands: ['/bin/perl'] });
  expect(ungrantable.map(({ what }) => what)).toEqual([
    'dns',
    'tls b.example',
    'git.push refs/heads/main',
    'secret.use TOKEN for a.example',
  ]);
});

test('what a guest can provoke is bounded', () => {
  const endless = Array.from({ length: 30_000 }, () => decided('a.example:443', decision('deny')));
  expect(denialsOf(endless).crossings).toHaveLength(20_000);
});
