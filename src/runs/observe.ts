/** What a run was denied, gathered from its record: what `--observe` makes suggestions from. */
import type { AuditEvent } from '../audit/event.ts';
import { addressKind } from '../gateways/egress/addresses.ts';
import { isAddress } from '../policy/hosts.ts';
import type { Denials, DeniedCrossing, Ungrantable } from '../policy/observe.ts';

type Of<T extends AuditEvent['type']> = Extract<AuditEvent, { type: T }>;
type Decided = Of<'network.decided'>;

/** Denials of one run that are looked at; a guest can provoke any number. */
const MOST = 20_000;

/** Why a crossing that a rule permitted did not come about, where no further rule would have helped. */
const FAILURES: Readonly<Record<string, string>> = {
  malformed: 'it had no meaning: no rule permits what cannot be judged',
  handshake_refused: 'its TLS handshake did not name this host: no rule permits what cannot be judged',
  certificate_refused: 'the server’s certificate does not verify',
  secret_refused: 'a secret went where its rule does not allow it: look at it before anything is permitted',
  budget: 'more bytes than max_upload or max_download permit, where the policy lists it',
};

/** `events`: of one run, in their order. */
export function denialsOf(events: Iterable<AuditEvent>): Denials {
  const found = new Found();
  for (const event of events) found.take(event);
  return found;
}

class Found implements Denials {
  readonly crossings: DeniedCrossing[] = [];
  readonly names: string[] = [];
  readonly commands: string[] = [];
  readonly ungrantable: Ungrantable[] = [];
  /** Permitted, and not over yet. */
  readonly #open = new Map<number, Decided>();

  take(event: AuditEvent): void {
    if (this.crossings.length + this.names.length + this.commands.length + this.ungrantable.length >= MOST) return;
    switch (event.type) {
      case 'network.decided':
        if (event.decision.effect === 'permit') this.#open.set(event.seq, event);
        else this.#denied(event, () => this.#lacked(event));
        break;
      case 'network.closed':
        this.#closed(event);
        break;
      case 'network.unjudged': {
        const { via, host, detail } = event.resource;
        if (via === 'dns' && host !== null) this.names.push(host);
        else this.#cannot(host === null ? via : `${via} ${host}`, `${detail}: no rule permits what has no meaning`);
        break;
      }
      case 'command.decided': {
        const { path, requested } = event.resource;
        if (event.decision.effect !== 'permit') this.#denied(event, () => this.commands.push(path ?? requested));
        break;
      }
      case 'git.fetch':
        if (event.decision.effect !== 'permit') this.#cannot(`git.fetch ${event.resource.ref}`, whyNot(event.decision));
        break;
      case 'git.decided':
        if (event.decision !== undefined && event.decision.effect !== 'permit')
          this.#cannot(`git.push ${event.resource.ref}`, whyNot(event.decision));
        break;
      case 'decisions.recorded':
        for (const { effect, action } of event.resource.decided)
          if (effect !== 'permit' && action.action === 'secret.use')
            this.#cannot(`secret.use ${action.name} for ${action.host}`, 'see `cordon policy explain secret.use`');
    }
  }

  /** What no rule permitted can be granted by one more; what a rule, a ceiling or an approval stood against cannot. */
  #denied(event: Decided | Of<'command.decided'>, grant: () => void): void {
    if (event.decision.rules.length === 0) grant();
    else this.#cannot(subjectOf(event), whyNot(event.decision));
  }

  #closed(event: Of<'network.closed'>): void {
    const decided = event.cause === null ? undefined : this.#open.get(event.cause);
    if (decided === undefined) return;
    this.#open.delete(decided.seq);
    const { result } = event.outcome;
    const why = FAILURES[result];
    // The rule was there: what it lacks is a word of its own.
    if (result === 'address_refused') this.#lacked(decided, { private: true });
    else if (result === 'denied') this.#lacked(decided, { websocket: true });
    else if (why !== undefined) this.#cannot(subjectOf(decided), why);
  }

  #lacked(decided: Decided, words: Pick<DeniedCrossing, 'private' | 'websocket'> = {}): void {
    const { host, port, method, path } = decided.resource;
    // Of an address that is named itself it is known beforehand; of a name only when it is looked up, after the verdict.
    const kind = isAddress(host) ? addressKind(host.replace(/^\[|\]$/g, '')) : 'global';
    if (kind === 'reserved') this.#cannot(subjectOf(decided), 'a reserved address: no host is there');
    else this.crossings.push({ host, port, method, path, ...(kind === 'global' ? {} : { private: true }), ...words });
  }

  #cannot(what: string, why: string): void {
    this.ungrantable.push({ what, why, count: 1 });
  }
}

function subjectOf(event: Decided | Of<'command.decided'>): string {
  if (event.type === 'command.decided') return `command.execute ${event.resource.path ?? event.resource.requested}`;
  const { host, port, method, path } = event.resource;
  return method === null ? `net.connect ${host}:${port}` : `net.request ${method} ${host}:${port}${path ?? ''}`;
}

function whyNot({ rules, reason }: { readonly rules: readonly string[]; readonly reason: string }): string {
  return rules.length === 0 ? reason : rules.join('; ');
}
