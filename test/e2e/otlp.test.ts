/** A run as OpenTelemetry spans: a view of the record that dashboards read. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OtlpTraces, Span } from '../../src/audit/otlp.ts';
import { ModelServer } from '../fakes/models/server.ts';
import { Installation, Project } from '../fakes/project.ts';

const site = new Installation();
let upstream: ModelServer;
let project: Project;

beforeAll(async () => {
  upstream = await new ModelServer(() => ({ text: 'hi', usage: { input: 30, output: 4, cached: 10 } })).start();
  project = new Project(join(site.root, 'repository'));
  project.write(
    '.cordon/policy.yaml',
    'version: 1\nllm_policy: {allowed_providers: [acme], models: ["m-*"]}\nsecurity: {allowed_network_hosts: [acme.example]}\n',
  );
  project.commit('first');
  site.cordon(
    ...['providers', 'add', 'acme', '--driver', 'openai-compatible', '--base-url', `${upstream.url}/v1`],
    ...['--model', 'm-1', '--model', 'm-2', '--price', '1/2'],
  );
});
afterAll(async () => {
  await upstream.close();
  site.dispose();
});

const ask = `my $b = q({"model":"m-1","messages":[]}); my $s = IO::Socket::INET->new("127.0.0.1:4141"); print $s "POST /v1/chat/completions HTTP/1.0\\r\\nAuthorization: Bearer $ENV{OPENAI_API_KEY}\\r\\nContent-Length: @{[length $b]}\\r\\n\\r\\n$b"; local $/; <$s>`;
const denied = `my $s = IO::Socket::INET->new("127.0.0.1:3128"); print $s "CONNECT evil.example:443 HTTP/1.1\\r\\nHost: evil.example:443\\r\\nConnection: close\\r\\n\\r\\n"; local $/; <$s>`;

test('the run, its commands, its crossings and its requests to models, one below the other', async () => {
  const script = `perl -MIO::Socket::INET -e '${ask}'; perl -MIO::Socket::INET -e '${denied}'; sh -c 'exit 3'; true`;
  const { result } = await site.start(project, script).done;
  const file = join(site.root, 'spans.json');
  const exported = site.cordon('audit', 'export', file, '--run', result.runId, '--otlp');
  expect(exported.status, exported.stderr).toBe(0);
  const { resourceSpans } = JSON.parse(readFileSync(file, 'utf8')) as OtlpTraces;
  const { spans } = resourceSpans[0].scopeSpans[0];
  const [root] = spans;
  const value = (span: Span | undefined, key: string) =>
    Object.values(span?.attributes.find((one) => one.key === key)?.value ?? {})[0];
  expect(root?.name).toBe('invoke_agent command');
  expect(root?.parentSpanId).toBeUndefined();
  const ids = new Set(spans.map(({ spanId }) => spanId));
  expect(ids.size).toBe(spans.length);
  for (const span of spans.slice(1)) {
    expect(ids).toContain(span.parentSpanId);
    expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
    expect(span.traceId).toBe(root?.traceId);
    expect(span.traceId).toMatch(/^[0-9a-f]{32}$/);
  }
  const chat = spans.find(({ name }) => name === 'chat m-1');
  expect(chat).toMatchObject({ kind: 3, status: { code: 1 } });
  expect(value(chat, 'gen_ai.provider.name')).toBe('acme');
  expect(value(chat, 'gen_ai.usage.input_tokens')).toBe('30');
  expect(value(chat, 'gen_ai.usage.output_tokens')).toBe('4');
  expect(value(chat, 'cordon.cost.usd')).toBeCloseTo(0.000038);
  const refused = spans.find((span) => value(span, 'server.address') === 'evil.example');
  expect(refused?.status.code).toBe(2);
  const failing = spans.find((span) => value(span, 'process.exit.code') === '3');
  expect(failing?.status.code).toBe(2);
  expect(site.cordon('audit', 'export', file, '--run', result.runId, '--otlp').status).toBe(2);
  expect(site.cordon('audit', 'export', join(site.root, 'x'), '--otlp').status).toBe(2);
  expect(site.verify()).toEqual([]);
}, 60_000);
