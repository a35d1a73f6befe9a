/** One request of the guest's, held against the policy: what it is, as far as it can be said for certain, and whether it may pass. */
import type { PolicyAction } from '../../policy/index.ts';
import type { Crossing } from './crossing.ts';
import { type Gateway, mustInspect } from './gateway.ts';
import type { RequestHead } from './head.ts';
import { overrideIn } from './overrides.ts';
import type { PackageExchange } from './packages/hook.ts';
import { Refusal } from './refusal.ts';
import { judgedPath, type RequestTarget } from './target.ts';

export interface AskedRequest {
  readonly gateway: Gateway;
  readonly scheme: 'http' | 'https';
  readonly head: RequestHead;
  readonly target: RequestTarget;
}

export interface JudgedRequest {
  readonly crossing: Crossing;
  /** As it is sent. */
  readonly path: string;
  /** Null where the host is no registry. */
  readonly packages: PackageExchange | null;
}

const PLAIN_PATH = 'ask for the path in its plain form: no blanks, dots, controls or separators in escapes';

/** Throws `Refusal` for what is denied, and for what is no request that can be judged; both are recorded. */
export async function judgeRequest(asked: AskedRequest): Promise<JudgedRequest> {
  const { gateway, scheme, head, target } = asked;
  const { host, port } = target;
  const inspected = scheme === 'https' || mustInspect(gateway, target);
  const path = judgedPath(target.path);
  if (inspected && !path.ok) throw malformed(asked, path.message, path.remedy ?? PLAIN_PATH);
  // What was judged is what the host is told, in every place where it may look.
  const override = gateway.ledger.facts(target).inspect ? overrideIn(head.headers) : null;
  if (override !== null)
    throw malformed(
      asked,
      `the header ${override} asks for another request than the one that is judged`,
      `leave the header ${override} out`,
    );
  const connect: PolicyAction = { action: 'net.connect', host, port };
  const actions: PolicyAction[] = scheme === 'https' ? [] : [connect];
  if (inspected && path.ok) actions.push({ action: 'net.request', host, port, method: head.method, path: path.value });
  const request = { method: head.method, path: path.ok ? path.value : null };
  const packages = path.ok && inspected ? lookAt(asked, path.value) : null;
  const crossing = await gateway.ledger.enter({ host, port }, request, actions, packages?.narrow);
  return { crossing, path: inspected && path.ok ? path.value : target.path, packages };
}

/** What follows an upgrade are frames and no requests: only where the policy says so. */
export function checkUpgrade({ gateway, head, target }: AskedRequest, { decision }: Crossing): void {
  if (head.upgrade === null || gateway.ledger.facts(target).websocket) return;
  throw new Refusal('denied', `${target.host}:${target.port} is not listed for WebSockets`, {
    ...target,
    decision,
    remedy: `where the policy lists it: {host: "${target.host}", port: ${target.port}, websocket: true}`,
  });
}

function lookAt({ gateway, scheme, head, target }: AskedRequest, path: string): PackageExchange | null {
  const { host, port, query } = target;
  const { method, headers, upgrade } = head;
  const seen = { scheme, host, port, method, path, query, headers, upgrade: upgrade !== null };
  return gateway.packages?.look(seen) ?? null;
}

function malformed({ gateway, scheme, target: { host, port } }: AskedRequest, detail: string, remedy: string): Refusal {
  gateway.unjudged({ via: scheme === 'http' ? 'http' : 'tls', host, detail });
  return new Refusal('malformed', detail, { host, port, remedy });
}
