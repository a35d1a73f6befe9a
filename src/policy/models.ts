import type { EffectivePolicy } from './effective.ts';
import { type Layer, valuesOf } from './rule.ts';

/** What a request to a model may want beyond text and tools that the agent runs itself: each has to be named. */
export const modelFeatures = [
  'images',
  'image_urls',
  'files',
  'file_urls',
  'audio',
  'stored_state',
  'web_search',
  'web_fetch',
  'code_execution',
  'computer_use',
  'file_search',
  'image_generation',
  'remote_mcp',
  'other_tools',
  'priority_service',
] as const;
export type ModelFeature = (typeof modelFeatures)[number];

export const budgetScopes = ['requester', 'repository', 'organisation'] as const;
export const budgetPeriods = ['hour', 'day', 'week', 'month'] as const;

export interface Amounts {
  /** US cents. */
  readonly usd: number | null;
  readonly tokens: number | null;
  readonly requests: number | null;
}

/** A budget that runs share. */
export interface SharedBudget extends Amounts {
  readonly scope: (typeof budgetScopes)[number];
  readonly period: (typeof budgetPeriods)[number];
}

const DEFAULT_MAX_REQUEST = 32 * 1024 * 1024;
const DEFAULT_RETENTION_DAYS = 180;

/** The strictest of all layers; what one permits by name, all that speak of it must. */
export function combineModels(layers: readonly Layer[]): EffectivePolicy['llm'] {
  const stated = layers.flatMap((layer) => valuesOf(layer).llm_policy ?? []);
  const grants = layers.find((layer) => layer.side === 'grant');
  const own = grants === undefined ? undefined : valuesOf(grants).llm_policy;
  const least = (key: keyof Amounts) => {
    const values = stated.flatMap((models) => models.budget?.[key] ?? []);
    return values.length === 0 ? null : Math.min(...values);
  };
  const contents = stated.flatMap((models) => models.logging?.prompt_content ?? []);
  const days = stated.flatMap((models) => models.logging?.metadata ?? []).map((text) => Number(/\d+/.exec(text)?.[0]));
  return {
    defaultProvider:
      own?.default_provider ?? stated.findLast((models) => models.default_provider)?.default_provider ?? null,
    providers: [...new Set([own, ...stated].flatMap((models) => models?.allowed_providers ?? []))],
    features:
      stated
        .map((models) => models.features ?? [])
        .reduce<readonly ModelFeature[] | null>(
          (some, more) => (some === null ? more : some.filter((one) => more.includes(one))),
          null,
        ) ?? [],
    secrets: stated.some((models) => models.secrets === 'refuse') ? 'refuse' : 'replace',
    maxRequest: Math.min(DEFAULT_MAX_REQUEST, ...stated.flatMap((models) => models.max_request ?? [])),
    budget: { usd: least('usd'), tokens: least('tokens'), requests: least('requests') },
    budgets: stated
      .flatMap((models) => models.budgets ?? [])
      .map((budget) => ({
        scope: budget.scope,
        period: budget.period,
        usd: budget.usd ?? null,
        tokens: budget.tokens ?? null,
        requests: budget.requests ?? null,
      })),
    content: contents.includes('none')
      ? 'none'
      : contents.includes('redacted') || contents.length === 0
        ? 'redacted'
        : 'full',
    retentionDays: days.length === 0 ? DEFAULT_RETENTION_DAYS : Math.min(...days),
  };
}
