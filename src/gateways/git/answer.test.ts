import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { PushAnswer } from './answer.ts';

const oid = '1'.repeat(40);
const command = { ref: 'refs/heads/x', kind: 'create', old: '0'.repeat(40), new: oid } as const;

function answer(capabilities: string[]) {
  const sent: Buffer[] = [];
  let heads = 0;
  const response = Object.assign(new EventEmitter(), {
    destroyed: false,
    writeHead: () => heads++,
    write: (bytes: Buffer) => sent.push(bytes),
    end: (bytes: Buffer) => sent.push(bytes),
  });
  const head = { commands: [command], shallow: [], capabilities: new Set(capabilities) };
  const made = new PushAnswer(head, response as unknown as ServerResponse);
  return { made, text: () => Buffer.concat(sent).toString('latin1'), heads: () => heads };
}

test('a refusal is one line per ref, whatever the reason holds', () => {
  const { made, text } = answer(['report-status']);
  made.finish('no\nok refs/heads/x\x1b[1m');
  expect(text().match(/\n/g)).toHaveLength(2);
  expect(text()).not.toContain('\x1b');
  expect(text()).toContain('ng refs/heads/x no');
});

test('words go to the terminal while the push is judged, the report to git, in one response', () => {
  const { made, text, heads } = answer(['report-status', 'side-band-64k']);
  made.say('waiting\n\x1b[2Jstill');
  made.finish(null);
  expect(heads()).toBe(1);
  expect(text()).toContain(`${String.fromCharCode(2)}waiting\n`);
  expect(text()).not.toContain('\x1b');
  expect(text()).toContain('ok refs/heads/x');
  expect(text().endsWith('0000')).toBe(true);
});

test('who did not ask for words or a report gets neither', () => {
  const { made, text } = answer([]);
  made.say('hello');
  made.finish('no');
  expect(text()).toBe('');
});
