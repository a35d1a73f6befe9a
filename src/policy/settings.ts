import { PolicyDeniedError, UsageError } from '../base/errors.ts';
import { durationText, sizeText } from './amounts.ts';
import type { CommandRule, EffectivePolicy } from './effective.ts';
import { grantRef, type ParsedGrants } from './grants.ts';
import { defaultLimits, type Limits } from './limits.ts';
import type { GlobLists } from './paths.ts';
import { cite, type Layer, refText, valuesOf } from './rule.ts';
import type { PolicyDocument } from './schema.ts';
import { ownFolder } from './tree-rules.ts';

/** The values of the effective policy that are not rules: the strictest of all layers. */

type LimitKey = keyof NonNullable<PolicyDocument['limits']>;
const limitKeys: Readonly<Record<keyof Limits, LimitKey>> = {
  memory: 'memory',
  cpus: 'cpus',
  pids: 'pids',
  disk: 'disk',
  inodes: 'inodes',
  openFiles: 'open_files',
  wallClock: 'wall_clock',
  output: 'output',
};
const limitOptions: Partial<Record<keyof Limits, string>> = {
  memory: '--memory',
  cpus: '--cpus',
  pids: '--pids',
  disk: '--disk',
  wallClock: '--timeout',
};

function limitText(name: keyof Limits, value: number): string {
  if (name === 'wallClock') return durationText(value);
  return name === 'memory' || name === 'disk' || name === 'output' ? sizeText(value) : String(value);
}

/**
 * A limit that a document states stands, in every layer. One that none states is the default; a request may raise that,
 * unless there is an organisation that does not let requesters grant limits. Throws `PolicyDeniedError` for more.
 */
export function combineLimits(layers: readonly Layer[], grants: ParsedGrants): Limits {
  const organisation = layers.find((layer) => layer.name === 'organisation');
  const free = organisation === undefined || (valuesOf(organisation).requests?.may_grant ?? []).includes('limits');
  const limits: Record<keyof Limits, number> = { ...defaultLimits };
  for (const name of Object.keys(limitKeys) as (keyof Limits)[]) {
    const stated = layers.flatMap((layer) => {
      const value = valuesOf(layer).limits?.[limitKeys[name]];
      return value === undefined ? [] : [{ layer, value }];
    });
    const strictest = stated.sort((a, b) => a.value - b.value)[0];
    const most = strictest?.value ?? (free ? Number.POSITIVE_INFINITY : defaultLimits[name]);
    const wanted = grants.limits[name];
    if (wanted !== undefined && !(wanted > 0))
      throw new UsageError(`a limit of ${wanted} for ${limitKeys[name]} is none`);
    if (wanted !== undefined && wanted > most) throw tooMuch(name, wanted, most, strictest?.layer ?? organisation);
    limits[name] = wanted ?? Math.min(most, strictest === undefined ? defaultLimits[name] : most);
  }
  return limits;
}

function tooMuch(name: keyof Limits, wanted: number, most: number, layer: Layer | undefined): PolicyDeniedError {
  const key = limitKeys[name];
  const option = limitOptions[name] ?? name;
  const text = `limits.${key}: ${limitText(name, most)}`;
  const rule =
    layer === undefined ? undefined : cite(layer, ['limits', key], text, valuesOf(layer).limits?.[key] !== undefined);
  const where = rule === undefined ? text : `${refText(rule)} ${rule.text}`;
  return new PolicyDeniedError(
    `${option} ${limitText(name, wanted)} is more than the policy's ${limitText(name, most)}`,
    [where],
    {
      remedy: `use at most ${option} ${limitText(name, most)}`,
    },
  );
}

/** Intersection of the organisation's list with what the repository and the request grant; null = no list anywhere. */
export function combineCommands(layers: readonly Layer[], grants: ParsedGrants): readonly CommandRule[] | null {
  const listOf = (layer: Layer | undefined): CommandRule[] | null => {
    const list = layer === undefined ? undefined : valuesOf(layer).security?.allowed_commands;
    if (layer === undefined || list === undefined) return null;
    return list.map((command, i) => ({
      ...command,
      rule: cite(layer, ['security', 'allowed_commands', i], `security.allowed_commands: ${command.path}`, true),
    }));
  };
  const ceiling = listOf(layers.find((layer) => layer.side === 'ceiling'));
  const repository = listOf(layers.find((layer) => layer.side === 'grant'));
  const requested = grants.commands.map((command) => ({ ...command, rule: grantRef('--allow-command', command.path) }));
  const granted = repository === null ? null : [...repository, ...requested];
  if (granted === null) return ceiling;
  if (ceiling === null) return unique(granted);
  return unique(
    granted.flatMap((command) => {
      const above = ceiling.find(
        (other) =>
          other.path === command.path &&
          (other.sha256 === null || command.sha256 === null || other.sha256 === command.sha256),
      );
      return above === undefined ? [] : [{ ...command, sha256: command.sha256 ?? above.sha256 }];
    }),
  );
}

function unique(commands: readonly CommandRule[]): CommandRule[] {
  return [...new Map(commands.map((command) => [`${command.path} ${command.sha256}`, command])).values()];
}

export function combineFilesystem(layers: readonly Layer[], grants: ParsedGrants): EffectivePolicy['filesystem'] {
  const lists = (key: 'checkout' | 'write'): GlobLists => [
    ...layers.flatMap((layer) => {
      const list = valuesOf(layer).filesystem?.[key];
      return list === undefined ? [] : [list];
    }),
    ...(grants.paths.length === 0 ? [] : [grants.paths]),
  ];
  const protect = layers.flatMap((layer) => valuesOf(layer).filesystem?.protect ?? []);
  return { checkout: lists('checkout'), write: lists('write'), protect: [...new Set([ownFolder, ...protect])] };
}

const DEFAULT_DEPTH = 50;

export function combineGit(layers: readonly Layer[]): EffectivePolicy['git'] {
  const depths = layers.flatMap((layer) => valuesOf(layer).git?.fetch?.depth ?? []);
  const lines = layers.flatMap((layer) => valuesOf(layer).git?.push?.max_changed_lines ?? []);
  const numbers = depths.filter((depth) => depth !== 'full');
  return {
    fetch: {
      depth: numbers.length > 0 ? Math.min(...numbers) : depths.length > 0 ? 'full' : DEFAULT_DEPTH,
      more: layers.some((layer) => (valuesOf(layer).git?.fetch?.refs ?? []).length > 0),
    },
    push: {
      maxChangedLines: lines.length === 0 ? null : Math.min(...lines),
      signed: layers.some((layer) => valuesOf(layer).git?.push?.signed === 'required') ? 'required' : 'optional',
    },
  };
}

const ISOLATION = ['namespace', 'gvisor', 'vm'] as const;

export function combineSandbox(layers: readonly Layer[]): EffectivePolicy['sandbox'] {
  const stated = layers.flatMap((layer) => valuesOf(layer).sandbox ?? []);
  const floor = Math.max(
    0,
    ...stated.map((sandbox) => (sandbox.isolation === undefined ? 0 : ISOLATION.indexOf(sandbox.isolation))),
  );
  const losses = stated.flatMap((sandbox) => sandbox.recorder?.on_loss ?? []);
  // Layers stand from the organisation down: the first that names a driver has named it.
  const driver = stated.find((sandbox) => sandbox.driver !== undefined)?.driver ?? 'bubblewrap';
  const goesOn = losses.length > 0 && losses.every((loss) => loss === 'continue');
  return { driver, isolation: ISOLATION[floor] ?? 'namespace', recorder: { onLoss: goesOn ? 'continue' : 'fail' } };
}
