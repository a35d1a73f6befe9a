import { ED25519, formatPublicKey, parsePublicKey, type SshPublicKey } from './keys.ts';
import { SshFormatError, strictBase64 } from './wire.ts';

/**
 * Allowed signers (ssh-keygen(1), "ALLOWED SIGNERS"): who may sign what with which key, one a line, as git's
 * `gpg.ssh.allowedSignersFile` names it:
 *
 *   <principals, separated by commas> [option[,option]…] ssh-ed25519 <base64> [comment]
 *   options   cert-authority   namespaces="git"   valid-after="20260131120000Z"   valid-before="…"
 *
 * Keys of other types are passed over: they vouch for nothing here. A line that cannot be read is an error.
 */
export interface AllowedSigner {
  /** Patterns with `*` and `?`. */
  readonly principals: readonly string[];
  /** The key does not sign itself; it certifies those that do. */
  readonly certAuthority: boolean;
  /** Patterns; null = every namespace. */
  readonly namespaces: readonly string[] | null;
  /** Milliseconds since 1970; null = not bounded. */
  readonly validAfter: number | null;
  readonly validBefore: number | null;
  readonly key: SshPublicKey;
}

export function formatAllowedSigner(signer: AllowedSigner, comment = ''): string {
  const { principals, certAuthority, namespaces, validAfter, validBefore, key } = signer;
  const options = [
    ...(certAuthority ? ['cert-authority'] : []),
    ...(namespaces === null ? [] : [`namespaces="${namespaces.join(',')}"`]),
    ...(validAfter === null ? [] : [`valid-after="${stamp(validAfter)}"`]),
    ...(validBefore === null ? [] : [`valid-before="${stamp(validBefore)}"`]),
  ];
  const words = [principals.join(','), ...(options.length === 0 ? [] : [options.join(',')])];
  return `${words.join(' ')} ${formatPublicKey(key, comment)}`;
}

function stamp(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:T]|\.\d{3}/g, '');
}

/** Throws `SshFormatError` with the number of the line. */
export function parseAllowedSigners(text: string): readonly AllowedSigner[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) return [];
    try {
      const signer = parseLine(content);
      return signer === null ? [] : [signer];
    } catch (error) {
      if (!(error instanceof SshFormatError)) throw error;
      throw new SshFormatError(`line ${index + 1}: ${error.message}`);
    }
  });
}

const KEY_TYPE = /^(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]+$/;

function parseLine(line: string): AllowedSigner | null {
  // Blanks inside quotes belong to the word.
  const words = line.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  if (words.join('').length !== line.replace(/\s+(?=(?:[^"]*"[^"]*")*[^"]*$)/g, '').length)
    throw new SshFormatError('a quotation mark is not closed');
  const [principals = '', second = '', ...others] = words;
  const hasOptions = !KEY_TYPE.test(second);
  const [type = '', encoded = ''] = hasOptions ? others : [second, ...others];
  if (!KEY_TYPE.test(type)) throw new SshFormatError('there is no key where one is expected');
  const options = hasOptions ? parseOptions(second) : {};
  if (type !== ED25519) return null;
  return {
    principals: list(unquoted(principals)),
    certAuthority: options['cert-authority'] !== undefined,
    namespaces: options.namespaces === undefined ? null : list(options.namespaces),
    validAfter: time(options['valid-after']),
    validBefore: time(options['valid-before']),
    key: parsePublicKey(strictBase64(encoded, 'the key')),
  };
}

function list(text: string): string[] {
  const items = text.split(',');
  if (items.some((item) => item === '')) throw new SshFormatError('an empty name in a list');
  return items;
}

function unquoted(text: string): string {
  return /^"([^"]*)"$/.exec(text)?.[1] ?? text;
}

function parseOptions(text: string): Partial<Record<string, string>> {
  const options: Record<string, string> = {};
  const pattern = /([a-z-]+)(?:="([^"]*)")?(,|$)/iy;
  for (let rest = true; rest; ) {
    const [, name = '', value, comma] = pattern.exec(text) ?? [];
    const key = name.toLowerCase();
    const wanted = { 'cert-authority': false, namespaces: true, 'valid-after': true, 'valid-before': true }[key];
    if (wanted === undefined || wanted !== (value !== undefined) || key in options)
      throw new SshFormatError(`an option that cannot be read: ${JSON.stringify(text.slice(0, 80))}`);
    options[key] = value ?? '';
    rest = comma === ',';
  }
  return options;
}

/** `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`; without Z it would be the local time of whoever reads it, which is refused. */
function time(text: string | undefined): number | null {
  if (text === undefined) return null;
  const match = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?Z$/.exec(text);
  if (match === null)
    throw new SshFormatError(`${JSON.stringify(text)} is not a time in UTC, as 20260131Z or 20260131120000Z`);
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = match
    .slice(1)
    .map((part) => Number(part ?? 0));
  const at = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  if (at.getUTCDate() !== day || at.getUTCMonth() !== month - 1 || hour > 23 || minute > 59 || second > 59)
    throw new SshFormatError(`${JSON.stringify(text)} is no time`);
  return at.getTime();
}

export interface SignerQuestion {
  readonly namespace: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** The authorities that may certify keys for this namespace at this time, with the principals they may name. */
export function authoritiesFor(signers: readonly AllowedSigner[], { namespace, at }: SignerQuestion): AllowedSigner[] {
  return signers.filter(
    (signer) =>
      signer.certAuthority &&
      (signer.namespaces === null || matchesAny(signer.namespaces, namespace)) &&
      (signer.validAfter === null || at >= signer.validAfter) &&
      (signer.validBefore === null || at <= signer.validBefore),
  );
}

/** OpenSSH's pattern lists: one that begins with `!` and matches makes the answer no, whatever else does. */
export function matchesAny(patterns: readonly string[], text: string): boolean {
  if (patterns.some((pattern) => pattern.startsWith('!') && matches(pattern.slice(1), text))) return false;
  return patterns.some((pattern) => !pattern.startsWith('!') && matches(pattern, text));
}

/** Linear in `text` for each star, without a regular expression that a pattern could make slow. */
function matches(pattern: string, text: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') [star, mark] = [p++, t];
    else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, t] = [star + 1, ++mark];
    else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
