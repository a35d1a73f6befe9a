import type { Clock } from '../../base/clock.ts';
import { CordonError } from '../../base/errors.ts';
import { defaultModelLimits } from './limits.ts';
import type { ModelFacts, Provider } from './providers/provider.ts';
import { asModelRefusal } from './refusal.ts';
import { readError } from './relay.ts';
import { Transport } from './upstream.ts';
import { wires } from './wire/index.ts';
import { isObject, type JsonObject, type Usage, type WireName } from './wire/wire.ts';

const QUESTION = 'Answer with the word ok.';

const bodies: Readonly<Record<WireName, JsonObject>> = {
  chat: { messages: [{ role: 'user', content: QUESTION }], max_completion_tokens: 16 },
  responses: { input: QUESTION, max_output_tokens: 16 },
  messages: { messages: [{ role: 'user', content: QUESTION }], max_tokens: 16 },
  gemini: { contents: [{ role: 'user', parts: [{ text: QUESTION }] }], generationConfig: { maxOutputTokens: 16 } },
};

export interface Answered {
  readonly ms: number;
  readonly usage: Usage | null;
  /** Null when it answered. May hold words of the provider's: redact before it is shown. */
  readonly failure: string | null;
}

/** One short question to one model, as its operator asks it: whether address, key and name are right. */
export async function askOnce(question: {
  readonly provider: Provider;
  readonly model: ModelFacts;
  readonly requestId: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<Answered> {
  const { provider, model, requestId, clock, signal } = question;
  const transport = new Transport({ limits: { ...defaultModelLimits, headTime: 60_000 } });
  const started = clock.monotonic();
  const done = (failure: string | null, usage: Usage | null = null) => ({
    ms: clock.monotonic() - started,
    usage,
    failure,
  });
  try {
    const name = (provider.wiresOf?.(model) ?? provider.wires)[0] as WireName;
    const wire = wires[name];
    const body: JsonObject = { model: model.name, ...structuredClone(bodies[name]) };
    const ask = wire.ask(body, { model: model.name, stream: false });
    const sent = wire.outgoing(body, ask, { model: model.upstream, maxOutput: null });
    const call = {
      wire: name,
      operation: 'generate',
      model,
      stream: false,
      requestId,
      body: sent,
      bytes: Buffer.from(JSON.stringify(sent)),
      headers: {},
    } as const;
    const answer = await transport.send(await provider.prepare(call), signal);
    const text = (await readError(answer)).toString('utf8');
    if (answer.statusCode !== 200) return done(`${answer.statusCode}: ${text.slice(0, 500)}`);
    const value: unknown = JSON.parse(text);
    if (!isObject(value)) return done('the answer is no JSON object');
    const meter = wire.meter(ask);
    meter.whole(value);
    return done(meter.failure, meter.usage);
  } catch (error) {
    return done(
      error instanceof SyntaxError
        ? 'the answer is no JSON'
        : error instanceof CordonError
          ? error.message
          : asModelRefusal(error).message,
    );
  } finally {
    transport.close();
  }
}
