import { parseDuration as readDuration } from '../base/duration.ts';
import { parseSize as readSize } from '../base/size.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';

/** Amounts as documents write them. In a document a number without its unit is a mistake: `memory: 2048` of what? */

/** `2g`, `512m`, `5mb`, `1.5GiB` → bytes; units are powers of 1024, as docker's. */
export function parseSize(value: unknown): Parsed<number> {
  const bytes = typeof value === 'string' && /[a-z]$/i.test(value) ? readSize(value) : null;
  if (bytes === null || bytes < 1) {
    const remedy =
      typeof value === 'number'
        ? `give it a unit: ${value}m, ${value}g`
        : (withUnit(value, /^([\d.]+)\s+([kmgt])(?:i?b)?$/i) ?? 'write a number and a unit: 512m, 2g');
    return refused(`${shown(value)} is no size`, remedy);
  }
  return parsed(bytes);
}

/** `30 minutes` → `write 30m`. */
function withUnit(value: unknown, pattern: RegExp): string | undefined {
  const match = typeof value === 'string' ? pattern.exec(value.trim()) : null;
  return match === null ? undefined : `write ${match[1]}${match[2]?.toLowerCase()}`;
}

const DAY = 86_400_000;

/** `90s`, `30m`, `4h`, `3d`, `1h30m` → milliseconds; from a second to ten years. */
export function parseDuration(value: unknown): Parsed<number> {
  const ms = typeof value === 'string' ? readDuration(value) : null;
  if (ms === null) {
    const remedy =
      typeof value === 'number'
        ? `give it a unit: ${value}s, ${value}m, ${value}h, ${value}d`
        : (withUnit(value, /^(\d+)\s*([smhd])(?:ec|ecs|econds?|in|ins|inutes?|ours?|rs?|ays?)?$/i) ??
          'write a number and a unit: 90s, 30m, 4h, 3d');
    return refused(`${shown(value)} is no duration`, remedy);
  }
  if (ms < 1000 || ms > 3650 * DAY) {
    return refused(`${shown(value)} is no usable duration`, 'write something between 1s and 3650d');
  }
  return parsed(ms);
}

/** US dollars with at most two decimals → cents. */
export function parseUsd(value: unknown): Parsed<number> {
  const cents = typeof value === 'number' ? Math.round(value * 100) : Number.NaN;
  if (!Number.isSafeInteger(cents) || cents < 0 || Math.abs(cents / 100 - Number(value)) > 1e-9) {
    return refused(`${shown(value)} is no amount of US dollars`, 'write a number such as 5 or 2.50');
  }
  return parsed(cents);
}

/** Bytes as a document writes them, exactly: `2g`, `512m`, `1000b`. */
export function sizeText(bytes: number): string {
  return largestUnit(bytes, { t: 1024 ** 4, g: 1024 ** 3, m: 1024 ** 2, k: 1024, b: 1 });
}

/** Milliseconds as a document writes them, exactly: `30m`, `90s`. */
export function durationText(ms: number): string {
  return largestUnit(ms, { d: DAY, h: 3_600_000, m: 60_000, s: 1000, ms: 1 });
}

function largestUnit(value: number, units: Readonly<Record<string, number>>): string {
  for (const [unit, factor] of Object.entries(units)) {
    if (value >= factor && value % factor === 0) return `${value / factor}${unit}`;
  }
  return String(value);
}
