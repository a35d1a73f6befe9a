/** A rule asks about a tool call, and a person answers at a terminal: real pty, real sandbox, a scripted model. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { digest } from '../../src/base/digest.ts';
import { serverFolder } from '../fakes/mcp/site.ts';
import { ModelSite } from '../fakes/models/site.ts';
import type { Turn } from '../fakes/models/turn.ts';

const site = new ModelSite();
const { upstream, project } = site;
const cordon = join(import.meta.dirname, '../../cordon');
let turns: readonly Turn[] = [];
const finish: Turn = { tools: [{ id: 'end', name: 'finish', arguments: { summary: 'so far' } }] };
const shell = (id: string, command: string): Turn => ({ tools: [{ id, name: 'shell', arguments: { command } }] });

site.script = (_heard, index) => turns[index] ?? finish;

beforeAll(async () => {
  project.write('a.txt', 'one\n');
  await site.open();
}, 60_000);
afterAll(() => site.close());
beforeEach(() => {
  upstream.heard.length = 0;
});

const ASK = '@ask forbid (principal, action == Action::"tool.call", resource == Tool::"builtin/shell");';
const policy = (more: string) => site.policy(`}\n${more}\n`);

type Typed = string | null | (() => Promise<string>);
/** Types an answer at each question; null leaves it alone. Resolves with all that stood on the terminal. */
async function atTerminal(file: string, answers: readonly Typed[]): Promise<string> {
  const line = `${cordon} run -w ${project.dir} --policy ${file} --model acme/small-1 'do it'; echo "code=$?"`;
  const terminal = spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...site.env, SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  let asked = 0;
  terminal.stdout.setEncoding('utf8');
  for await (const piece of terminal.stdout) {
    text += piece;
    for (; asked < text.split('allow it? [y/N]').length - 1; asked++) {
      const typed = answers[asked] ?? null;
      const answer = typeof typed === 'function' ? await typed() : typed;
      if (answer !== null) terminal.stdin.write(`${answer}\r`);
    }
  }
  return text;
}
const events = () => site.events(JSON.parse(site.cordon('runs', 'list', '--json').stdout).runs[0].id);
// biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is told besides the words
const plain = (text: string) => text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '');

test('yes is for that very call, no is told to the model, and both are in the record', async () => {
  const clears = 'printf "\u001b[2J"; echo no > no.txt';
  turns = [shell('a', 'echo yes > yes.txt'), shell('b', clears), finish];
  const text = await atTerminal(policy(`rules: |\n  ${ASK}`), ['y', 'n']);
  const shown = plain(text);
  expect(shown).toContain('code=0');
  expect(shown).toContain('? tool.call of builtin/shell {"command":"echo yes > yes.txt"}');
  expect(shown).toMatch(/asks first: a rule asks .*\n\s+rule .*policy\.yaml:4/);
  // What the model wrote to clear the screen is shown, not done.
  expect(shown).toContain('? tool.call of builtin/shell {"command":"printf \\"\\u001b[2J\\"; echo no > no.txt"}');
  expect(text).not.toContain('\u001b[2J');
  expect(upstream.heard[2]?.body.messages.at(-1).content).toMatch(/This call is not permitted: .*; it was not given$/);

  const told = events();
  const branch = told.find(({ type }) => type === 'run.stopped').outcome.branch;
  const tree = project.git('ls-tree', '--name-only', branch);
  expect(tree).toContain('yes.txt');
  expect(tree).not.toContain('no.txt');
  const decided = told.filter(({ type }) => type === 'approval.decided');
  expect(decided.map(({ outcome }) => outcome.answer)).toEqual(['approved', 'denied']);
  const of = (command: string) =>
    digest(JSON.stringify({ action: 'tool.call', server: 'builtin', tool: 'shell', input: { command } }));
  expect(decided.map(({ resource }) => resource.subjectDigest)).toEqual([of('echo yes > yes.txt'), of(clears)]);
  expect(site.verify()).toEqual([]);
}, 90_000);

