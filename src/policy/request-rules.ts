/** What a request grants and narrows, as rules of a layer of its own. */
import { UsageError } from '../base/errors.ts';
import { findSecret, grantRef, type ParsedGrants } from './grants.ts';
import { hostPatternText } from './hosts.ts';
import { DEFAULT_FILE, type Layer, type RuleBook, valuesOf } from './rule.ts';
import { allowCommands, compileHosts } from './short-forms.ts';
import { confine } from './tree-rules.ts';

/** Throws `UsageError` for a command outside of /usr where no layer has a list that it could join. */
export function compileRequest(request: Layer, layers: readonly Layer[], grants: ParsedGrants, book: RuleBook): void {
  compileHosts(request, book, grants.hosts, (rule) => grantRef('--allow-net', hostPatternText(rule.pattern)));
  const unlisted = layers.every(
    (layer) => layer.side === 'ceiling' || valuesOf(layer).security?.allowed_commands === undefined,
  );
  const outside = grants.commands.find((command) => unlisted && !/^\/(usr|bin|sbin|lib|lib64)\//.test(command.path));
  if (outside !== undefined) {
    throw new UsageError(
      `--allow-command ${outside.path}: without a list of commands a run has the machine's /usr, and nothing beside it`,
      {
        remedy: `list what the run needs in security.allowed_commands of ${layers.at(-1)?.file ?? DEFAULT_FILE}`,
      },
    );
  }
  allowCommands(request, book, grants.commands, (command) => grantRef('--allow-command', command.path));
  const secrets = grants.secrets.map((name) => ({
    secret: findSecret(name, [...layers].reverse()),
    rule: grantRef('--secret', name),
  }));
  for (const { secret, rule } of secrets) {
    const host = secret.use.host ?? 'sandbox';
    const pattern = `${secret.name} for ${host}`;
    book.pattern('secret.use', {
      text: pattern,
      test: (action) => action.action === 'secret.use' && action.name === secret.name && action.host === host,
    });
    book.add(request, { action: 'secret.use', role: 'permit', rule, entries: [{ pattern, rule }] });
  }
  if (grants.paths.length > 0) {
    const rule = grantRef('--path', grants.paths.join(' '));
    confine(request, book, ['file.read', 'file.write', 'git.push'], grants.paths, rule, 'is outside of --path');
  }
}
