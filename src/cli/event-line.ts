import type { AuditEvent } from '../audit/event.ts';
import { clip, type Palette, safeText } from '../base/term.ts';
import { subject } from './event-subjects.ts';

/** One event as one line: number, time, run, type, what it is about, what came of it. Everything in it is escaped. */
export function eventLine(event: AuditEvent, style: Palette, width: number): string {
  const head = [String(event.seq).padStart(6), event.time.slice(11, 23), event.run?.slice(-6) ?? '      '].join(' ');
  const room = Math.max(20, width - head.length - 22);
  return `${style.dim(head)} ${event.type.padEnd(18)} ${marked(event, style)}${clip(safeText(subject(event)), room)}`;
}

function marked(event: AuditEvent, style: Palette): string {
  switch (event.decision?.effect) {
    case 'permit':
      return `${style.green('permit')} `;
    case 'deny':
      return `${style.red('deny')} `;
    case 'ask':
      return `${style.yellow('ask')} `;
    default:
      return '';
  }
}
