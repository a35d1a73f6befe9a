import { decide } from './decide.ts';
import type { EffectivePolicy } from './effective.ts';
import type { ParsedGrants } from './grants.ts';
import type { HostRule } from './host-rules.ts';
import { type HostPattern, isAddress, matchHost } from './hosts.ts';
import { type Layer, type Side, valuesOf } from './rule.ts';

/**
 * What the lists of hosts say besides yes and no. Whether a host may be reached is `decide`'s answer alone; this says
 * what has to be done when it may: look at requests, accept a private address, count bytes.
 */
export interface NetworkHost {
  readonly side: Side;
  readonly pattern: HostPattern;
  /** No method and no path is named: what is sent there need not be looked at for this rule. */
  readonly whole: boolean;
  readonly private: boolean;
  readonly websocket: boolean;
  readonly maxUpload: number | null;
  readonly maxDownload: number | null;
}

export interface HostFacts {
  /** Every request must be judged: TLS is terminated at the gateway. */
  readonly inspect: boolean;
  /** Packages come from there: what is asked for and what is answered is looked at. */
  readonly registry: boolean;
  readonly private: boolean;
  readonly websocket: boolean;
  /** Bytes; the least of all rules that name the host. Null where none says. */
  readonly maxUpload: number | null;
  readonly maxDownload: number | null;
  /** The rules that state a limit: one with a wildcard counts all its names together. */
  readonly limits: readonly NetworkHost[];
}

export function combineNetwork(layers: readonly Layer[], grants: ParsedGrants): readonly NetworkHost[] {
  const lists = layers.map((layer) => ({
    side: layer.side,
    hosts: valuesOf(layer).security?.allowed_network_hosts ?? [],
  }));
  return [...lists, { side: 'grant' as const, hosts: grants.hosts }].flatMap(({ side, hosts }) =>
    networkHosts(side, hosts),
  );
}

export function networkHosts(side: Side, hosts: readonly HostRule[]): readonly NetworkHost[] {
  return hosts.map((host) => ({
    side,
    pattern: host.pattern,
    whole: host.methods === null && host.paths === null,
    private: host.private ?? false,
    websocket: host.websocket ?? false,
    maxUpload: host.maxUpload ?? null,
    maxDownload: host.maxDownload ?? null,
  }));
}

/** Permissions need a rule on each side that there is, as a decision does; limits are the strictest of all. */
export function hostFacts(policy: EffectivePolicy, host: string, port: number): HostFacts {
  const rules = policy.network.filter((rule) => matchHost(rule.pattern, host, port));
  const sides: readonly Side[] = policy.ceiling === null ? ['grant'] : ['grant', 'ceiling'];
  const everySide = (test: (rule: NetworkHost) => boolean) =>
    sides.every((side) => rules.some((rule) => rule.side === side && test(rule)));
  const restricted = sides.some((side) => {
    const own = rules.filter((rule) => rule.side === side);
    return own.length > 0 && !own.some((rule) => rule.whole);
  });
  const registry = policy.dependencies.inspected.includes(host);
  return {
    inspect: restricted || registry || judgesRequests(policy),
    registry,
    private: everySide((rule) => rule.private),
    websocket: everySide((rule) => rule.websocket),
    maxUpload: least(rules.map((rule) => rule.maxUpload)),
    maxDownload: least(rules.map((rule) => rule.maxDownload)),
    limits: rules.filter((rule) => rule.maxUpload !== null || rule.maxDownload !== null),
  };
}

/** A rule that forbids or asks about requests (raw Cedar, `approvals`) cannot be kept without seeing all of them. */
function judgesRequests(policy: EffectivePolicy): boolean {
  return [...policy.slices['net.request'].rules.values()].some((rule) => rule.role !== 'permit');
}

function least(values: readonly (number | null)[]): number | null {
  const stated = values.filter((value) => value !== null);
  return stated.length === 0 ? null : Math.min(...stated);
}

const COMMON_PORTS = [443, 80];

/** True when a connection to the name could be permitted on some port: then, and only then, it may be answered for. */
export function mayResolve(policy: EffectivePolicy, host: string): boolean {
  if (isAddress(host)) return false;
  const listed = policy.network.filter((rule) => matchHost({ ...rule.pattern, port: 0 }, host, 0));
  const ports = new Set([...listed.map((rule) => rule.pattern.port), ...COMMON_PORTS]);
  return [...ports].some((port) => decide(policy, { action: 'net.connect', host, port }).effect !== 'deny');
}
