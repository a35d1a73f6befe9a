import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type FakeForge, forgeRepository, startForge } from '../../test/fakes/forge.ts';
import { GitFolder, userRepository } from '../../test/fakes/push-scene.ts';
import { packet } from '../base/pktline.ts';
import { parseRemote, type RemoteName } from '../policy/remotes.ts';
import { type ForgeLimits, openForge } from './index.ts';
import { type Mirror, openMirror } from './mirror.ts';

let root: string;
let server: FakeForge;
let bare: GitFolder;
let user: GitFolder;
const open: Mirror[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'cordon-mirror-'));
  mkdirSync(join(root, 'served'));
  server = await startForge(join(root, 'served'));
});
afterAll(async () => {
  await server.close();
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  for (const name of ['user', 'served/app.git', 'mirrors']) rmSync(join(root, name), { recursive: true, force: true });
  mkdirSync(join(root, 'mirrors'));
  user = userRepository(join(root, 'user'));
  bare = forgeRepository(join(root, 'served'), 'app.git', user);
  server.packBytes();
});
afterEach(() => {
  for (const mirror of open.splice(0)) mirror.release();
  server.intercept = null;
});

function remote(path = 'app.git'): RemoteName {
  const parsed = parseRemote(server.url(path));
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

interface Wish {
  readonly limits?: Partial<ForgeLimits>;
  readonly maxBytes?: number;
  readonly token?: string | null;
  readonly ca?: string;
  readonly signal?: AbortSignal;
  readonly mostPacks?: number;
}

async function mirror(wish: Wish = {}): Promise<Mirror> {
  const { token = server.token, signal = new AbortController().signal } = wish;
  const forge = openForge('git', {
    repository: remote(),
    scheme: 'basic',
    user: 'robot',
    token: async () => (token === null ? null : Buffer.from(token)),
    ca: [wish.ca ?? server.ca].filter((ca) => ca !== ''),
    limits: wish.limits ?? {},
    signal,
  });
  try {
    const made = await openMirror({
      root: join(root, 'mirrors'),
      forge,
      maxBytes: wish.maxBytes ?? 1e9,
      signal,
      crossing: (update) => update(),
      ...(wish.mostPacks === undefined ? {} : { mostPacks: wish.mostPacks }),
    });
    open.push(made);
    return made;
  } finally {
    forge.close();
  }
}

const git = (made: Mirror, ...args: string[]) => new GitFolder(made.place.gitDir).git('--git-dir=.', ...args);
const names = () => readdirSync(join(root, 'mirrors')).filter((name) => !/\.(lock|use)$/.test(name));

describe('a mirror', () => {
  test('has what the remote has; what comes later comes as little; what is gone is gone', async () => {
    const first = await mirror();
    expect(first.listing).toMatchObject({ head: 'refs/heads/main', objectFormat: 'sha1', odd: 0 });
    expect(git(first, 'rev-parse', 'HEAD')).toBe(user.git('rev-parse', 'main'));
    expect(git(first, 'fsck', '--strict')).not.toMatch(/error|missing|dangling/);
    const whole = server.packBytes();
    const again = await mirror();
    expect(again.received).toBe(0);
    user.write('more.txt', 'more\n');
    const head = user.commit('more');
    user.git('push', '-q', bare.dir, 'main', 'main:refs/heads/side', 'main:refs/tags/v1');
    server.packBytes();
    const third = await mirror();
    expect(git(third, 'rev-parse', 'main', 'side', 'v1').split('\n')).toEqual([head, head, head]);
    expect(third.received).toBeGreaterThan(0);
    expect(server.packBytes()).toBeLessThan(whole);
    user.git('push', '-q', bare.dir, ':refs/heads/side', '+HEAD~2:refs/heads/main');
    const fourth = await mirror();
    expect(git(fourth, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main\nrefs/tags/v1');
    expect(git(fourth, 'rev-parse', 'main')).toBe(user.git('rev-parse', 'HEAD~2'));
    expect(fourth.received).toBe(0);
  });

  test('takes objects named by SHA-256, annotated tags, and a repository that stands still empty', async () => {
    rmSync(bare.dir, { recursive: true });
    mkdirSync(bare.dir);
    bare.git('init', '-q', '--bare', '-b', 'main', '--object-format=sha256');
    expect((await mirror()).listing).toMatchObject({ refs: [] });
    const other = userRepository(join(root, 'user256'), ['--object-format=sha256']);
    other.git('tag', '-am', 'one', 'v1');
    other.git('push', '-q', bare.dir, 'main', 'v1');
    const made = await mirror();
    expect(made.listing.objectFormat).toBe('sha256');
    expect(git(made, 'rev-parse', 'v1^{commit}')).toBe(other.git('rev-parse', 'main'));
  });

  test('two at once: one fetches, both have it', async () => {
    const [one, two] = await Promise.all([mirror(), mirror()]);
    expect([one?.received, two?.received].filter((bytes) => bytes === 0)).toHaveLength(1);
    expect(git(two as Mirror, 'rev-parse', 'main')).toBe(user.git('rev-parse', 'main'));
  });

  test('is packed anew when it has many packs, but not under a reader', async () => {
    const reader = await mirror();
    for (let i = 0; i < 4; i++) {
      user.write('n.txt', `${i}\n`);
      user.commit(`n ${i}`);
      user.git('push', '-q', bare.dir, 'main');
      (await mirror({ mostPacks: 2 })).release();
    }
    const packs = () => readdirSync(join(reader.objectsDir, 'pack')).filter((name) => name.endsWith('.pack')).length;
    expect(packs()).toBe(5);
    for (const one of open.splice(0)) one.release();
    const last = await mirror({ mostPacks: 2 });
    expect(packs()).toBe(1);
    expect(git(last, 'fsck', '--strict')).not.toMatch(/error|missing/);
    expect(git(last, 'rev-parse', 'main')).toBe(user.git('rev-parse', 'main'));
  });
});

describe('what is refused leaves the mirror as it was', () => {
  afterEach(async () => {
    const dir = names()[0];
    if (dir !== undefined) expect(readdirSync(join(root, 'mirrors', dir))).not.toContain('incoming');
    server.intercept = null;
    // Whatever happened, the next one works.
    for (const one of open.splice(0)) one.release();
    expect(git(await mirror(), 'cat-file', '-t', 'HEAD')).toBe('commit');
  });

  const fault = (name: string) => expect.objectContaining({ fault: name });

  test('no credential, a wrong one; the answer that repeats it is not repeated', async () => {
    await expect(mirror({ token: null })).rejects.toEqual(fault('auth'));
    const error = await mirror({ token: 'wrong-token-12345' }).catch((cause: Error) => cause);
    expect(error).toMatchObject({ fault: 'auth' });
    const encoded = Buffer.from('robot:wrong-token-12345').toString('base64');
    expect(String((error as Error).message)).not.toMatch(new RegExp(`wrong-token-12345|${encoded}`));
    expect(String((error as Error).message)).toContain('[secret:token]');
  });

  test('a certificate that is for another host, or from nobody known', async () => {
    await expect(mirror({ ca: '' })).rejects.toEqual(fault('certificate'));
    const wrong = await startForge(join(root, 'served'), 'elsewhere.example');
    const honest = server;
    server = wrong;
    try {
      await expect(mirror()).rejects.toEqual(fault('certificate'));
      expect(wrong.shown.size).toBe(0);
    } finally {
      server = honest;
      await wrong.close();
    }
  });

  test('a way to another host, or another port: nothing is asked there', async () => {
    const other = await startForge(join(root, 'served'));
    try {
      for (const location of [
        other.url('app.git/info/refs?service=git-upload-pack'),
        'http://localhost/',
        '//evil.example/a',
      ]) {
        server.intercept = (_, response) => {
          response.writeHead(302, { location }).end();
          return true;
        };
        await expect(mirror({ ca: server.ca + other.ca })).rejects.toEqual(fault('redirect'));
      }
      expect(other.requests).toEqual([]);
    } finally {
      await other.close();
    }
  });

  test('a new address on the same host is followed', async () => {
    server.intercept = (request, response) => {
      if (!request.url?.startsWith('/app.git/')) return false;
      response.writeHead(301, { location: request.url.replace('/app.git/', '/renamed/app.git/') }).end();
      return true;
    };
    mkdirSync(join(root, 'served/renamed'), { recursive: true });
    forgeRepository(join(root, 'served/renamed'), 'app.git', user);
    expect(git(await mirror(), 'rev-parse', 'HEAD')).toBe(user.git('rev-parse', 'main'));
  });

  test('an endless list of refs, an endless answer, one that never comes', async () => {
    const line = packet(`${'a'.repeat(40)} refs/heads/branch
`).toString();
    let n = 0;
    const endless = (request: { url?: string | undefined }, response: import('node:http').ServerResponse) => {
      if (!request.url?.endsWith('/git-upload-pack')) return false;
      response.writeHead(200, { 'Content-Type': 'application/x-git-upload-pack-result' });
      const more = () => {
        while (response.write(line.replace('branch', () => `b${String(n++ % 100_000).padStart(5, '0')}`)));
        response.once('drain', more);
      };
      more();
      return true;
    };
    server.intercept = endless;
    await expect(mirror({ limits: { refBytes: 1e6, refs: 1e9 } })).rejects.toEqual(fault('limit'));
    await expect(mirror({ limits: { refs: 1000 } })).rejects.toEqual(fault('limit'));
    server.intercept = () => true;
    await expect(mirror({ limits: { idle: 300 } })).rejects.toEqual(fault('unreachable'));
    server.intercept = (_, response) => {
      response.writeHead(200, { 'Content-Type': 'application/x-git-upload-pack-advertisement' });
      const drip = setInterval(() => response.write('0'), 50);
      response.on('close', () => clearInterval(drip));
      return true;
    };
    await expect(mirror({ limits: { time: 1000 } })).rejects.toMatchObject({
      fault: expect.stringMatching(/unreachable|protocol/),
    });
  });

  test('a pack larger than there is room for', async () => {
    user.write('large.bin', Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251)));
    user.commit('large');
    user.git('push', '-q', bare.dir, 'main');
    await expect(mirror({ maxBytes: 1000 })).rejects.toEqual(fault('limit'));
  });

  test('what is not git, a server that knows no protocol 2, one that dies in the middle', async () => {
    const answerAll = (type: string, body: string) => {
      server.intercept = (_, response) => {
        response.writeHead(200, { 'Content-Type': type }).end(body);
        return true;
      };
    };
    answerAll('text/html', '<html>');
    await expect(mirror()).rejects.toEqual(fault('protocol'));
    answerAll('application/x-git-upload-pack-advertisement', 'zzzz');
    await expect(mirror()).rejects.toEqual(fault('protocol'));
    answerAll(
      'application/x-git-upload-pack-advertisement',
      `001e# service=git-upload-pack\n00000032${'a'.repeat(40)} HEAD\n0000`,
    );
    await expect(mirror()).rejects.toEqual(fault('protocol'));
    server.intercept = null;
    await mirror();
    user.write('large.bin', Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251)));
    user.commit('large');
    user.git('push', '-q', bare.dir, 'main');
    let posts = 0;
    server.intercept = (request, response) => {
      if (!request.url?.endsWith('/git-upload-pack') || ++posts % 2 === 1) return false;
      const write = response.write.bind(response) as (chunk: Buffer) => boolean;
      response.write = ((chunk: Buffer) => {
        write(chunk.subarray(0, 200));
        response.destroy();
        return false;
      }) as never;
      return false;
    };
    await expect(mirror()).rejects.toEqual(fault('unreachable'));
  });

  test('a cancelled fetch', async () => {
    const abort = new AbortController();
    server.intercept = () => {
      abort.abort();
      return true;
    };
    await expect(mirror({ signal: abort.signal })).rejects.toEqual(fault('cancelled'));
  });

  test('names of refs that no policy could decide upon are left out', async () => {
    const head = user.git('rev-parse', 'main');
    for (const name of [
      'refs/heads/$(id)',
      'refs/heads/--upload-pack=x',
      'refs/heads/a\u202eb',
      'refs/notes/x',
      'refs/replace/x',
    ])
      bare.git('update-ref', '--no-deref', name, head);
    const made = await mirror();
    expect(made.listing.odd).toBe(3);
    expect(made.listing.refs.map(({ name }) => name)).toEqual(['refs/heads/main']);
    expect(git(made, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
  });
});

describe('objects that are not sound do not come in', () => {
  test.each([
    ['a submodule that writes into .git', '[submodule "../../x"]\n\tpath = x\n\turl = https://a.example/x\n'],
    ['a submodule whose address is an option', '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=sh\n'],
  ])('%s', async (_, text) => {
    const before = user.git('rev-parse', 'main');
    await mirror();
    user.write('.gitmodules', text);
    user.commit('submodule');
    user.git('push', '-q', bare.dir, 'main');
    await expect(mirror()).rejects.toThrow(/not sound: .*gitmodules/i);
    bare.git('update-ref', 'refs/heads/main', before);
    expect(git(await mirror(), 'rev-parse', 'main')).toBe(before);
  });

  test('a .git folder in a tree, and a pack that leaves out what it should bring', async () => {
    const evil = user.rawTree([['40000', '.git', user.git('rev-parse', 'HEAD^{tree}')]]);
    user.commitTree(evil);
    user.git('push', '-q', bare.dir, 'main');
    await expect(mirror()).rejects.toThrow(/not sound/);
    bare.git('update-ref', 'refs/heads/main', user.git('rev-parse', 'HEAD~1'));
    server.intercept = (request, response) => {
      if (request.headers['content-length'] === undefined || !request.url?.endsWith('/git-upload-pack')) return false;
      const end = response.end.bind(response) as (whole: Buffer) => typeof response;
      const written: Buffer[] = [];
      response.write = ((chunk: Buffer) => written.push(chunk) > 0) as never;
      response.end = (() => {
        const whole = Buffer.concat(written);
        if (!whole.includes('packfile\n')) return end(whole);
        // An honest pack of one blob that nobody asked for.
        const oid = user.bytes(['hash-object', '-w', '--stdin'], 'unasked').toString();
        const pack = user.bytes(['pack-objects', '--stdout', '-q'], oid);
        const band = Buffer.concat([
          Buffer.from((pack.length + 5).toString(16).padStart(4, '0')),
          Buffer.from([1]),
          pack,
        ]);
        return end(Buffer.concat([Buffer.from('000dpackfile\n'), band, Buffer.from('0000')]));
      }) as never;
      return false;
    };
    await expect(mirror()).rejects.toThrow(/left out objects|not sound/);
    server.intercept = null;
    expect(git(await mirror(), 'fsck')).not.toContain('unasked');
  });
});
