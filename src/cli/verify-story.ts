import type { Verdict } from '../attest/verify.ts';
import type { Proof } from '../attest/verify-bundle.ts';
import { counted } from '../base/counted.ts';
import { clip, safeText } from '../base/term.ts';
import type { Output } from './output.ts';
import type { Judged } from './verify-commits.ts';

/** Commits whose whole story is told; of more, the figures. */
const TOLD = 5;

/** The chain as a person would tell it; all of it is escaped. */
export function storyLines({ verdicts, exempt }: Judged, out: Output, { preReceive = false } = {}): string[] {
  const { bold, dim, green } = out.style;
  const good = verdicts.filter(({ ok }) => ok);
  const bad = verdicts.filter(({ ok }) => !ok);
  const lines = good.length > TOLD ? summary(good, out) : good.flatMap((verdict) => told(verdict, out));
  lines.push(...bad.slice(0, 20).flatMap((verdict) => broken(verdict, out)));
  if (bad.length > 20) lines.push(dim(`  … and ${bad.length - 20} more`));
  if (exempt > 0) lines.push(dim(`${counted(exempt, 'commit')} of people, who need no proof here`));
  if (verdicts.length === 0 && exempt === 0) lines.push(`${bold(green('✓'))} there is no new commit`);
  if (verdicts.length > 1 && bad.length > 0)
    lines.push(`${bad.length} of ${counted(verdicts.length, 'commit')} without proof`);
  if (bad.some(({ broken: why }) => why?.link === 'found'))
    lines.push(
      `  ${dim('→')} ${preReceive ? 'push the proofs as well: git push --atomic origin BRANCH' : 'proofs travel beside branches: git fetch origin'} 'refs/attestations/*:refs/attestations/*'`,
    );
  return lines;
}

const short = (oid: string) => oid.slice(0, 12);

function told({ commit, held, proof }: Verdict, { style: { bold, dim, green } }: Output): string[] {
  if (proof === null) return [];
  const { change, merge, record } = proof;
  const say = (link: string) => safeText(held.find((one) => one.link === link)?.text ?? '');
  const rows: (readonly [string, string])[] = [
    [
      'made by',
      `run ${change.run} for ${safeText(change.requester)}: ${safeText(change.agent.program)}${change.agent.model === null ? '' : ` with ${safeText(change.agent.model)}`}${origin(proof)}`,
    ],
    [
      'inside',
      `${safeText(change.sandbox.driver)}, ${safeText(change.sandbox.isolation)} isolation${change.sandbox.toolboxDigest === null ? '' : `, tools ${change.sandbox.toolboxDigest}`}`,
    ],
    [
      'changed',
      `${counted(change.diff.files, 'file')} of ${short(change.from)}: ${clip(safeText(change.diff.paths.slice(0, 8).join(', ')), 80)}`,
    ],
    ['for', `${safeText(change.ref)} of ${safeText(change.repository)}`],
    ...(merge === null
      ? []
      : ([
          [
            'merged',
            `by tree to ${safeText(merge.ref)}, as ${safeText(merge.requester)} asked; the change is ${short(merge.change)}`,
          ],
        ] as const)),
    ['allowed', say('permit')],
    ['policy', say('policy').replace(/^under the policy /, '')],
    ['logged', `${record.time} as ${say('inclusion')}`],
    ['signed', `${say('attestor').replace(/^signed /, '')}; ${say('signature') || 'no commit was looked at'}`],
  ];
  const head = `${bold(green('✓'))} ${short(commit)} was authorised`;
  return [head, ...rows.map(([name, text]) => `  ${dim(name.padEnd(8))} ${text}`), `  ${dim('everything fits')}`];
}

function origin({ change: { task } }: Proof): string {
  if (task.digest === null) return '';
  const { kind, uri } = task.origin;
  const what = `${kind === 'issue' ? 'an' : 'a'} ${kind}${uri === null ? '' : ` ${safeText(uri)}`}`;
  return `, on ${what} (${task.digest.slice(0, 'sha256:'.length + 12)}…)`;
}

function summary(good: readonly Verdict[], { style: { bold, green, dim } }: Output): string[] {
  const runs = new Set(good.map(({ proof }) => proof?.change.run));
  const people = new Set(good.map(({ proof }) => safeText(proof?.change.requester ?? '')));
  const refs = new Set(good.map(({ proof }) => safeText(proof?.change.ref ?? '')));
  return [
    `${bold(green('✓'))} ${counted(good.length, 'commit')} were authorised`,
    `  ${dim('made by'.padEnd(8))} ${counted(runs.size, 'run')} for ${[...people].slice(0, 10).join(', ')}`,
    `  ${dim('for'.padEnd(8))} ${[...refs].slice(0, 5).join(', ')}${refs.size > 5 ? ` and ${refs.size - 5} more` : ''}`,
  ];
}

function broken({ commit, held, broken: why }: Verdict, { style: { bold, dim, green, red } }: Output): string[] {
  if (why === null) return [];
  return [
    `${bold(red('✗'))} ${safeText(commit.length >= 40 ? short(commit) : commit)} is not proven`,
    ...held.map(({ link, text }) => `  ${green('✓')} ${dim(link.padEnd(10))} ${safeText(text)}`),
    `  ${red('✗')} ${why.link.padEnd(10)} ${safeText(why.message)}`,
    `    ${bold(why.meaning)}`,
  ];
}

/** For programs: the same, in full. */
export function documentOf({ verdicts, exempt }: Judged) {
  return {
    ok: verdicts.every(({ ok }) => ok),
    exempt,
    commits: verdicts.map(({ commit, ok, held, broken: why, proof }) => ({
      commit,
      ok,
      held,
      broken: why,
      statement: proof?.change ?? null,
      merge: proof?.merge ?? null,
      log: proof === null ? null : { origin: proof.change.log, seq: proof.record.seq, time: proof.record.time },
    })),
  };
}
