const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** `512`, `64k`, `5mb`, `2g`, `1.5GiB` → bytes (units of 1,024, in either case); null for anything else or beyond 2^53. */
export function parseSize(text: string): number | null {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)(?:([kmgt])(?:i?b)?|b)?$/i.exec(text.trim());
  if (match === null) return null;
  const bytes = Math.round(Number(match[1]) * (UNITS[(match[2] ?? '').toLowerCase()] as number));
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** `2 GiB`, `1.5 MiB`, `312 B`: at most one digit after the point. */
export function formatSize(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < names.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(1))} ${names[unit]}`;
}
