import { parseSize } from './amounts.ts';
import { field, keys, list, shortOrLong, textField, truth, whole } from './fields.ts';
import { type HostPattern, hostPatternText, parseHostPattern } from './hosts.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';
import { canonicalMethod, parseRequestPathGlob } from './request-paths.ts';

/** One entry of `allowed_network_hosts`; null methods or paths = all. */
export interface HostRule {
  readonly pattern: HostPattern;
  readonly methods: readonly string[] | null;
  /** Globs over canonical request paths, as written. */
  readonly paths: readonly string[] | null;
  /** The name may stand for a private address, or one of this machine's own. */
  readonly private?: boolean;
  /** A request may become a WebSocket. */
  readonly websocket?: boolean;
  /** Bytes that one run may send there, and receive from there. */
  readonly maxUpload?: number;
  readonly maxDownload?: number;
}

const size = field(parseSize);
const requestPath = textField('a path pattern', (value) => {
  const glob = parseRequestPathGlob(value);
  return glob.ok ? parsed(value) : glob;
});

export const hostRule = shortOrLong<
  HostRule,
  {
    host: string;
    port?: number | undefined;
    methods?: readonly string[] | undefined;
    paths?: readonly string[] | undefined;
    private?: boolean | undefined;
    websocket?: boolean | undefined;
    max_upload?: number | undefined;
    max_download?: number | undefined;
  }
>(
  'a host',
  (value) => withHost(parseHostPattern(value), { methods: null, paths: null }),
  keys({
    host: textField('a host', parsed),
    port: whole(1, 65_535).optional(),
    methods: list(textField('a method', canonicalMethod)).optional(),
    paths: list(requestPath).optional(),
    private: truth.optional(),
    websocket: truth.optional(),
    max_upload: size.optional(),
    max_download: size.optional(),
  }),
  (value) =>
    withHost(longHost(value.host, value.port), {
      methods: value.methods ?? null,
      paths: value.paths ?? null,
      ...(value.private === true ? { private: true } : {}),
      ...(value.websocket === true ? { websocket: true } : {}),
      ...(value.max_upload === undefined ? {} : { maxUpload: value.max_upload }),
      ...(value.max_download === undefined ? {} : { maxDownload: value.max_download }),
    }),
);

function longHost(text: string, port = 443): Parsed<HostPattern> {
  const bare = parseHostPattern(text);
  if (!bare.ok) return bare;
  if (
    hostPatternText(bare.value) !== hostPatternText({ ...bare.value, port: 443 }) ||
    /:\d+$/.test(text.replace(/^\[.*\]/, ''))
  ) {
    return refused(
      `${shown(text)} has a port in its host`,
      `write {host: ${text.replace(/:\d+$/, '')}, port: ${bare.value.port}}`,
    );
  }
  return parsed({ ...bare.value, port });
}

function withHost(pattern: Parsed<HostPattern>, rest: Omit<HostRule, 'pattern'>): Parsed<HostRule> {
  return pattern.ok ? parsed({ pattern: pattern.value, ...rest }) : pattern;
}