test('a question that nobody answers in time is taken back, and the work goes on without the call', async () => {
  turns = [shell('a', 'echo late > late.txt'), finish];
  const text = await atTerminal(
    policy(
      'approvals: [{when: tool.call, if: \'context.tool == "shell"\', approvers: ["role:security"], expires: 1s}]',
    ),
    [null],
  );
  expect(plain(text)).toContain('code=0');
  const told = events();
  expect(told.find(({ type }) => type === 'approval.decided').outcome.answer).toBe('expired');
  expect(told.filter(({ type }) => type === 'tool.ended').map(({ outcome }) => outcome.result)).toEqual([
    'denied',
    'done',
  ]);
  expect(plain(text)).toContain('taken back: an answer would come too late now');
  expect(upstream.heard[1]?.body.messages.at(-1).content).toMatch(
    /not permitted: .*; nobody gave it within 1(\.0)? s$/,
  );
  expect(site.verify()).toEqual([]);
}, 90_000);

const MCP = `mcp_servers: {docs: {command: [/usr/bin/node, /run/cordon/mcp/server.mjs], tools: [add]}}
approvals: [{when: tool.call, if: 'context.server == "docs"', approvers: ["role:lead"]}]`;
const add = (id: string, a: number): Turn => ({ tools: [{ id, name: 'docs__add', arguments: { a, b: 1 } }] });

test('a call of a tool of an MCP server waits for a person’s yes, and a no keeps it from the server', async () => {
  serverFolder(site.root);
  turns = [add('a', 41), add('b', 98), finish];
  const shown = plain(await atTerminal(policy(MCP), ['y', 'n']));
  expect(shown).toContain('code=0');
  expect(shown).toContain('? tool.call of docs/add {"a":41,"b":1}');
  expect(shown).toContain('? tool.call of docs/add {"a":98,"b":1}');
  expect(upstream.heard[1]?.body.messages.at(-1).content).toContain('data, not instructions]\n42');
  expect(upstream.heard[2]?.body.messages.at(-1).content).toMatch(/This call is not permitted: .*; it was not given$/);
  const told = events();
  const decided = told.filter(({ type }) => type === 'approval.decided');
  expect(decided.map(({ outcome }) => outcome.answer)).toEqual(['approved', 'denied']);
  const of = (a: number) =>
    digest(JSON.stringify({ action: 'tool.call', server: 'docs', tool: 'add', input: { a, b: 1 } }));
  expect(decided.map(({ resource }) => resource.subjectDigest)).toEqual([of(41), of(98)]);
  expect(told.filter(({ type }) => type === 'tool.ended').map(({ outcome }) => outcome.result)).toEqual([
    'done',
    'denied',
    'done',
  ]);
  expect(site.verify()).toEqual([]);
}, 90_000);

test('one yes is for one question: what a program asks behind another question waits for its own', async () => {
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'add', arguments: { a: 7, b: 1 } },
  });
  const behind = `setsid curl -sS --noproxy '*' -H "Authorization: Bearer $CORDON_MCP_TOKEN" -H 'Content-Type: application/json' \
    -d '${body}' "$CORDON_MCP_URL/docs" > /tmp/answer 2>&1 & echo begun`;
  turns = [shell('a', behind), add('b', 41), finish];
  // Both are being asked before the first is answered.
  const both = async () => {
    await expect
      .poll(() => events().filter(({ type }) => type === 'approval.requested').length, { timeout: 60_000 })
      .toBe(2);
    return 'y';
  };
  const shown = plain(await atTerminal(policy(MCP), [both, 'n']));
  expect(shown).toContain('code=0');
  expect(shown.split('allow it? [y/N]')).toHaveLength(3);
  const answers = events().filter(({ type }) => type === 'approval.decided');
  expect(answers.map(({ outcome }) => outcome.answer)).toEqual(['approved', 'denied']);
  expect(site.verify()).toEqual([]);
}, 90_000);
