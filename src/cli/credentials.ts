import { counted } from '../base/counted.ts';
import { safeText } from '../base/term.ts';
import type { Output } from './output.ts';
import type { RunStory, StoryCredential } from './run-story.ts';

/** What a run was lent, one line each; what was in the sandbox itself is red. */
export function credentialLines(story: RunStory, out: Output): string[] {
  const { bold, dim, red } = out.style;
  const lines = story.credentials.flatMap((credential) => {
    const { granted, revoked, alarms } = credential;
    const { secret, use } = granted.resource;
    const inside = isInside(use);
    const name = inside
      ? red(`${safeText(secret)} was in the sandbox as ${placeText(use)}`)
      : `${safeText(secret)} for ${placeText(use)}`;
    const rules = granted.decision?.rules ?? [];
    return [
      `  ${name} ${dim(`granted ${clock(granted.time)} · ${usedText(credential)}`)}`,
      ...rules.map((rule) => `    ${dim(`rule ${safeText(rule)}`)}`),
      ...(revoked === null ? [] : [`    ${red(`revoked ${clock(revoked)}`)}`]),
      ...(alarms === 0
        ? []
        : [`    ${red(`its placeholder was sent elsewhere ${counted(alarms, 'time')}, and stopped`)}`]),
    ];
  });
  return lines.length === 0 ? [] : ['', bold(`Credentials (${story.credentials.length})`), ...lines];
}

/** For one row: names alone, what was inside in red. */
export function credentialNames(story: RunStory, out: Output): string {
  const all = story.credentials.map(({ granted: { resource } }) =>
    isInside(resource.use) ? out.style.red(`${safeText(resource.secret)} (in the sandbox)`) : safeText(resource.secret),
  );
  const refused = story.secretsRefused.map(({ resource }) => `${safeText(resource.secret)} (refused)`);
  return all.length + refused.length === 0 ? 'none granted' : [...all, ...refused].join(', ');
}

export function credentialJson({ granted, used, lastUsed, revoked, alarms }: StoryCredential) {
  const { secret, grant, use, source, version } = granted.resource;
  return {
    name: secret,
    grant,
    use,
    insideSandbox: isInside(use),
    source,
    version,
    granted: granted.time,
    rules: granted.decision?.rules ?? [],
    used,
    lastUsed,
    revoked,
    alarms,
  };
}

type Use = StoryCredential['granted']['resource']['use'];

function isInside(use: Use): boolean {
  return use.kind === 'env' || use.kind === 'file';
}

function placeText(use: Use): string {
  if (use.kind === 'provider') return `the model provider ${safeText(use.provider)}`;
  if (use.kind === 'header') return `${safeText(use.host)} (${safeText(use.header)})`;
  return use.kind === 'env' ? `$${safeText(use.variable)}` : safeText(use.path);
}

function usedText({ used, lastUsed }: StoryCredential): string {
  if (used === 0) return 'never used';
  return `used ${counted(used, 'time')}${lastUsed === null ? '' : `, last ${clock(lastUsed)}`}`;
}

function clock(time: string): string {
  return `${time.slice(11, 19)} UTC`;
}
