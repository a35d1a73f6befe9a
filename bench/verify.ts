/**
 * `cordon verify`, as built: one commit (at most 50 ms beyond the start of the process, by each one's best round: a busy machine makes rounds
 * worse, never better; and how much computing that is) beside `git verify-commit`, and a range of 1,000
 * commits, each with a proof of its own (at most 10 s). Interleaved.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodeBundle } from '../src/attest/bundle.ts';
import { formatTrust } from '../src/attest/trust.ts';
import { AttestationScene } from '../test/fakes/attestation-scene.ts';
import { installBuilt } from './_built.ts';
import { bar, median, row, timed } from './_table.ts';

const COMMITS = 1_000;
const scene = new AttestationScene();
const program = installBuilt(join(scene.root, 'package'));
const env = { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, HOME: join(scene.root, 'home') };
const run = (file: string, args: readonly string[], cwd: string) => {
  const { status, stderr } = spawnSync(file, args, { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${status}: ${stderr}`);
};

/** Milliseconds of processor that children which ended have taken, and theirs (proc(5), `cutime` and `cstime`). */
function childTicks(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

/** A thousand commits on top of each other; every one was pushed by itself. */
async function history(): Promise<string> {
  const { user } = scene;
  const identity = 'Agent <agent@acme.example> 1772366400 +0000';
  const lines = Array.from({ length: COMMITS }, (_, i) => {
    const parent = i === 0 ? `from ${scene.head}\n` : '';
    return `commit refs/heads/long\nmark :${i + 1}\ncommitter ${identity}\ndata 2\nc\n${parent}M 100644 inline f${i % 50}\ndata ${`${i}\n`.length}\n${i}\n\n`;
  });
  user.bytes(['fast-import', '--quiet'], lines.join(''));
  const commits = user.git('log', '--reverse', '--format=%H %T', `${scene.head}..long`).split('\n');
  const refs: string[] = [];
  let from = scene.head;
  for (const line of commits) {
    const [commit = '', tree = ''] = line.split(' ');
    const bundle = await scene.bundle({}, null, await scene.change([{ commit, tree }], from));
    const oid = user.bytes(['hash-object', '-w', '--stdin'], encodeBundle(bundle)).toString().trim();
    refs.push(`create refs/attestations/cordon/${commit} ${oid}\n`);
    from = commit;
  }
  user.bytes(['update-ref', '--stdin'], refs.join(''));
  return from;
}

/** A commit signed with an SSH key, for git's own check. */
function signed(): void {
  const { user, root } = scene;
  const key = join(root, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const publicKey = execFileSync('cut', ['-d', ' ', '-f1,2', `${key}.pub`]).toString();
  writeFileSync(join(root, 'allowed'), `agent@acme.example ${publicKey}`);
  const settings = { 'gpg.format': 'ssh', 'user.signingKey': key, 'gpg.ssh.allowedSignersFile': join(root, 'allowed') };
  for (const [name, value] of Object.entries(settings)) user.git('config', name, value);
  user.git('commit', '-q', '--allow-empty', '-S', '-m', 'signed');
}

try {
  const trust = join(scene.root, 'trust.json');
  writeFileSync(trust, formatTrust(scene.trust));
  scene.place(encodeBundle(await scene.bundle()));
  const last = await history();
  signed();
  const { dir } = scene.user;
  const contestants = {
    start: [program, '--version'],
    verify: [program, 'verify', scene.head, '--key', trust],
    git: ['git', 'verify-commit', 'HEAD'],
  } as const;
  const seen: Record<keyof typeof contestants, { wall: number[]; cpu: number[] }> = {
    start: { wall: [], cpu: [] },
    verify: { wall: [], cpu: [] },
    git: { wall: [], cpu: [] },
  };
  for (let round = -2; round < 31; round++) {
    for (const name of ['start', 'verify', 'git'] as const) {
      const [file, ...args] = contestants[name];
      const before = childTicks();
      const wall = await timed(() => run(file, args, dir));
      if (round < 0) continue;
      seen[name].wall.push(wall);
      seen[name].cpu.push(childTicks() - before);
    }
  }
  const best = (name: keyof typeof seen) => Math.min(...seen[name].wall);
  const show = (what: string, name: keyof typeof seen, note = '') => {
    const mean = seen[name].cpu.reduce((sum, ms) => sum + ms, 0) / seen[name].cpu.length;
    row(
      what,
      `${best(name).toFixed(1)} ms`,
      `median ${median(seen[name].wall).toFixed(1)}, ${mean.toFixed(0)} ms of a processor  ${note}`,
    );
  };
  show('cordon --version', 'start');
  show('git verify-commit (signature alone)', 'git');
  show('cordon verify COMMIT', 'verify', bar(best('verify') - best('start') <= 50, 'at most 50 ms beyond the start'));
  const rounds: number[] = [];
  for (let i = 0; i < 3; i++)
    rounds.push(await timed(() => run(program, ['verify', '--range', `${scene.head}..${last}`, '--key', trust], dir)));
  const range = median(rounds);
  row(
    `cordon verify --range of ${COMMITS} commits, a proof each`,
    `${(range / 1000).toFixed(2)} s`,
    bar(range <= 10_000, 'at most 10 s'),
  );
} finally {
  scene.dispose();
}
