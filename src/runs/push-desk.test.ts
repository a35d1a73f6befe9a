/** Pushes that need an approval, by stock git against the gateway: what the pusher reads, what moves, what is on record. */
import { spawn } from 'node:child_process';
import { afterEach, describe, expect, test } from 'vitest';
import { type DeskScene, deskScene } from '../../test/fakes/desk-scene.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { branch, gitEnv } from '../../test/fakes/push-scene.ts';
import type { RunIo } from './system.ts';

const REF = `refs/heads/${branch}`;
const POLICY = 'version: 1\nfilesystem: {protect: [CODEOWNERS]}\n';

/** The person at the terminal: answers when the test says so. */
class Person {
  readonly asked: string[] = [];
  #answer: ((yes: boolean) => void) | null = null;
  #gone: ((error: Error) => void) | null = null;
  #waiting: (() => void) | null = null;

  readonly ask: NonNullable<RunIo['ask']> = ({ reason, signal }) => {
    this.asked.push(reason);
    this.#waiting?.();
    return new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#gone = reject;
      signal?.addEventListener('abort', () => this.#gone?.(signal.reason));
    });
  };

  says(yes: boolean): void {
    this.#answer?.(yes);
  }

  async isAsked(times = 1): Promise<void> {
    while (this.asked.length < times) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
  }
}

/** `git push` whose words are read while it runs. */
class Push {
  text = '';
  readonly child;
  readonly done: Promise<number | null>;
  constructor(dir: string) {
    this.child = spawn('git', ['push', 'origin', `+HEAD:${REF}`], { cwd: dir, env: gitEnv, detached: true });
    this.child.stderr.on('data', (chunk) => {
      this.text += chunk;
    });
    this.done = new Promise((resolve) => this.child.on('close', resolve));
  }

  async shows(words: RegExp): Promise<void> {
    while (!words.test(this.text)) {
      const more = new Promise<void>((resolve) => this.child.stderr.once('data', () => resolve()));
      const ended = this.done.then(() => {
        if (!words.test(this.text)) throw new Error(`it never said ${words}: ${this.text}`);
      });
      await Promise.race([more, ended]);
    }
  }
}

let it: DeskScene;
let person: Person;
let clock: ManualClock;

async function open(more: Parameters<typeof deskScene>[0] = {}): Promise<void> {
  person = new Person();
  clock = new ManualClock(Date.now());
  it = await deskScene({ policy: POLICY, clock, ask: person.ask, ...more });
}

function protectedCommit(content = '* @me\n'): string {
  it.scene.guest.write('CODEOWNERS', content);
  return it.scene.guest.commit('owners');
}

const head = () => it.scene.quarantine.head(REF);
const outcomes = () => it.events('git.decided').map(({ outcome }) => (outcome as { result: string }).result);
const answers = () => it.events('approval.decided').map(({ outcome }) => outcome);

afterEach(() => it.close());

