import * as z from 'zod';
import { parseDuration } from './amounts.ts';
import { field, keys, list, nameGlob, textField, truth, whole, word } from './fields.ts';
import { hostRule } from './host-rules.ts';
import { canonicalHost } from './hosts.ts';
import { isServerName, TAKEN } from './mcp-names.ts';
import { type Parsed, parsed, refused, shown } from './parsed.ts';
import { canonicalRequestPath } from './request-paths.ts';

/** `mcp_servers` of the policy document (docs/mcp.md). */

const MOST_SERVERS = 32;

function text(what: string, pattern: RegExp, example: string): z.ZodType<string> {
  return textField(what, (value) =>
    pattern.test(value) ? parsed(value) : refused(`${shown(value)} is no ${what}`, `write something like ${example}`),
  );
}

/** Where a remote server is, as it is dialled; the host is canonical. */
export interface McpUrl {
  readonly text: string;
  readonly host: string;
  readonly port: number;
  /** With its query. */
  readonly path: string;
}

function parseUrl(value: string): Parsed<McpUrl> {
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    return refused(`${shown(value)} is no URL`, 'write something like https://mcp.acme.example/mcp');
  }
  if (url.protocol !== 'https:')
    return refused(`${shown(value)} is not https`, 'a remote server is spoken to over https alone');
  if (url.username !== '' || url.password !== '' || url.hash !== '')
    return refused(`${shown(value)} holds more than an address`, 'a credential is a secret: write `secret: NAME`');
  const host = canonicalHost(url.hostname);
  if (!host.ok) return host;
  const path = canonicalRequestPath(url.pathname);
  if (!path.ok || path.value !== url.pathname)
    return refused(
      `${shown(value)} has a path that can be read in more than one way`,
      'write it without .., // and %2e',
    );
  const port = url.port === '' ? 443 : Number(url.port);
  return parsed({ text: url.href, host: host.value, port, path: `${url.pathname}${url.search}` });
}

const word1 = text('word of a command', /^[^\0]{1,4096}$/, '/usr/bin/node');
const command = list(word1).refine((words) => words[0]?.startsWith('/') === true && words.length <= 100, {
  error: () => 'expected a program by its absolute path, and its arguments: [/usr/bin/node, server.mjs]',
});
const variable = /^[A-Z_][A-Z0-9_]{0,99}$/;
const secretName = text('name of a secret', variable, 'TRACKER_TOKEN');

const server = keys({
  command: command.optional(),
  workspace: word('none', 'read').optional(),
  hosts: list(hostRule).optional(),
  env: z
    .record(z.string().regex(variable), text('value', /^[^\0]{0,4096}$/, 'info'), {
      error: () => 'expected variables (upper case) with texts for values: {LOG_LEVEL: info}',
    })
    .optional(),
  secrets: list(secretName).optional(),
  url: textField('a URL', parseUrl).optional(),
  secret: secretName.optional(),
  private: truth.optional(),
  tools: list(nameGlob('tool', '"get_*"')).optional(),
  timeout: field(parseDuration).optional(),
  calls: whole(1, 100_000).optional(),
}).superRefine((value, context) => {
  const problem = kindProblem(value);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});

type Keys = Readonly<Record<string, unknown>>;

function kindProblem(value: Keys): string | null {
  if (value.command !== undefined && value.url !== undefined)
    return 'a server has a command (it runs in a sandbox of its own) or a url (it is reached over the network), not both';
  const [own, of, other] =
    value.url === undefined
      ? [['secret', 'private'], 'url', 'command']
      : [['workspace', 'hosts', 'env', 'secrets'], 'command', 'url'];
  const stray = own.find((key) => value[key] !== undefined);
  if (stray === undefined || (value.command === undefined && value.url === undefined)) return null;
  return `${stray} is for a server with a ${of}, and this one has a ${other}`;
}

/** Name → what it is. The name is part of a path and of what rules compare with. */
export const mcpServers = z
  .record(z.string(), server, { error: () => 'expected servers by their names: {docs: {command: […], tools: […]}}' })
  .superRefine((servers, context) => {
    const names = Object.keys(servers);
    if (names.length > MOST_SERVERS) context.addIssue({ code: 'custom', message: `more than ${MOST_SERVERS} servers` });
    for (const name of names) {
      if (isServerName(name)) continue;
      context.addIssue({
        code: 'custom',
        path: [name],
        message: TAKEN.includes(name)
          ? `${name} is what Cordon calls tools of its own`
          : `${shown(name)} is no name of a server`,
        params: { remedy: 'write a short name in lower case, such as docs or issue-tracker' },
      });
    }
  });

export type McpServerEntry = z.output<typeof server>;
