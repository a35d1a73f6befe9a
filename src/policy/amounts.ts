import { type Parsed, parsed, refused, shown } from './parsed.ts';

const SIZE_UNITS: Readonly<Record<string, number>> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** `2g`, `512m`, `5mb`, `1.5GiB` → bytes; units are powers of 1024, as docker's. */
export function parseSize(value: unknown): Parsed<number> {
  const match = typeof value === 'string' ? /^(\d{1,9}(?:\.\d{1,3})?)\s*(b|[kmgt](?:i?b)?)$/i.exec(value) : null;
  if (match === null) {
    const remedy =
      typeof value === 'number' ? `give it a unit: ${value}m, ${value}b` : 'write a number and a unit: 512m, 2g';
    return refused(`${shown(value)} is no size`, remedy);
  }
  const bytes = Number(match[1]) * (SIZE_UNITS[match[2]?.[0]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!(bytes >= 1) || bytes > Number.MAX_SAFE_INTEGER)
    return refused(`${shown(value)} is no usable size`, 'write at least 1b');
  return parsed(Math.floor(bytes));
}

const DURATION_UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `4h`, `3d`, `1h30m` → milliseconds. */
export function parseDuration(value: unknown): Parsed<number> {
  const text = typeof value === 'string' && /^(\d{1,6}[smhd])+$/i.test(value) ? value.toLowerCase() : undefined;
  if (text === undefined) {
    const remedy =
      typeof value === 'number'
        ? `give it a unit: ${value}s, ${value}m`
        : 'write a number and a unit: 90s, 30m, 4h, 3d';
    return refused(`${shown(value)} is no duration`, remedy);
  }
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)([smhd])/g))
    total += Number(number) * (DURATION_UNITS[unit ?? ''] ?? Number.NaN);
  if (!(total > 0) || total > 3650 * 86_400_000)
    return refused(`${shown(value)} is no usable duration`, 'write something between 1s and 3650d');
  return parsed(total);
}

/** US dollars with at most two decimals → cents. */
export function parseUsd(value: unknown): Parsed<number> {
  const cents = typeof value === 'number' ? Math.round(value * 100) : Number.NaN;
  if (!Number.isSafeInteger(cents) || cents < 0 || Math.abs(cents / 100 - Number(value)) > 1e-9) {
    return refused(`${shown(value)} is no amount of US dollars`, 'write a number such as 5 or 2.50');
  }
  return parsed(cents);
}

/** Bytes as a person writes them: `2g`, `512m`. Exact: the largest unit that divides. */
export function sizeText(bytes: number): string {
  for (const unit of ['t', 'g', 'm', 'k']) {
    const factor = SIZE_UNITS[unit] ?? 1;
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}b`;
}

/** Milliseconds as a person writes them: `30m`, `4h`. */
export function durationText(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const factor = DURATION_UNITS[unit] ?? 1;
    if (ms >= factor && ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return `${ms} ms`;
}
