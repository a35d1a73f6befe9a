import type { WireName } from './wire/wire.ts';

/** What a request asks the gateway to do. Everything that is not listed is refused. */
export type Route =
  | { readonly kind: 'generate'; readonly wire: WireName; readonly model: string | null; readonly stream: boolean }
  /** How many tokens a request would have. */
  | { readonly kind: 'count'; readonly wire: 'messages' | 'gemini'; readonly model: string | null }
  /** All models, or one. */
  | { readonly kind: 'models'; readonly wire: 'chat' | 'messages' | 'gemini'; readonly model: string | null }
  /** `wire` is whose error the caller will understand best. */
  | { readonly kind: 'unknown'; readonly wire: WireName; readonly what: string };

const GEMINI_MODEL =
  /^\/(?:v1|v1beta|v1alpha)\/(?:models|tunedModels)\/([A-Za-z0-9._@-]{1,200})(?::([A-Za-z]{1,40}))?$/;

/** `headers` in lower case, as Node gives them. Prefixes that clients put before or leave out are put right: `/v1`, `/openai`, `/anthropic`. */
export function route(method: string, target: string, headers: Readonly<Record<string, unknown>>): Route {
  const [raw = '', query = ''] = target.split('?', 2);
  const path = raw
    .replace(/\/{2,}/g, '/')
    .replace(/^\/(?:openai|anthropic|gemini)(?=\/)/, '')
    .replace(/(.)\/$/, '$1');
  const gemini = /^\/(?:v1beta|v1alpha)\//.test(path) || headers['x-goog-api-key'] !== undefined;
  if (gemini) return geminiRoute(method, path, query);
  const short = path.replace(/^\/v1(?=\/)/, '');
  const anthropic = headers['anthropic-version'] !== undefined;
  if (method === 'POST' && short === '/chat/completions') return generate('chat');
  if (method === 'POST' && short === '/responses') return generate('responses');
  if (method === 'POST' && short === '/messages') return generate('messages');
  if (method === 'POST' && short === '/messages/count_tokens') return { kind: 'count', wire: 'messages', model: null };
  const models = /^\/models(?:\/([^/]{1,256}(?:\/[^/]{1,256})?))?$/.exec(short);
  if (method === 'GET' && models !== null)
    return { kind: 'models', wire: anthropic ? 'messages' : 'chat', model: decoded(models[1]) };
  const wire =
    anthropic || short.startsWith('/messages') ? 'messages' : short.startsWith('/responses') ? 'responses' : 'chat';
  return { kind: 'unknown', wire, what: `${method} ${path}` };
}

function generate(wire: WireName): Route {
  return { kind: 'generate', wire, model: null, stream: false };
}

function geminiRoute(method: string, path: string, query: string): Route {
  const unknown = (what: string): Route => ({ kind: 'unknown', wire: 'gemini', what });
  if (method === 'GET' && /^\/(?:v1|v1beta|v1alpha)\/models$/.test(path))
    return { kind: 'models', wire: 'gemini', model: null };
  const [, model, verb] = GEMINI_MODEL.exec(path) ?? [];
  if (model === undefined) return unknown(`${method} ${path}`);
  if (method === 'GET' && verb === undefined) return { kind: 'models', wire: 'gemini', model };
  if (method !== 'POST') return unknown(`${method} ${path}`);
  if (verb === 'generateContent') return { kind: 'generate', wire: 'gemini', model, stream: false };
  if (verb === 'countTokens') return { kind: 'count', wire: 'gemini', model };
  if (verb !== 'streamGenerateContent') return unknown(`${method} ${path}`);
  if (new URLSearchParams(query).get('alt') !== 'sse') return unknown('streamGenerateContent without alt=sse');
  return { kind: 'generate', wire: 'gemini', model, stream: true };
}

function decoded(text: string | undefined): string | null {
  if (text === undefined) return null;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