describe('a push that needs an approval', () => {
  test('is held open, hears of it again and again, and is taken by a yes', async () => {
    await open();
    const commit = protectedCommit();
    const push = new Push(it.scene.guest.dir);
    await person.isAsked();
    await push.shows(/remote: cordon: approval [0-9a-f]{16} is needed; waiting for it, 10 m 00 s at most/);
    clock.advance(15_000);
    await push.shows(/remote: cordon: still waiting, 15\.0 s/);
    clock.advance(30_000);
    await push.shows(/remote: cordon: still waiting, 45\.0 s/);
    expect(push.child.exitCode).toBeNull();
    expect(await head()).toBeNull();
    expect(it.events('git.decided')).toEqual([]);
    person.says(true);
    expect(await push.done).toBe(0);
    expect(await head()).toBe(commit);
    expect(outcomes()).toEqual(['accepted']);
    expect(answers()).toEqual([{ answer: 'approved', note: null }]);
    expect(clock.waiting).toBe(0);
  });

  test('is refused by a no, and the same is not asked again, now or when it is delivered', async () => {
    await open();
    const commit = protectedCommit();
    const first = new Push(it.scene.guest.dir);
    await person.isAsked();
    person.says(false);
    expect(await first.done).toBe(1);
    expect(first.text).toMatch(/needs an approval, and it was not given/);
    expect(first.text).toMatch(/to ask: another commit may be asked about; this one was denied/);
    const second = new Push(it.scene.guest.dir);
    expect(await second.done).toBe(1);
    expect(second.text).toMatch(/it was not given/);
    expect(person.asked).toHaveLength(1);
    expect(await head()).toBeNull();

    it.desk.deliver();
    expect(await new Push(it.scene.guest.dir).done).toBe(0);
    const { quarantine } = it.scene;
    const verdict = await it.review.judge(
      { quarantine, head: commit, kind: 'create' },
      it.desk.last?.received as number,
    );
    expect(verdict).toMatchObject({ accepted: false, unapproved: { code: 'approval_denied' } });
    expect(person.asked).toHaveLength(1);
  });

  test('with another content is another question', async () => {
    await open();
    protectedCommit('one\n');
    const first = new Push(it.scene.guest.dir);
    await person.isAsked();
    person.says(false);
    await first.done;
    const commit = protectedCommit('two\n');
    const second = new Push(it.scene.guest.dir);
    await person.isAsked(2);
    person.says(true);
    expect(await second.done).toBe(0);
    expect(await head()).toBe(commit);
  });

  test('that nobody answers in time is refused, says how to go on, and may be asked again', async () => {
    await open();
    const commit = protectedCommit();
    const first = new Push(it.scene.guest.dir);
    await person.isAsked();
    clock.advance(10 * 60_000);
    expect(await first.done).toBe(1);
    expect(first.text).toMatch(/nobody gave it within 10 m 00 s/);
    expect(first.text).toMatch(/to ask: push the same commit again to ask again/);
    expect(answers()).toEqual([{ answer: 'expired', note: null }]);
    expect(await head()).toBeNull();
    const second = new Push(it.scene.guest.dir);
    await person.isAsked(2);
    person.says(true);
    expect(await second.done).toBe(0);
    expect(await head()).toBe(commit);
  });

  test('waits no longer than the policy lets it', async () => {
    await open({
      policy: `${POLICY}approvals: [{when: git.push, if: changes protected paths, approvers: ["role:any"], expires: 30s}]\n`,
    });
    protectedCommit();
    const push = new Push(it.scene.guest.dir);
    await push.shows(/waiting for it, 30\.0 s at most/);
    clock.advance(30_000);
    expect(await push.done).toBe(1);
    expect(push.text).toMatch(/nobody gave it within 30\.0 s/);
  });

  test('whose pusher goes away asks no longer, leaves nothing, and lets the next one through', async () => {
    await open();
    protectedCommit();
    const push = new Push(it.scene.guest.dir);
    await person.isAsked();
    // The connection is held by a child of git's.
    process.kill(-(push.child.pid as number), 'SIGKILL');
    await push.done;
    it.scene.guest.git('reset', '-q', '--hard', 'HEAD~1');
    it.scene.guest.write('fine.txt', 'fine\n');
    const commit = it.scene.guest.commit('fine');
    const next = new Push(it.scene.guest.dir);
    expect(await next.done).toBe(0);
    expect(await head()).toBe(commit);
    expect(answers()).toEqual([{ answer: 'expired', note: 'who asked for it went away' }]);
    expect(outcomes()).toEqual(['refused', 'accepted']);
    expect(clock.waiting).toBe(0);
  });

  test('is not held where nobody can be asked, and names the file and the ways on', async () => {
    person = new Person();
    clock = new ManualClock(Date.now());
    it = await deskScene({ policy: POLICY, clock });
    protectedCommit();
    const push = new Push(it.scene.guest.dir);
    expect(await push.done).toBe(1);
    expect(push.text).toMatch(/nobody was there to give it: .*CODEOWNERS/);
    expect(push.text).toMatch(/to ask: run it from a terminal with --approvals prompt/);
    expect(clock.waiting).toBe(0);
  });
});

describe('what becomes of an approval', () => {
  test('the statement can name it: it lies between the question and what follows', async () => {
    await open();
    const commit = protectedCommit();
    const push = new Push(it.scene.guest.dir);
    await person.isAsked();
    person.says(true);
    await push.done;
    const verdict = await it.review.acceptedBefore({ quarantine: it.scene.quarantine, head: commit, kind: 'create' });
    const [question] = it.events('approval.requested');
    const [answer] = it.events('approval.decided');
    expect(verdict).toMatchObject({ decided: question?.seq, approvals: [{ seq: answer?.seq }] });
    expect(answer?.seq).toBeGreaterThan(question?.seq as number);
  });
});

describe('the run’s own branch', () => {
  test('may be rewritten until it is delivered: what counts is its last state', async () => {
    await open({ policy: 'version: 1\n' });
    const { guest } = it.scene;
    guest.write('a.txt', 'one\n');
    guest.commit('one');
    expect(await new Push(guest.dir).done).toBe(0);
    guest.git('commit', '-q', '--amend', '-m', 'two');
    expect(await new Push(guest.dir).done).toBe(0);
    expect(await head()).toBe(guest.git('rev-parse', 'HEAD'));
    expect(it.events('git.decided').map(({ resource }) => (resource as { kind: string }).kind)).toEqual([
      'create',
      'create',
    ]);
    // Without force it is still git that warns whoever rewrites without meaning to.
    guest.git('commit', '-q', '--amend', '-m', 'three');
    expect(await guest.tryGit('push', 'origin', `HEAD:${REF}`)).toMatchObject({ ok: false });
  });

  test('does not leave the base by it', async () => {
    await open({ policy: 'version: 1\n' });
    const { guest } = it.scene;
    guest.git('reset', '-q', '--hard', 'HEAD~1');
    guest.write('a.txt', 'one\n');
    guest.commit('beside the base');
    const push = new Push(guest.dir);
    expect(await push.done).toBe(1);
    expect(push.text).toMatch(/does not contain the base/);
    expect(await head()).toBeNull();
  });
});
