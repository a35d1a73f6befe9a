import type { AskedCall } from './conversation.ts';

/** Calls in one answer. */
const MOST = 16;
/** Characters of an answer that are searched. */
const SEARCHED = 400_000;

const FENCE = /```(?:json|tool_call|tool|tool_code)?[ \t]*\r?\n([\s\S]*?)```/g;
const TAGS = ['tool_call', 'function_call'];

/**
 * Tool calls that a model wrote into its text, as models do that know no others: a fenced block, a `<tool_call>`, or a whole answer of
 * JSON `{"tool" | "name" | "function", "arguments" | "parameters" | "input"}`, or a list of such. Only tools that there are count: other JSON
 * is what the model talks about. `rest` is the text without them.
 */
export function callsInText(
  text: string,
  tools: ReadonlySet<string>,
): { readonly calls: readonly Omit<AskedCall, 'id'>[]; readonly rest: string } {
  const searched = text.slice(0, SEARCHED);
  const calls: Omit<AskedCall, 'id'>[] = [];
  const take = (whole: string, inner: string): string => {
    const found = read(inner, tools);
    if (found.length === 0 || calls.length + found.length > MOST) return whole;
    calls.push(...found);
    return '';
  };
  const rest = TAGS.reduce((left, tag) => eachTagged(left, tag, take), searched).replace(
    FENCE,
    (whole: string, inner: string) => take(whole, inner),
  );
  if (calls.length === 0 && /^\s*[[{]/.test(searched)) {
    const found = read(searched, tools);
    if (found.length > 0 && found.length <= MOST) return { calls: found, rest: '' };
  }
  return { calls, rest: rest.trim() };
}

/** What stands between `<tag>` and the next `</tag>`, replaced. By search: an expression goes to the end of the text for each tag that is never closed. */
function eachTagged(text: string, tag: string, replace: (whole: string, inner: string) => string): string {
  const [open, close] = [`<${tag}>`, `</${tag}>`];
  const pieces: string[] = [];
  let from = 0;
  for (let at = text.indexOf(open); at >= 0; at = text.indexOf(open, from)) {
    const end = text.indexOf(close, at);
    if (end < 0) break;
    const whole = text.slice(at, end + close.length);
    pieces.push(text.slice(from, at), replace(whole, whole.slice(open.length, -close.length)));
    from = end + close.length;
  }
  return [...pieces, text.slice(from)].join('');
}

function read(text: string, tools: ReadonlySet<string>): Omit<AskedCall, 'id'>[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  try {
    const found = (Array.isArray(value) ? value : [value]).map((one) => callOf(one, tools));
    return found.every((one) => one !== null) ? found : [];
  } catch {
    return []; // nested so deeply that it cannot be written again
  }
}

function callOf(value: unknown, tools: ReadonlySet<string>): Omit<AskedCall, 'id'> | null {
  if (value === null || typeof value !== 'object') return null;
  const { tool, name, function: named, arguments: args, parameters, input } = value as Record<string, unknown>;
  const which = [tool, name, named].find((one) => typeof one === 'string') as string | undefined;
  if (which === undefined || !tools.has(which)) return null;
  const given = args ?? parameters ?? input;
  if (typeof given === 'string') return { name: which, arguments: given };
  return given !== null && typeof given === 'object' ? { name: which, arguments: JSON.stringify(given) } : null;
}
