import { z } from 'zod';
import { UsageError } from '../../../../base/errors.ts';
import { badRequest } from '../../refusal.ts';
import type { JsonObject } from '../../wire/wire.ts';
import { betasOf } from '../anthropic-betas.ts';
import { bedrockEvents } from '../aws-event-stream.ts';
import { signAws } from '../aws-signature.ts';
import { jsonKey } from '../json-key.ts';
import type { Provider, ProviderOptions, UpstreamCall } from '../provider.ts';
import { endpoint, needs, onlySettings } from './shared.ts';

const VERSION = 'bedrock-2023-05-31';
const awsKey = z.strictObject({
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
  sessionToken: z.string().min(1).optional(),
});

/**
 * Anthropic's models on Amazon Bedrock, by InvokeModel. The key is JSON of accessKeyId, secretAccessKey and, of a session, sessionToken; or
 * an API key of Bedrock's. https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
 */
export function bedrock(options: ProviderOptions): Provider {
  const { name, models, headers, now } = options;
  const key = needs(options, 'key', 'key: {secret: AWS_BEDROCK}');
  const region = needs(options, 'region', 'region: eu-central-1');
  onlySettings(options, ['betas']);
  const other = models.find(({ upstream }) => !/^arn:|(^|\.)anthropic\./.test(upstream));
  if (other !== undefined)
    throw new UsageError(
      `the provider ${name} cannot serve ${other.upstream}: only Anthropic's models are spoken to on Bedrock`,
      {
        remedy: 'write upstream: eu.anthropic.claude-…, or the ARN of an inference profile',
      },
    );
  const base = options.baseUrl ?? new URL(`https://bedrock-runtime.${region}.amazonaws.com`);
  return {
    name,
    driver: 'bedrock',
    wires: ['messages'],
    models,
    async prepare(call) {
      if (call.operation === 'count') throw badRequest(`${name} cannot count tokens`);
      const verb = call.stream ? 'invoke-with-response-stream' : 'invoke';
      const url = endpoint(base, `/model/${encodeURIComponent(call.model.upstream)}/${verb}`);
      const body = Buffer.from(JSON.stringify(bodyOf(options, call)));
      const plain = {
        ...lowerCase(headers),
        'content-type': 'application/json',
        accept: call.stream ? 'application/vnd.amazon.eventstream' : 'application/json',
      };
      const secret = await key();
      if (!secret.startsWith('{')) return { url, headers: { ...plain, authorization: `Bearer ${secret}` }, body };
      const credentials = jsonKey(name, secret, awsKey, '{"accessKeyId": …, "secretAccessKey": …}');
      const request = {
        method: 'POST',
        url,
        headers: plain,
        body,
        region,
        service: 'bedrock',
        credentials,
        now: now(),
      };
      return { url, headers: signAws(request), body };
    },
    decode: (bytes) => bedrockEvents(bytes),
  };
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** The model stands in the URL, and so does that it is a stream. */
function bodyOf(options: ProviderOptions, call: UpstreamCall): JsonObject {
  const { model: _, stream: __, service_tier: ___, ...body } = call.body;
  const betas = betasOf(options, call);
  if (!betas.some((beta) => beta.startsWith('context-management-'))) delete body.context_management;
  return { anthropic_version: VERSION, ...body, ...(betas.length === 0 ? {} : { anthropic_beta: betas }) };
}
