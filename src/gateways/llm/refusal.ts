import type { ModelLog, ModelResult } from './ledger.ts';
import type { Problem } from './wire/wire.ts';

/** Why a request gets no answer from a model, as its caller is told. */
export class ModelRefusal extends Error implements Problem {
  readonly status: number;
  readonly code: string;
  readonly result: ModelResult;
  /** An event tells of it already. */
  recorded = false;
  /** The caller has heard of it in the middle of its stream. */
  told = false;
  /** A budget is not used up, but too small for this request alone. */
  never = false;
  /** What a person can do about it. */
  remedy: string | null = null;

  constructor(result: ModelResult, status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.result = result;
    this.status = status;
    this.code = code;
  }
}

export function badRequest(message: string, status = 400): ModelRefusal {
  return new ModelRefusal('denied', status, 'invalid_request', message);
}

export function denied(message: string): ModelRefusal {
  return new ModelRefusal('denied', 403, 'policy_denied', message);
}

/** As any error becomes one; what was not foreseen shows nothing of itself. */
export function asModelRefusal(error: unknown): ModelRefusal {
  return error instanceof ModelRefusal
    ? error
    : new ModelRefusal('cut', 502, 'gateway_error', 'the request could not be carried out', { cause: error });
}

/** Records a refusal that came before any decision, once. */
export function unjudged(log: ModelLog, what: string, refusal: ModelRefusal): ModelRefusal {
  if (!refusal.recorded) log.unjudged({ what, detail: refusal.message });
  refusal.recorded = true;
  return refusal;
}
