import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodingsOf } from '../../src/base/redact/index.ts';
import { type Finished, Installation, Project } from '../fakes/project.ts';

const VALUE = 'hunter-of-the+snark/1874?';
/** Nobody was told this one: it is known by its shape. */
const SHAPED = `ghp_${'k7Qz'.repeat(9)}`;
const site = new Installation();
let project: Project;

beforeAll(() => {
  project = new Project(join(site.root, 'repository'));
  project.write('a.txt', 'a\n').write(
    '.cordon/policy.yaml',
    `version: 1
git: {push: {branches: ["cordon/**"]}}
secrets:
  - {name: OPEN_TOKEN, use: {env: OPEN}}
`,
  );
  project.commit('first');
  site.keep('OPEN_TOKEN', VALUE);
});
afterAll(() => site.dispose());

function* filesBelow(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

const forms = [...encodingsOf(Buffer.from(VALUE)), ...encodingsOf(Buffer.from(SHAPED))];

/** Where it is, in which form; empty when it is nowhere. */
function found(where: string, bytes: Buffer | string): string[] {
  const data = Buffer.from(bytes as string);
  return forms.filter((form) => data.includes(form)).map((form) => `${where}: ${form}`);
}

/** Everything that the run left or showed, also what lies encrypted beside the log, read back. */
function everything(run: Finished): string[] {
  const id = run.result.runId;
  const read = [
    ['runs', 'logs', id],
    ['runs', 'show', id],
    ['runs', 'show', id, '--json'],
    ['runs', 'commands', id, '--json'],
    ['runs', 'list', '--json'],
    ['runs', 'artifacts', id, '--json'],
    ['audit', 'show', '--run', id, '--json'],
  ].flatMap((args) => {
    const { stdout, stderr } = site.cordon(...args);
    return found(args.join(' '), stdout + stderr);
  });
  const kept = [...filesBelow(site.home)].flatMap((path) => found(path, readFileSync(path)));
  return [...read, ...kept, ...found('stdout', run.stdout), ...found('stderr', run.stderr)];
}

test('printed, in arguments, names, folders and errors, in every encoding, and by shape', async () => {
  const script = `
    echo "plain $OPEN"; printf %s "$OPEN" | base64; printf 'x%s' "$OPEN" | base64; printf 'xy%s' "$OPEN" | base64
    printf %s "$OPEN" | od -An -tx1 | tr -d ' \\n'; echo
    echo "${SHAPED}" >&2
    printf 'coloured \\033[31m%s\\033[1;32m%s\\033[0m\\n' "$(printf %s "$OPEN" | cut -c1-9)" "$(printf %s "$OPEN" | cut -c10-)"
    for c in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do printf %s "$OPEN" | cut -c$c | tr -d '\\n'; done; echo
    /usr/bin/env true "$OPEN" --header "Authorization: Bearer ${SHAPED}"
    mkdir -p "/tmp/$OPEN"; cd "/tmp/$OPEN"; /usr/bin/true; cd /workspace
    "/usr/bin/no-such-$OPEN"; ls "$OPEN"
    git push origin "HEAD:refs/heads/x-$(printf %s "$OPEN" | tr -d '?')"
    exit 3`;
  const run = await site.start(project, script).done;
  expect(run.status).toBe(1);
  expect(run.stderr).toContain('plain [secret:OPEN_TOKEN]');
  expect(run.stderr).toContain('[secret:github-token]');
  expect(run.stderr).toContain('coloured [secret:OPEN_TOKEN]');
  expect(everything(run)).toEqual([]);
  const commands = site.cordon('runs', 'commands', run.result.runId).stdout;
  expect(commands).toContain('[secret:OPEN_TOKEN]');
  expect(site.verify()).toEqual([]);
}, 60_000);

test.each([
  ['a file', 'printf %s "$OPEN" > leak.txt'],
  ['the name of a file', 'echo x > "$(printf %s "$OPEN" | base64 | tr / _)"'],
  ['a message', 'echo x > x.txt; git add x.txt; git -c user.name=a -c user.email=a@b.c commit -qm "about $OPEN"'],
  ['an author', 'echo x > x.txt; git add x.txt; git -c user.name="$OPEN" -c user.email=a@b.c commit -qm x'],
])('in %s of the change: not delivered, and not kept', async (_, script) => {
  const run = await site.start(project, script).done;
  expect(run.result.status).toBe('denied');
  expect(run.result.stopReason).toContain('not delivered');
  expect(project.git('branch', '--list', 'cordon/*')).toBe('');
  expect(everything(run)).toEqual([]);
});

test('in the command line that asks for the run', async () => {
  const run = site.cordon('run', '--json', '-w', project.dir, `use ${VALUE}`, '--', 'echo', VALUE, SHAPED);
  expect(run.result.status).toBe('succeeded');
  expect(everything(run)).toEqual([]);
  expect(site.verify()).toEqual([]);
});
