import { crossing } from '../audit/crossing.ts';
import { counted } from '../base/counted.ts';
import { safeText } from '../base/term.ts';
import { type Context, outputOf } from './context.ts';
import type { OutputOptions } from './output.ts';
import { localSecrets, withLog } from './secrets-local.ts';

/** Goes over to the master key that the settings name, or to a new one in a file. */
export async function rotateKey(context: Context, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const { paths, store } = await localSecrets(context);
  const rotation = await withLog(paths, (log, principal) => {
    const common = { run: null, principal, action: 'secret.manage' };
    const intent = { ...common, type: 'secret.key.change' as const, resource: {} };
    return crossing(
      log,
      intent,
      () => store.rotateMasterKey(),
      (result) => ({
        ...common,
        type: 'secret.key.changed' as const,
        resource: result.ok ? { ...result.value } : { from: null, to: null, secrets: 0 },
        outcome: result.ok
          ? { result: 'done' as const, reason: null }
          : { result: 'failed' as const, reason: result.error instanceof Error ? result.error.message : 'unknown' },
      }),
    );
  });
  const { from, to, secrets } = rotation;
  if (out.json) {
    out.document(rotation);
    return;
  }
  const again = from === to ? `a new key in ${to}` : `${to}, and no more with ${from}`;
  out.line(`${counted(secrets, 'secret')} sealed with ${safeText(again)}`);
  out.progress('copies of the data folder from before open with the key from before, and only with that');
}
