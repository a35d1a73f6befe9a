import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compilePolicy, decide, type EffectivePolicy, type PolicyAction } from '../policy/index.ts';
import { DecisionMemo } from './decision-memo.ts';

const start = (readOnly: boolean, agent = 'command'): PolicyAction => ({
  action: 'run.start',
  agent,
  repository: '/srv/app',
  readOnly,
});

let home: string;
let policy: EffectivePolicy;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'memo-'));
  const rules = 'forbid (principal, action == Action::"run.start", resource) when { !context.readOnly };';
  policy = await compilePolicy({ repository: { file: 'p.yaml', text: `version: 1\nrules: '${rules}'\n` } });
});
afterEach(() => rmSync(home, { recursive: true }));

const file = () => join(home, 'decisions.json');
const saved = () =>
  JSON.parse(readFileSync(file(), 'utf8')) as [string, { decision: { effect: string; reason: string }; mac: string }][];

describe('decisions of earlier processes', () => {
  test('answer the same question as the engine does', async () => {
    const first = await new DecisionMemo(home, home).decide(policy, start(true));
    expect(first).toEqual(decide(policy, start(true)));
    expect(await new DecisionMemo(home, home).decide(policy, start(true))).toEqual(first);
    expect(saved()).toHaveLength(1);
  });

  test('never answer for another subject of the same resource', async () => {
    expect((await new DecisionMemo(home, home).decide(policy, start(true))).effect).toBe('permit');
    expect((await new DecisionMemo(home, home).decide(policy, start(false))).effect).toBe('deny');
    expect((await new DecisionMemo(home, home).decide(policy, start(false, 'acp'))).effect).toBe('deny');
  });

  test('never answer for another policy', async () => {
    await new DecisionMemo(home, home).decide(policy, start(false));
    const open = await compilePolicy({});
    expect((await new DecisionMemo(home, home).decide(open, start(false))).effect).toBe('permit');
  });

  test('count for nothing when somebody else wrote them', async () => {
    await new DecisionMemo(home, home).decide(policy, start(false));
    const entries = saved();
    for (const [, entry] of entries) entry.decision.effect = 'permit';
    writeFileSync(file(), JSON.stringify(entries));
    expect((await new DecisionMemo(home, home).decide(policy, start(false))).effect).toBe('deny');
  });

  test.each(['', '{', '[]', '[[1,2]]', '[["x",{"decision":null,"mac":null}]]', 'null'])(
    'survive a file of %j',
    async (text) => {
      writeFileSync(file(), text);
      expect((await new DecisionMemo(home, home).decide(policy, start(true))).effect).toBe('permit');
    },
  );

  test('are made anew where the folder cannot be used', async () => {
    const memo = new DecisionMemo(join(home, 'missing'), join(home, 'missing'));
    expect((await memo.decide(policy, start(true))).effect).toBe('permit');
  });
});
