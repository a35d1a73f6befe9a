import { describe, expect, test } from 'vitest';
import { compareCommands, type RanCommand } from './commands.ts';

const NOTHING = { own: [], drawn: [] };
const own = { before: { own: ['run-a'], drawn: [] }, after: { own: ['run-b'], drawn: [] } };

/** `parent>text from-to`; a text that begins with `*` is the agent's own program, a `!` at the end says that it was ended with the run. */
function ran(...lines: string[]): RanCommand[] {
  return lines.map((line, i) => {
    const [, parent = '', agent, text = '', from = '', to = '', left] =
      /^(\d+)>(\*?)(.*) (\d+)-(\d*)(!?)$/.exec(line) ?? [];
    const at = (second: string) => `2026-01-01T00:00:${second.padStart(2, '0')}.000Z`;
    const argv = text.split(' ');
    return {
      ...{ id: i + 1, parent: Number(parent), argv, end: 'exit 0', from: at(from) },
      ...{ to: to === '' ? null : at(to), agent: agent === '*', left: left === '!' },
    };
  });
}

const compared = (before: RanCommand[], after: RanCommand[]) => compareCommands(before, after, own);

describe('commands', () => {
  test('in their order are the same; in another one they are not', () => {
    const before = ran('0>sh 0-9', '1>a 1-2', '1>b 3-4');
    expect(compared(before, before)).toEqual({ difference: null, reordered: 0, unseen: 0, aside: 0 });
    expect(compared(before, ran('0>sh 0-9', '1>b 1-2', '1>a 3-4')).difference).toEqual({
      ...{ command: 2, expected: 'a (exit 0)', actual: 'b (exit 0)' },
    });
  });

  test('that ran beside each other have no order, in whichever run that was seen', () => {
    const apart = ran('0>sh 0-9', '1>a 1-2', '1>b 3-4');
    const beside = ran('0>sh 0-9', '1>b 1-4', '1>a 2-3');
    expect(compared(apart, beside).difference).toBeNull();
    expect(compared(beside, apart).difference).toBeNull();
    expect(compared(apart, ran('0>sh 0-9', '1>b 1-', '1>a 2-3')).difference).toBeNull();
  });

  test('whose end nobody saw in one of the two are the same, and counted; other ends differ', () => {
    const before = ran('0>sh 0-9', '1>a 1-2', '1>b 3-4');
    const ended = (end: string) => before.map((one) => (one.id === 2 ? { ...one, end } : one));
    expect(compared(ended('signal 13'), ended('unknown'))).toEqual({
      difference: null,
      reordered: 0,
      unseen: 1,
      aside: 0,
    });
    expect(compared(ended('unknown'), ended('exit 1'))).toEqual({
      difference: null,
      reordered: 0,
      unseen: 1,
      aside: 0,
    });
    expect(compared(ended('unknown'), ended('unknown'))).toEqual({
      difference: null,
      reordered: 0,
      unseen: 0,
      aside: 0,
    });
    expect(compared(ended('signal 13'), ended('exit 1')).difference).toMatchObject({ expected: 'a (signal 13)' });
  });

  test('that were ended with the run in one of the two have no end to compare', () => {
    const before = ran('0>*agent 0-5', '1>status 1-2', '1>watch 1-6!');
    const killed = (...lines: string[]) => ran(...lines).map((one) => (one.left ? { ...one, end: 'signal 9' } : one));
    const same = { difference: null, reordered: 0, unseen: 1, aside: 0 };
    expect(compared(before, killed('0>*agent 0-5', '1>status 1-6!', '1>watch 1-2'))).toEqual(same);
    expect(compared(before, killed('0>*agent 0-5', '1>status 1-2', '1>watch 1-6!'))).toEqual(same);
    expect(compared(before, killed('0>*agent 0-5', '1>status 1-2')).difference).not.toBeNull();
  });

  test('that others lie between are still apart from each other', () => {
    const before = ran('0>sh 0-9', '1>a 1-2', '1>b 3-4', '1>c 5-6');
    const after = ran('0>sh 0-9', '1>c 1-2', '1>b 2-4', '1>a 5-6');
    expect(compared(before, after).difference).not.toBeNull();
  });

  test('of the agent’s own program have no order, but must all be there', () => {
    const before = ran('0>*agent 0-9', '1>a 1-2', '1>b 3-4');
    expect(compared(before, ran('0>*agent 0-9', '1>b 1-2', '1>a 3-4'))).toEqual({
      difference: null,
      reordered: 1,
      unseen: 0,
      aside: 0,
    });
    expect(compared(before, ran('0>*agent 0-9', '1>b 1-2'))).toEqual({
      ...{ difference: { command: 2, expected: 'a (exit 0)', actual: 'none' }, reordered: 0, unseen: 0, aside: 0 },
    });
    expect(compared(before, ran('0>*agent 0-9', '1>a 1-2', '1>b 3-4', '1>b 5-6')).difference).toEqual({
      ...{ command: 4, expected: 'none', actual: 'b (exit 0)' },
    });
  });

  test('that the agent starts for its own use are left out, with all below them; by anybody else they are like others', () => {
    const aside = [/^watch /];
    const before = ran('0>*agent 0-9', '1>watch a 1-2', '2>find 1-2', '1>sh 3-8', '4>watch b 4-5');
    const ofAgent = compareCommands(before, ran('0>*agent 0-9', '1>sh 3-8', '2>watch b 4-5'), own, aside);
    expect(ofAgent).toEqual({ difference: null, reordered: 0, unseen: 0, aside: 2 });
    const ofShell = compareCommands(before, ran('0>*agent 0-9', '1>sh 3-8'), own, aside);
    expect(ofShell.difference).toMatchObject({ expected: 'watch b (exit 0)', actual: 'none' });
    expect(compared(before, ran('0>*agent 0-9', '1>sh 3-8', '2>watch b 4-5')).difference).not.toBeNull();
  });

  test('below a shell of the agent’s keep theirs', () => {
    const before = ran('0>*agent 0-9', '1>sh 1-8', '2>a 1-2', '2>b 3-4');
    expect(compared(before, ran('0>*agent 0-9', '1>sh 1-8', '2>b 1-2', '2>a 3-4')).difference).not.toBeNull();
  });

  test('the difference is told where it is, not at the command above it', () => {
    const before = ran('0>sh 0-9', '1>make 1-8', '2>cc a.c 2-3', '2>cc b.c 4-5');
    const after = ran('0>sh 0-9', '1>make 1-8', '2>cc a.c 2-3', '2>cc c.c 4-5');
    expect(compared(before, after).difference).toEqual({
      ...{ command: 4, expected: 'cc b.c (exit 0)', actual: 'cc c.c (exit 0)' },
    });
  });

  test('another end is another command', () => {
    const before = ran('0>sh 0-9');
    const after = before.map((one) => ({ ...one, end: 'exit 1' }));
    expect(compared(before, after).difference).toMatchObject({ expected: 'sh (exit 0)', actual: 'sh (exit 1)' });
  });

  test('ids of the runs and what changes anyway make no difference; anything else does', () => {
    const same = [ran('0>x run-a /tmp/tmp.Xy12 1-2'), ran('0>x run-b /tmp/tmp.Zz34 1-2')] as const;
    expect(compared(...same).difference).toBeNull();
    expect(compared(ran('0>x 17 1-2'), ran('0>x 18 1-2')).difference).not.toBeNull();
    const drawn = { own: [], drawn: [/(?<=--number )\d+/g] };
    const numbered = [ran('0>x --number 17 1-2'), ran('0>x --number 18 1-2')] as const;
    expect(compareCommands(...numbered, { before: drawn, after: drawn }).difference).toBeNull();
    expect(compareCommands(...numbered, { before: NOTHING, after: NOTHING }).difference).not.toBeNull();
  });
});
