import { loginName } from '../base/login.ts';
import { loadSettings } from '../config/load.ts';
import { resolvePaths } from '../config/paths.ts';
import type { RunRequest } from '../runs/request.ts';
import { approvalPrompt } from './approval-prompt.ts';
import { type Context, outputOf } from './context.ts';
import { GuestOutput } from './guest-output.ts';
import { withRun } from './local.ts';
import type { OutputOptions } from './output.ts';
import { progressLine } from './run.ts';
import { requester } from './run-request.ts';
import { exitCodeOf, summaryLines } from './run-summary.ts';

/** Ends as `cordon run` does. */
export async function resume(context: Context, id: string, options: OutputOptions): Promise<void> {
  const out = outputOf(context, options);
  const settings = await loadSettings(resolvePaths(context.env).configFile);
  const run = await withRun(context, id, async (record) => record.id);
  const [{ composeSystem }, { resumeRun }, { findRun }] = await Promise.all([
    import('../compose.ts'),
    import('../runs/resume.ts'),
    import('../runs/registry.ts'),
  ]);
  const { secrets, network, forges, mcp_folders: mcpFolders } = settings;
  const system = await composeSystem({ secrets, network, forges, mcpFolders }); // which closes it, if nothing has yet
  const guest = new GuestOutput(out);
  const ask = approvalPrompt(context, out);
  try {
    const record = await findRun(system.store, run);
    const result = await resumeRun(system, record, requester(settings, loginName()), {
      signal: context.signal,
      onProgress: (progress) => out.progress(progressLine(out, progress)),
      notes: !out.quiet,
      onOutput: (stream, chunk) => guest.write(stream, chunk),
      ...(ask === undefined ? {} : { ask }),
    });
    context.exitCode = exitCodeOf(result.status);
    guest.end();
    if (out.json) out.document(result);
    else out.line(...summaryLines(result, record.request as unknown as RunRequest, out, context.cwd));
  } finally {
    guest.end();
    await system.close();
  }
}
