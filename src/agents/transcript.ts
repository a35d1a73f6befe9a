import { clip } from '../base/term.ts';
import type { AgentStep } from './agent.ts';

const INPUT = 300;
const RESULT_LINES = 4;

/** What a person reads of a step, line by line; not yet safe for a terminal. */
export function transcript(step: AgentStep): string[] {
  switch (step.kind) {
    case 'message':
    case 'plan':
      return step.text.trimEnd().split('\n');
    case 'reasoning':
      return step.text.trim() === '' ? [] : [`(thinks) ${clip(oneLine(step.text), INPUT)}`];
    case 'trouble':
      return [`! ${clip(oneLine(step.text), INPUT)}`];
    case 'tool_call':
      return [`→ ${step.tool} ${clip(oneLine(step.input), INPUT)}`];
    case 'tool_result':
      return resultLines(step.text, step.ok);
    case 'end':
      return step.ok ? [] : [`✗ ${clip(oneLine(step.reason ?? 'failed'), INPUT)}`];
    case 'usage':
      return [];
  }
}

function resultLines(text: string, ok: boolean): string[] {
  const lines = text.trimEnd().split('\n');
  const shown = lines.slice(0, RESULT_LINES).filter((line) => line !== '');
  const rest = lines.length - RESULT_LINES;
  return [
    ...shown.map((line, i) => `${i === 0 && !ok ? '✗' : ' '} ${clip(line, INPUT)}`),
    ...(rest > 0 ? [`  … ${rest} more lines`] : []),
  ];
}

function oneLine(text: string): string {
  return text
    .slice(0, INPUT * 4)
    .replace(/\s+/g, ' ')
    .trim();
}
