import { type Decision, refText } from '../../policy/index.ts';

/** How a crossing ended, in the words of its outcome event. */
export type Result =
  | 'completed'
  | 'denied'
  | 'revoked'
  | 'malformed'
  | 'address_refused'
  | 'resolve_failed'
  | 'connect_failed'
  | 'certificate_refused'
  | 'handshake_refused'
  | 'upstream_malformed'
  | 'upstream_ended'
  | 'guest_ended'
  | 'budget'
  | 'timeout'
  | 'too_many'
  | 'secret_refused'
  | 'package_unknown'
  | 'package_mismatch'
  | 'not_recorded'
  | 'closed'
  | 'audit_unavailable';

const STATUS: Readonly<Record<Result, number>> = {
  completed: 200,
  denied: 403,
  revoked: 403,
  malformed: 400,
  address_refused: 403,
  resolve_failed: 502,
  connect_failed: 502,
  certificate_refused: 502,
  handshake_refused: 403,
  upstream_malformed: 502,
  upstream_ended: 502,
  guest_ended: 400,
  budget: 403,
  timeout: 504,
  too_many: 429,
  secret_refused: 403,
  package_unknown: 403,
  package_mismatch: 502,
  not_recorded: 502,
  closed: 503,
  audit_unavailable: 503,
};

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  408: 'Request Timeout',
  429: 'Too Many Requests',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

export interface RefusalContext {
  readonly host?: string;
  readonly port?: number;
  readonly decision?: Decision;
  readonly remedy?: string;
  readonly cause?: unknown;
  /** Description of the TLS alert that says it best (RFC 8446 §6). */
  readonly alert?: number;
}

/** Why something does not cross, for the guest. It holds nothing the guest does not know: no address, no other run. */
export class Refusal extends Error {
  readonly result: Result;
  readonly context: RefusalContext;

  constructor(result: Result, message: string, context: RefusalContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = 'Refusal';
    this.result = result;
    this.context = context;
  }

  get status(): number {
    return STATUS[this.result];
  }
}

/** A whole response: problem details (RFC 9457) that name the rule and what to write to permit it. */
export function problemResponse(refusal: Refusal, keepAlive: boolean, head: boolean): Buffer {
  const { host, port, decision, remedy } = refusal.context;
  const body = Buffer.from(
    `${JSON.stringify({
      type: `urn:cordon:egress:${refusal.result}`,
      title: refusal.status === 403 ? 'This crossing is not permitted' : 'This crossing failed',
      status: refusal.status,
      detail: refusal.message,
      error: refusal.message, // what npm shows of an answer
      ...(host === undefined ? {} : { host: port === undefined ? host : `${host}:${port}` }),
      ...(decision === undefined ? {} : { rules: decision.rules.map((rule) => `${refText(rule)} ${rule.text}`) }),
      ...optional('remedy', remedy ?? decision?.remedy),
    })}\n`,
  );
  const lines = [
    `HTTP/1.1 ${refusal.status} ${REASONS[refusal.status] ?? 'Error'}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${body.length}`,
    'Cache-Control: no-store',
    `Connection: ${keepAlive ? 'keep-alive' : 'close'}`,
  ];
  const top = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return head ? top : Buffer.concat([top, body]);
}

function optional(key: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [key]: value };
}

/** A fatal alert (RFC 8446 §6), for a guest that speaks TLS and would not read a problem document. */
export function tlsAlert(refusal: Refusal): Buffer {
  const { alert } = refusal.context;
  if (alert !== undefined) return Buffer.from([21, 3, 3, 0, 2, 2, alert]);
  const description = refusal.result === 'handshake_refused' ? 112 : 49; // unrecognized_name, access_denied
  return Buffer.from([21, 3, 3, 0, 2, 2, description]);
}

export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal('connect_failed', 'the connection failed', { cause: error });
}
