import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EnforcementError } from '../../base/errors.ts';
import { defaultLimits } from '../../policy/limits.ts';
import { planLimits } from '../limits.ts';
import type { Control, SandboxDriver } from '../sandbox.ts';

let probed: Promise<readonly Control[]> | undefined;

/**
 * What this machine can enforce, found out by doing it: a sandbox with everything on runs one program and looks at
 * itself. What fails is named with its remedy.
 */
export function probeControls(create: SandboxDriver['create']): Promise<readonly Control[]> {
  probed ??= probe(create);
  return probed;
}

async function probe(create: SandboxDriver['create']): Promise<readonly Control[]> {
  const limits = await planLimits(defaultLimits).then(
    (plan) => plan.controls,
    (error) => [missing('limits', error)],
  );
  const runDir = mkdtempSync(join(tmpdir(), 'cordon-probe-'));
  try {
    const sandbox = await create({
      runId: 'probe',
      runDir,
      workspace: { kind: 'empty' },
      toolbox: { kind: 'usr' },
      limits: { ...defaultLimits, disk: 16 * 1024 * 1024 },
    });
    try {
      const execution = await sandbox.exec({
        argv: ['/bin/sh', '-c', 'cat /proc/self/status'],
        env: { PATH: '/usr/bin:/bin' },
      });
      let status = '';
      for await (const chunk of execution.stdout) status += chunk;
      const exit = await execution.exit;
      if (exit.kind !== 'exited' || exit.code !== 0)
        throw new Error(`a program inside ended with ${JSON.stringify(exit)}`);
      return [...sandbox.controls.map((control) => seen(control, status))];
    } finally {
      await sandbox.destroy();
    }
  } catch (error) {
    return [missing(error instanceof EnforcementError ? error.control : 'sandbox', error), ...limits];
  } finally {
    rmSync(runDir, { recursive: true, force: true });
  }
}

/** What the program inside saw of itself must fit what we believe to have applied. */
function seen(control: Control, status: string): Control {
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1];
  const fits =
    control.name === 'privileges'
      ? /^0+$/.test(field('CapEff') ?? '') && /^0+$/.test(field('CapBnd') ?? '') && field('NoNewPrivs') === '1'
      : control.name === 'seccomp'
        ? field('Seccomp') === '2'
        : true;
  return fits ? control : { ...control, state: 'missing', mechanism: 'a program inside does not see it applied' };
}

function missing(name: string, error: unknown): Control {
  const { message, remedy } = error as { message: string; remedy?: string };
  return {
    name,
    what: 'the sandbox',
    state: 'missing',
    mechanism: message,
    required: true,
    remedy: remedy ?? remedyFor(message),
  };
}

function remedyFor(message: string): string {
  if (!message.includes('unshare')) return 'see SECURITY.md, "What a machine must offer"';
  const setting = (file: string) => {
    try {
      return readFileSync(`/proc/sys/${file}`, 'utf8').trim();
    } catch {
      return undefined;
    }
  };
  if (setting('kernel/unprivileged_userns_clone') === '0') return 'sysctl -w kernel.unprivileged_userns_clone=1';
  if (setting('kernel/apparmor_restrict_unprivileged_userns') === '1')
    return 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0';
  if (setting('user/max_user_namespaces') === '0') return 'sysctl -w user.max_user_namespaces=10000';
  return 'use a kernel with user namespaces (CONFIG_USER_NS)';
}
