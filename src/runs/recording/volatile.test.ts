import { describe, expect, test } from 'vitest';
import { codex } from '../../agents/profiles/codex.ts';
import { firstDifference, likeness, partOf, splitQuestion } from './parts.ts';
import { Renaming, steadied } from './volatile.ts';

const own = { own: ['run-a'], drawn: [] };
const steady = (text: string) => steadied(text, own).text;

describe('volatile words', () => {
  test.each([
    ['run 1e2c9a50-7d1c-4b8e-9a55-0d6c5b1a2f33 of run-a', 'run <uuid> of <run>'],
    ['run_shell_command_1795273457290_0', 'run_shell_command_<time>_0'],
    ['-rw-r--r-- 1 agent agent 12 Nov 21 15:03 a.txt', '-rw-r--r-- 1 agent agent 12 <time> a.txt'],
    ['Sat Nov 21 15:02:18 UTC 2026', '<time>'],
    ['Date:   Sat Nov 21 15:02:18 2026 +0000', 'Date:   <time> +0000'],
    ['at 2026-11-21T15:02:18.123Z', 'at <time>'],
    ['[main 1a2b3c4] one', '[main <hex>] one'],
    ['[main 1234567] all digits', '[main <hex>] all digits'],
    ['[main 1795273457] seconds', '[main <time>] seconds'],
    // Ten digits in a row are no time within a digest.
    ['commit bf28aa156d6561990c1718734140e4d1d3111725', 'commit <hex>'],
    ['at a1718734140b now', 'at <hex> now'],
    ['in /tmp/tmp.Ab12Cd/x', 'in <temporary name>/x'],
    ['ok in 12.5 ms', 'ok in <duration>'],
  ])('%s', (text, expected) => {
    expect(steady(text)).toBe(expected);
  });

  test.each([
    'answer 42 of 1234567',
    'version 1.2.3',
    'sum.sh line 12: $1 - $2',
    'port 8443, pid 4711',
    'feedback added facade',
    'exit code 1',
    'ids 12-34-56',
    'size 1795 bytes',
  ])('%s stays', (text) => {
    expect(steady(text)).toBe(text);
  });
});

describe('names', () => {
  const words = (text: string) => steadied(text, own).words;

  test('may be others, one for one', () => {
    const renaming = new Renaming();
    expect(renaming.contradiction(words('/tmp/a then /tmp/b'), words('/tmp/c then /tmp/d'))).toBeNull();
    expect(renaming.contradiction(words('/tmp/b'), words('/tmp/d'))).toBeNull();
    expect(renaming.altered).toEqual([{ kind: 'temporary name', count: 2, expected: '/tmp/a', actual: '/tmp/c' }]);
  });

  test('that stand for another one than before are a difference, both ways', () => {
    const renaming = new Renaming();
    renaming.contradiction(words('/tmp/a /tmp/b'), words('/tmp/c /tmp/d'));
    expect(renaming.contradiction(words('/tmp/a'), words('/tmp/d'))).toMatchObject({ actual: '/tmp/d' });
    expect(renaming.contradiction(words('/tmp/x'), words('/tmp/c'))).toMatchObject({ expected: '/tmp/x' });
  });

  test('are the same whether or not a commit’s happens to be all digits', () => {
    const text = (name: string) => words(`15:00:00\n[main ${name}] one, at 15:00:01`);
    expect(text('1234567').map(([kind]) => kind)).toEqual(text('ab34567').map(([kind]) => kind));
    expect(new Renaming().contradiction(text('1234567'), text('ab34567'))).toBeNull();
  });

  test('times may be any', () => {
    const renaming = new Renaming();
    const then = words('15:00:00 15:00:00');
    expect(renaming.contradiction(then, words('15:00:01 15:00:02'))).toBeNull();
  });
});

describe('questions', () => {
  const parts = (body: Record<string, unknown>) => splitQuestion(body).map((value) => partOf(value, own));
  const question = (text: string, more = {}) => ({ model: 'm', messages: [{ role: 'user', content: text }], ...more });

  test('that differ in times alone are alike; in another order of members as well', () => {
    const [one, other] = [parts(question('at 15:00:00')), parts({ ...question('at 15:00:09'), model: 'm' })];
    expect(likeness(one)).toBe(likeness(other));
    const turned = { messages: [{ content: 'at 15:00:00', role: 'user' }], model: 'm' };
    expect(likeness(parts(turned))).toBe(likeness(one));
    expect(firstDifference(one, other)).toBeNull();
  });

  test('tell where they part: message, member, line', () => {
    expect(firstDifference(parts(question('one\ntwo\nthree')), parts(question('one\n2\nthree')))).toEqual({
      ...{ at: 'message 1, content line 2', expected: 'two', actual: '2' },
    });
    const tools = (name: string) => question('x', { tools: [{ name }] });
    expect(firstDifference(parts(tools('a')), parts(tools('b')))).toEqual({
      ...{ at: 'tools[0].name', expected: 'a', actual: 'b' },
    });
    const longer = { ...question('x'), messages: [{ role: 'user', content: 'x' }, { role: 'tool' }] };
    expect(firstDifference(parts(question('x')), parts(longer))).toEqual({
      ...{ at: 'message 2, role', expected: 'nothing', actual: 'tool' },
    });
  });

  test('a text beyond all bounds still counts to its end', () => {
    const long = Array.from({ length: 5_000 }, (_, i) => `line ${i}`).join('\n');
    expect(firstDifference(parts(question(`${long}a`)), parts(question(`${long}b`)))?.at).toBe(
      'message 1, content line 401',
    );
    const many = Array.from({ length: 3_000 }, (_, i) => ({ i }));
    const list = (last: number) => parts({ model: 'm', messages: [{ many: [...many, { i: last }] }] });
    expect(firstDifference(list(1), list(2))).not.toBeNull();
  });
});

// With 200 steps for each blank, this took longer than a test may.
test('a text of blanks is read in one pass', () => {
  const words = (text: string) => steadied(text, own).words;
  expect(words(`[main ${' '.repeat(8_000_000)}1234567]`)).toEqual([]);
  expect(words('[main 1234567] first\n[x 12345678] [y 7654321]')).toEqual([
    ['hex', '1234567'],
    ['hex', '12345678'],
  ]);
});

test('what Codex tells of the workspace is as much as it knew by then, all of it, a part or nothing; what stands beside it is compared', () => {
  const codexs = { own: [], drawn: codex.drawn ?? [] };
  const metadata = (workspaces: string, model = 'small-1') =>
    steadied(`{"disabled":false,${workspaces}"turn_started_at_unix_ms":1795314016216,"model":"${model}"}`, codexs).text;
  const commit = '"latest_git_commit_hash":"092c59085518b6917c4898570fe75b8e7e6e41cf"';
  const nothing = metadata('');
  for (const known of [`"associated_remote_urls":{"origin":"http://127.0.0.1:9418/origin"},${commit}`, commit, ''])
    expect(metadata(`"workspaces":{"/workspace":{${known}}},`)).toBe(nothing);
  expect(metadata('"workspaces":{},')).toBe(nothing);
  expect(metadata('"others":{"/workspace":{}},')).not.toBe(nothing);
  expect(metadata('', 'large-1')).not.toBe(nothing);
});
