/** The way out of one run: its egress gateway, what programs inside are told of it, and the record of every crossing. */
import { closeSync, existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { timestamp } from '../base/clock.ts';
import { AuditUnavailableError, OutsideError } from '../base/errors.ts';
import type { Egress, ListenerKind } from '../gateways/egress/egress.ts';
import type { EgressLog } from '../gateways/egress/log.ts';
import type { DependencyEvent } from '../gateways/egress/packages/hook.ts';
import { isAddress } from '../policy/hosts.ts';
import { type EffectivePolicy, type McpServer, policyOfServer } from '../policy/index.ts';
import type { ListeningPlace, ListeningSocket } from '../sandbox/sandbox.ts';
import { decideCrossing } from './crossing.ts';
import { type LentSecrets, NO_SECRETS } from './lent.ts';
import { MODELS_PORT } from './models.ts';
import { ORIGIN_PLACE } from './origin.ts';
import {
  BUNDLE,
  javaVariables,
  MCP_PORT,
  PROXY_PORT,
  programFiles,
  proxyVariables,
  TRUSTSTORE,
  trustVariables,
} from './program-settings.ts';
import { egressTape } from './recording/run.ts';
import { recorded } from './run-log.ts';
import type { RunScope } from './scope.ts';

/** Where programs inside find the gateway. */
const LISTENERS: readonly (ListeningPlace & { readonly kind: ListenerKind })[] = [
  { port: PROXY_PORT, how: 'tcp', kind: 'proxy' },
  { port: 80, how: 'tcp-any', kind: 'http' },
  { port: 443, how: 'tcp-any', kind: 'tls' },
  { port: 53, how: 'udp', kind: 'dns' },
  { port: 53, how: 'tcp', kind: 'dns-tcp' },
];

/** Of other ports that hosts are permitted on, so many are served, */
const MORE_PORTS = 16;
/** each at the addresses of so many names. */
const MORE_ADDRESSES = 16;
/** What other gateways of a run listen on. */
const TAKEN: ReadonlySet<number> = new Set([
  ...LISTENERS.map(({ port }) => port),
  ORIGIN_PLACE.port,
  MODELS_PORT,
  MCP_PORT,
]);

/**
 * Programs that know no proxy connect to a name's own port. Listening is at the addresses that stand for names alone, so that
 * programs of the run can have the port on 127.0.0.1; where the names cannot be listed, everywhere. Names that are not
 * permitted on that port are answered too, while there is room. Addresses stand for themselves, and are reached by the proxy.
 */
function furtherListeners(policy: EffectivePolicy, names: Egress['names']): typeof LISTENERS {
  const granted = policy.network.filter(({ side, pattern }) => side === 'grant' && !isAddress(pattern.host));
  const ports = new Set(granted.map(({ pattern }) => pattern.port).filter((port) => !TAKEN.has(port)));
  return [...ports].slice(0, MORE_PORTS).flatMap((port) => {
    const here = granted.map(({ pattern }) => pattern).filter((pattern) => pattern.port === port);
    const own = new Set(here.map(({ host }) => host));
    if (here.some(({ wildcard }) => wildcard) || own.size > MORE_ADDRESSES)
      return [{ port, how: 'tcp-any', kind: 'any' } as const];
    const addresses = [...own, ...names.keys()].flatMap((name) => names.get(name) ?? []);
    const first = [...new Set(addresses)].slice(0, MORE_ADDRESSES);
    return first.map((address) => ({ port, how: address as ListeningPlace['how'], kind: 'any' }) as const);
  });
}

const JAVA = '/usr/bin/java';
/**
 * Milliseconds into a run before its gateway is loaded where nothing is permitted out. Who connects earlier waits in the
 * kernel's queue; a run that ends earlier never pays for it.
 */
const LAZY = 200;

export interface RunNetwork {
  /** Variables for every command of the agent's. */
  readonly env: Readonly<Record<string, string>>;
  /** `/etc/<name>` → what programs are told there. */
  readonly etc: Readonly<Record<string, string>>;
  /** Guest path → file of the trusted side. */
  readonly hostFiles: Readonly<Record<string, string>>;
  /** Where it listens inside. */
  readonly places: readonly ListeningPlace[];
  /** Takes the sockets at these places over, and serves them: now, or where nothing is permitted out a little later. */
  start(sockets: readonly ListeningSocket[]): Promise<void>;
  /** Nothing runs inside any more that could call. */
  rest(): void;
  close(): Promise<void>;
}

/** Whose way out it is: the agent's, or an MCP server's of its own. */
interface Whose {
  readonly policy: EffectivePolicy;
  /** Where its certificates are written. */
  readonly dir: string;
  /** Null for the agent. */
  readonly server: string | null;
}

/** The run's folder exists. Throws when the certificates cannot be written. */
export async function openNetwork(scope: RunScope, secrets: LentSecrets): Promise<RunNetwork> {
  const { policy } = scope.loaded;
  const network = new Network(scope, secrets, { policy, dir: scope.dir, server: null });
  await network.prepare();
  return network;
}

/** Of an MCP server in a sandbox of its own, whose folder exists. */
export async function openServerNetwork(scope: RunScope, server: McpServer, dir: string): Promise<RunNetwork> {
  const policy = policyOfServer(scope.loaded.policy, server);
  const network = new Network(scope, NO_SECRETS, { policy, dir, server: server.name });
  await network.prepare();
  return network;
}

/** Of an MCP server that is asked from here. */
export function serverEgress(scope: RunScope, server: McpServer): Promise<Egress> {
  const policy = policyOfServer(scope.loaded.policy, server);
  return openWayOut(scope, NO_SECRETS, { policy, dir: scope.dir, server: server.name });
}

async function openWayOut(scope: RunScope, { hook, lent }: LentSecrets, whose: Whose): Promise<Egress> {
  const { openEgress } = await import('../gateways/egress/egress.ts');
  const { system, loaded, run, request, io } = scope;
  // What came for a server is in its answers, which are recorded.
  const tape = whose.server === null ? egressTape(scope) : null;
  const judged = { run, request, io, system, loaded: { ...loaded, policy: whose.policy } };
  const egress = await openEgress({
    policy: whose.policy,
    decide: (action, narrow) => decideCrossing(judged, action, narrow),
    log: egressLog(scope, whose.server),
    clock: system.clock,
    runId: run.id,
    onBroken: () => scope.stop.abort(new AuditUnavailableError('what the run sent could not be recorded')),
    ...system.network,
    ...(hook === null ? {} : { secrets: hook }),
    ...(tape === null ? {} : { tape }),
  });
  if (whose.server === null) scope.packages = egress.packages;
  // A tunnel that carries the value must not outlive the permission to use it.
  for (const { host, signal } of lent) signal.addEventListener('abort', () => egress.revoke({ host }), { once: true });
  return egress;
}

class Network implements RunNetwork {
  readonly #scope: RunScope;
  readonly #secrets: LentSecrets;
  readonly #whose: Whose;
  readonly env: Record<string, string> = proxyVariables();
  readonly hostFiles: Record<string, string> = {};
  places: typeof LISTENERS = LISTENERS;
  etc: Record<string, string> = {};
  /** Listening descriptors that nobody serves yet. */
  #waiting: { readonly fd: number; readonly kind: ListenerKind }[] = [];
  #egress: Promise<Egress> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #attaching: Promise<void> | null = null;
  #closed = false;

  constructor(scope: RunScope, secrets: LentSecrets, whose: Whose) {
    this.#scope = scope;
    this.#secrets = secrets;
    this.#whose = whose;
  }

  async prepare(): Promise<void> {
    if (this.#whose.policy.network.length === 0) return;
    const egress = await this.#open();
    const { caBundle, names } = egress;
    this.places = [...LISTENERS, ...furtherListeners(this.#whose.policy, names)];
    await this.#give(BUNDLE, caBundle);
    Object.assign(this.env, trustVariables(), ageVariables(this.#scope));
    this.etc = programFiles();
    if (!existsSync(JAVA)) return;
    const { javaTruststore, TRUSTSTORE_PASSWORD } = await import('../gateways/egress/java-truststore.ts');
    await this.#give(TRUSTSTORE, javaTruststore(caBundle, this.#scope.system.clock.now()));
    Object.assign(this.env, javaVariables(TRUSTSTORE_PASSWORD));
  }

  async #give(path: string, content: string | Buffer): Promise<void> {
    const file = join(this.#whose.dir, basename(path));
    this.hostFiles[path] = file;
    await writeFile(file, content, { mode: 0o644 });
  }

  #open(): Promise<Egress> {
    this.#egress ??= openWayOut(this.#scope, this.#secrets, this.#whose);
    return this.#egress;
  }

  async start(sockets: readonly ListeningSocket[]): Promise<void> {
    this.#waiting = this.places.map(({ kind }, i) => ({ fd: sockets[i] as number, kind }));
    if (this.#egress !== null) return this.#attach();
    const late = () => this.#attach().catch((error) => this.#scope.stop.abort(error));
    this.#timer = setTimeout(() => void late(), LAZY);
  }

  /** Fails with all sockets closed: what connects is refused, and does not wait for somebody who never comes. */
  #attach(): Promise<void> {
    this.#attaching ??= this.#serve().catch((cause) => {
      this.#drop();
      throw new OutsideError(`the way out of this run could not be opened: ${(cause as Error).message}`, { cause });
    });
    return this.#attaching;
  }

  async #serve(): Promise<void> {
    const egress = await this.#open();
    for (let next = this.#next(); next !== undefined; next = this.#next())
      await egress.attach({ fd: next.fd }, next.kind);
  }

  #next() {
    return this.#closed ? undefined : this.#waiting.shift();
  }

  #drop(): void {
    for (const { fd } of this.#waiting.splice(0)) closeSync(fd);
  }

  rest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#attaching === null) this.#drop();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.rest();
    await this.#attaching?.catch(() => {}); // a listener that is just being attached would outlive the gateway
    const egress = await this.#egress?.catch(() => null);
    this.#drop();
    await egress?.close();
    for (const file of Object.values(this.hostFiles)) await rm(file, { force: true });
  }
}

function egressLog({ run }: RunScope, server: string | null): EgressLog {
  return {
    decided: ({ host, port, method, path, decision }) =>
      run.log.append(
        {
          type: 'network.decided',
          action: method === null ? 'net.connect' : 'net.request',
          resource: { host, port, method, path, ...(server === null ? {} : { server }) },
          decision: recorded(decision),
        },
        'agent',
      ),
    async closed(token, { host, port, address, result, status, bytesOut, bytesIn, durationMs }) {
      await run.log.append(
        {
          type: 'network.closed',
          action: null,
          resource: { host, port, address },
          outcome: { result, status, bytesOut, bytesIn, durationMs: Math.round(durationMs) },
          cause: token as number,
        },
        'agent',
      );
    },
    unjudged({ via, host, detail }) {
      run.log.enqueue({
        type: 'network.unjudged',
        action: null,
        resource: { via, host: host?.slice(0, 512) ?? null, detail: detail.slice(0, 1024) },
      });
    },
    dependency: (token, event) => void run.log.enqueue({ ...dependencyEvent(event), cause: token as number }),
  };
}

function dependencyEvent(event: DependencyEvent) {
  if (event.kind === 'mismatch') {
    const { purl, url, expected, found } = event;
    return { type: 'dependency.mismatch', action: null, resource: { purl, url, expected, found } } as const;
  }
  const { purl, registry, url, integrity, sha256, bytes, published, verified } = event;
  const when = published === null ? null : timestamp(published);
  const resource = { purl, registry, url, integrity, sha256, bytes, published: when, verified };
  return { type: 'dependency.downloaded', action: null, resource } as const;
}

/** Where packages must have an age, resolvers are told, so that they choose what the gateway will let through. */
function ageVariables({ loaded, system }: RunScope): Record<string, string> {
  const { minimumAge, inspected } = loaded.policy.dependencies;
  if (minimumAge === null || inspected.length === 0) return {};
  const before = timestamp(system.clock.now() - minimumAge.ms);
  return { npm_config_before: before, PIP_UPLOADED_PRIOR_TO: before, UV_EXCLUDE_NEWER: before };
}
