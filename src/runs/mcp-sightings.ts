import { brief } from '../gateways/mcp/text.ts';
import type { Sightings } from '../gateways/mcp/upstream.ts';
import type { RunScope } from './scope.ts';

/** Events of one server that tell what it did besides answering: enough to see what it was. */
const MOST = 20;

export function sightings(scope: RunScope, server: string): Sightings {
  let told = 0;
  const tell = (what: 'request' | 'garbage', detail: string) => {
    if (++told > MOST) return;
    scope.run.log.enqueue({ type: 'mcp.refused', action: null, resource: { server, what, detail } });
  };
  return {
    asked: (method) => tell('request', brief(method, 100)),
    garbage: (detail) => tell('garbage', brief(detail)),
  };
}
