import { expect, test } from 'vitest';
import { compareRuns, type RunTrace } from './compare.ts';
import { Renaming } from './volatile.ts';

const played = {
  steps: [],
  missing: [],
  otherBodies: [],
  unasked: 0,
  renaming: new Renaming(),
  drawn: [],
  aside: [],
  approvals: [],
};

function ran(line: string, end: string): RunTrace {
  const command = { id: 1, parent: 0, argv: line.split(' '), end, from: '1', to: '2', agent: false, left: false };
  const rest = { status: 'succeeded', changes: [], policyDigest: '', toolboxDigest: null, agent: null };
  return { run: 'r', commands: [command], ...rest };
}

test('a long command that ended otherwise is known by its beginning', () => {
  const line = `systemd-inhibit --why=${'long '.repeat(100)}sleep infinity`;
  const { divergences } = compareRuns(ran(line, 'exit 1'), ran(line, 'signal 15'), played);
  expect(divergences).toMatchObject([
    {
      expected: expect.stringMatching(/^systemd-inhibit --why=[^…]*….{40,60}\(exit 1\)$/),
      actual: expect.stringMatching(/^systemd-inhibit --why=[^…]*….{40,60}\(signal 15\)$/),
    },
  ]);
});
