import type { Problem } from '../base/errors.ts';
import { hostPatternText, isAddress, matchHost } from './hosts.ts';
import { type Layer, valuesOf } from './rule.ts';
import type { Path } from './source.ts';

/** What a repository's document says that comes to nothing, because another line that it needs is not there. */
export function idleParts(layers: readonly Layer[]): Problem[] {
  return layers
    .filter(({ side }) => side === 'grant')
    .flatMap((layer) => [...hosts(layer), ...secrets(layer), ...models(layer)]);
}

function problem(layer: Layer, path: Path, message: string, remedy: string): Problem[] {
  const yaml = layer.document?.yaml;
  return yaml === undefined ? [] : [{ file: layer.file, ...yaml.place(path, 'key'), message, remedy }];
}

/** Cedar text may open any host: where it permits something, nothing is said. */
function secrets(layer: Layer): Problem[] {
  const { secrets = [], security, rules = '' } = valuesOf(layer);
  if (/\bpermit\b/.test(rules)) return [];
  const listed = security?.allowed_network_hosts ?? [];
  return secrets.flatMap(({ name, use: { host } }, i) => {
    if (host === undefined || listed.some(({ pattern }) => matchHost(pattern, host, pattern.port))) return [];
    return problem(
      layer,
      ['secrets', i, 'use', 'host'],
      `the secret ${name} is for ${host}, and no line lets a run go there`,
      `security: {allowed_network_hosts: [${host}]}`,
    );
  });
}

function models(layer: Layer): Problem[] {
  const policy = valuesOf(layer).llm_policy;
  const { allowed_providers: providers, models: names, default_provider: preferred } = policy ?? {};
  const both = 'a model is permitted by its provider and by its name';
  if (providers !== undefined && names === undefined)
    return problem(
      layer,
      ['llm_policy', 'allowed_providers'],
      'llm_policy.allowed_providers permits nothing: llm_policy.models is not set',
      `${both}: models: ["NAME", "NAME-*"]; cordon providers list tells names`,
    );
  if (providers === undefined && names !== undefined)
    return problem(
      layer,
      ['llm_policy', 'models'],
      'llm_policy.models permits nothing: llm_policy.allowed_providers is not set',
      `${both}: allowed_providers: [NAME]; cordon providers list tells names`,
    );
  if (preferred === undefined || providers === undefined || providers.includes(preferred)) return [];
  return problem(
    layer,
    ['llm_policy', 'default_provider'],
    `llm_policy.default_provider: ${preferred} is not among allowed_providers, and is never used`,
    `write one of ${providers.join(', ')}, or add it to them`,
  );
}

/** What says by its name already that it is no public address. Names are looked up when a run asks for them. */
function hosts(layer: Layer): Problem[] {
  return (valuesOf(layer).security?.allowed_network_hosts ?? []).flatMap((rule, i) => {
    const { host, port } = rule.pattern;
    if (rule.private === true || !(isPrivateAddress(host) || /(^|\.)localhost$/.test(host))) return [];
    return problem(
      layer,
      ['security', 'allowed_network_hosts', i],
      `${hostPatternText(rule.pattern)} is never reached: it is this machine or a private network, which only private: true opens`,
      `write {host: ${host}, port: ${port}, private: true} if that is meant`,
    );
  });
}

/** Of the ranges that people write into policies (RFC 1122, 1918, 3927, 4193, 4291). What really is dialled is judged at the gateway. */
function isPrivateAddress(host: string): boolean {
  return (
    isAddress(host) &&
    /^(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|\[::1\]$|\[f[cd][0-9a-f]{2}:|\[fe[89ab][0-9a-f]:)/.test(
      host,
    )
  );
}
