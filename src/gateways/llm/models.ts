import { decide } from '../../policy/index.ts';
import type { Gateway } from './gateway.ts';
import { ModelRefusal } from './refusal.ts';
import type { JsonObject } from './wire/wire.ts';

/**
 * The models that this run may use, as each protocol lists them. Nobody is asked and nothing leaves: it is what the settings and the policy
 * say. Throws `ModelRefusal` for one that is not among them.
 */
export function listModels(
  { catalog, policy }: Gateway,
  wire: 'chat' | 'messages' | 'gemini',
  one: string | null,
): JsonObject {
  const permitted = catalog
    .all()
    .filter(
      ({ provider, model }) =>
        decide(policy, { action: 'llm.request', provider: provider.name, model: model.name }).effect !== 'deny',
    );
  const names = [...new Set(permitted.map(({ model }) => model.name))];
  const entry = (name: string) => entryOf(wire, name);
  if (one !== null) {
    if (!names.includes(one))
      throw new ModelRefusal('denied', 404, 'model_not_found', `there is no model ${one.slice(0, 100)} for this run`);
    return entry(one);
  }
  if (wire === 'gemini') return { models: names.map(entry) };
  const list = { data: names.map(entry) };
  if (wire === 'chat') return { object: 'list', ...list };
  return { ...list, has_more: false, first_id: names[0] ?? null, last_id: names.at(-1) ?? null };
}

/** 2025-01-01: the lists want a date, and what is set up here has none. */
const CREATED = 1_735_689_600;

function entryOf(wire: 'chat' | 'messages' | 'gemini', name: string): JsonObject {
  if (wire === 'gemini')
    return {
      name: `models/${name}`,
      displayName: name,
      supportedGenerationMethods: ['generateContent', 'countTokens'],
    };
  if (wire === 'chat') return { id: name, object: 'model', created: CREATED, owned_by: 'cordon' };
  return { type: 'model', id: name, display_name: name, created_at: new Date(CREATED * 1000).toISOString() };
}
