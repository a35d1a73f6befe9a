import { counted } from '../base/counted.ts';
import { safeText } from '../base/term.ts';
import type { ModelUsage } from '../runs/request.ts';
import type { RunStory } from './run-story.ts';

/** `3 requests, 3,000 tokens in, 300 out, $0.0036`. */
export function modelFigures({ requests, inputTokens, outputTokens, usd }: ModelUsage): string {
  const tokens = `${inputTokens.toLocaleString('en')} tokens in, ${outputTokens.toLocaleString('en')} out`;
  return `${counted(requests, 'request')}, ${tokens}${usd > 0 ? `, $${usd.toFixed(usd < 0.1 ? 4 : 2)}` : ''}`;
}

/** Which models a run asked, and what it used of each. */
export function modelText({ models }: RunStory, chosen: string | null): string {
  if (models.length === 0) return chosen === null ? 'none was asked' : `${safeText(chosen)}, never asked`;
  const used = new Map<string, ModelUsage>();
  for (const { resource, outcome } of models) {
    const name = `${resource.provider}/${resource.model}`;
    const before = used.get(name) ?? { requests: 0, inputTokens: 0, outputTokens: 0, usd: 0 };
    used.set(name, {
      requests: before.requests + 1,
      inputTokens: before.inputTokens + (outcome.tokens?.input ?? 0),
      outputTokens: before.outputTokens + (outcome.tokens?.output ?? 0),
      usd: before.usd + (outcome.nanoUsd ?? 0) / 1e9,
    });
  }
  return [...used].map(([name, figures]) => `${safeText(name)}: ${modelFigures(figures)}`).join('; ');
}
