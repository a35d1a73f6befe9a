/**
 * One decision, at 10, 100 and 1,000 rules: as short forms (a list of hosts), as raw Cedar rules, and beside them the
 * plain call that most programs make of Cedar: the same rules as text, stateless, no schema, no reasons with lines.
 * Prints p50 and p99 in microseconds, and what compiling costs. Fails when p99 at 100 rules is above 500 µs.
 */

import type { PolicyAction } from '../src/policy/action.ts';
import { cedar } from '../src/policy/cedar.ts';
import { compilePolicy } from '../src/policy/compile.ts';
import { decide } from '../src/policy/decide.ts';

const LIMIT = 500;

interface Row {
  readonly what: string;
  readonly rules: number;
  readonly p50: number;
  readonly p99: number;
  readonly compile?: number;
}

const ROUNDS = 9;

/**
 * Percentiles in microseconds of `calls` calls a round, after one round to warm up: the median of the rounds, so that
 * what else the machine does in one of them is not taken for the decision's own tail.
 */
function measure(calls: number, call: (i: number) => void): { p50: number; p99: number } {
  const rounds: { p50: number; p99: number }[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const times = new Float64Array(calls);
    for (let i = 0; i < calls; i++) {
      const start = performance.now();
      call(i);
      times[i] = performance.now() - start;
    }
    times.sort();
    const at = (share: number) => Math.round((times[Math.floor(calls * share)] ?? 0) * 1000);
    if (round >= 0) rounds.push({ p50: at(0.5), p99: at(0.99) });
  }
  const median = (key: 'p50' | 'p99') => rounds.map((round) => round[key]).sort((x, y) => x - y)[ROUNDS >> 1] ?? 0;
  return { p50: median('p50'), p99: median('p99') };
}

const host = (i: number) => `h${i}.acme.example`;
const connect = (i: number, rules: number): PolicyAction => ({
  action: 'net.connect',
  host: i % 2 === 0 ? host(i % rules) : `evil${i}.example`,
  port: 443,
});

async function ours(what: string, rules: number, document: string): Promise<Row> {
  const start = performance.now();
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text: document } });
  const compile = Math.round(performance.now() - start);
  const right =
    decide(policy, connect(0, rules)).effect === 'permit' && decide(policy, connect(1, rules)).effect === 'deny';
  if (!right) throw new Error(`${what} at ${rules} rules decides wrongly: there is nothing to measure`);
  // A policy remembers its answers; a copy has none yet.
  return {
    what,
    rules,
    compile,
    ...measure(rules >= 1000 ? 200 : 600, (i) => decide({ ...policy }, connect(i, rules))),
  };
}

function peer(rules: number): Row {
  const staticPolicies = Array.from(
    { length: rules },
    (_, i) => `permit (principal, action == Action::"net.connect", resource == Host::"${host(i)}:443");`,
  ).join('\n');
  const { isAuthorized } = cedar();
  const call = (i: number) => {
    const action = connect(i, rules);
    if (action.action !== 'net.connect') return;
    isAuthorized({
      principal: { type: 'Agent', id: 'run' },
      action: { type: 'Action', id: 'net.connect' },
      resource: { type: 'Host', id: `${action.host}:${action.port}` },
      context: {},
      policies: { staticPolicies },
      entities: [],
    });
  };
  return { what: 'plain stateless Cedar', rules, ...measure(rules >= 1000 ? 40 : 200, call) };
}

const rows: Row[] = [];
const start = performance.now();
cedar();
const engine = Math.round(performance.now() - start);
for (const rules of [10, 100, 1000]) {
  const each = <T>(make: (i: number) => T) => Array.from({ length: rules }, (_, i) => make(i));
  const hosts = each((i) => `    - ${host(i)}`).join('\n');
  rows.push(await ours('short forms', rules, `version: 1\nsecurity:\n  allowed_network_hosts:\n${hosts}\n`));
  const raw = each((i) => `  permit (principal, action == Action::"net.connect", resource == Host::"${host(i)}:443");`);
  rows.push(await ours('raw rules', rules, `version: 1\nrules: |\n${raw.join('\n')}\n`));
  rows.push(peer(rules));
}

console.log(`engine ready in ${engine} ms`);
console.log('what                    rules   p50 µs   p99 µs  compile ms');
for (const row of rows) {
  const cells = [row.rules, row.p50, row.p99, row.compile ?? ''].map((cell, i) =>
    String(cell).padStart([5, 9, 9, 12][i] ?? 0),
  );
  console.log(row.what.padEnd(24) + cells.join(''));
}
const slow = rows.filter((row) => row.compile !== undefined && row.rules === 100 && row.p99 > LIMIT);
for (const row of slow) console.error(`${row.what}: p99 ${row.p99} µs at 100 rules is above ${LIMIT} µs`);
process.exitCode = slow.length > 0 ? 1 : 0;
