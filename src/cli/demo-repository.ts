import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OutsideError } from '../base/errors.ts';
import { gitBytes, gitEnv } from '../base/git.ts';
import { runProgram } from '../base/process.ts';

/**
 * The example that `cordon demo` works on: a small invoice calculator in shell and awk, so that it needs nothing but what a
 * Debian machine has. Its rounding is wrong, and its test says so. `tools/agent.sh` stands in for a coding agent.
 */
const files: Readonly<Record<string, string>> = {
  'README.md': `# Invoices

    sh bin/invoice FILE

adds up an invoice: one line an item, QUANTITY UNIT-PRICE VAT-PERCENT, prices in cents.
VAT is rounded half up for each line, as our customers' tax offices want it.
`,

  'bin/invoice': `#!/bin/sh
# Adds up an invoice. Prices are in cents.
exec awk -f "$(dirname "$0")/../lib/invoice.awk" "$@"
`,

  'lib/invoice.awk': `/^#/ || NF == 0 { next }
{
    net = $1 * $2
    vat = int(net * $3 / 100)
    total += net + vat
}
END { printf "%.2f\\n", total / 100 }
`,

  'test/run.sh': `#!/bin/sh
# Runs every case of test/cases: NAME.in is the invoice, NAME.out what it must come to.
cd "$(dirname "$0")" || exit 2
failed=0
for want in cases/*.out; do
    name=$(basename "$want" .out)
    got=$(sh ../bin/invoice "cases/$name.in")
    if [ "$got" = "$(cat "$want")" ]; then
        echo "ok    $name"
    else
        echo "FAIL  $name: got $got, want $(cat "$want")"
        failed=1
    fi
done
exit $failed
`,

  'test/cases/one-line.in': '1 1000 20\n',
  'test/cases/one-line.out': '12.00\n',
  'test/cases/half-a-cent.in': '# 3 × 0.99 at 17.5 %: VAT is 51.975 cents\n3 99 17.5\n1 10 5\n',
  'test/cases/half-a-cent.out': '3.60\n',

  'tools/agent.sh': `#!/bin/sh
# Stands in for a coding agent: looks, repairs, tests, commits, and then tries what it should not.
echo "task: $(cat "$CORDON_TASK_FILE")"
sh test/run.sh
echo "int() cuts half a cent off: round half up instead"
sed -i 's|int(net \\* $3 / 100)|int(net * $3 / 100 + 0.5)|' lib/invoice.awk
sh test/run.sh || exit 1
git commit -qam "Round VAT half up for each line" && echo "committed $(git rev-parse --short HEAD)"

echo "trying a program that the policy forbids"
/usr/bin/perl -e 'print "perl ran\\n"'
echo "trying to push to main"
git push -q origin HEAD:main
exit 0
`,

  '.cordon/policy.yaml': `version: 1
security:
  allowed_commands:
    - /usr/bin/sh
    - /usr/bin/git
    - /usr/bin/awk
    - /usr/bin/basename
    - /usr/bin/cat
    - /usr/bin/dirname
    - /usr/bin/sed
git:
  push:
    branches: ["cordon/**"]
    force: deny
    delete: deny
    tags: deny
rules: |
  // Only a person changes main.
  forbid (principal, action == Action::"git.push", resource) when { context.ref == "refs/heads/main" };
  // No interpreter but the shell.
  forbid (principal, action == Action::"command.execute", resource) when { context.path like "*/perl*" };
limits: {memory: 512m, pids: 64, disk: 256m, wall_clock: 2m}
tests:
  - {action: git.push, ref: refs/heads/main, expect: deny}
`,
};

export const demoTask = 'test/cases/half-a-cent fails: find out why, and correct it';
export const demoAgent = ['sh', 'tools/agent.sh'] as const;

/** Makes the repository with one commit on `main` in a folder that does not exist yet. Throws `OutsideError`. */
export async function makeDemoRepository(dir: string, timestampMs: number): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
  }
  const init = await runProgram('git', ['init', '--quiet', '--initial-branch=main', '--template=', dir], {
    env: gitEnv,
  });
  if (init.exitCode !== 0) throw new OutsideError(`git init in ${dir} failed: ${init.stderr.trim()}`);
  const place = { gitDir: join(dir, '.git'), workTree: dir };
  const date = `${Math.floor(timestampMs / 1_000)} +0000`;
  const env = { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date };
  await gitBytes(place, ['add', '--all'], { cwd: dir });
  await gitBytes(place, ['commit', '--quiet', '-m', 'Add up invoices'], { cwd: dir, env });
}
