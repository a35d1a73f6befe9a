import type { Socket } from 'node:net';
import type { Inlet } from './inlet.ts';
import type { Crossing } from './ledger.ts';
import type { EgressLimits } from './limits.ts';
import { joinTunnel } from './tunnel.ts';

/** After 101 the connection carries frames, which nobody judges: that is why a rule has to name WebSockets. */
export function joinUpgraded(guest: Inlet, host: Inlet, crossing: Crossing, limits: EgressLimits): Promise<void> {
  const early = host.release();
  const upstream = host.stream as Socket;
  if (early.length > 0) upstream.unshift(early);
  return joinTunnel(guest, upstream, null, crossing, limits);
}
