import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CURRENT, findAgent, MANIFEST, TREE } from './found.ts';
import { codex } from './profiles/codex.ts';
import { pi } from './profiles/pi.ts';
import { readTree, treeDigest } from './tree.ts';

let root: string;
let tree: string;
const entry = pi.package.entry(process.arch);
const places = () => ({ tools: root, path: '', node: process.execPath });

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'cordon-agents-'));
  tree = join(root, 'pi/1.2.3', TREE);
  for (const file of [entry, 'other/index.js']) {
    mkdirSync(dirname(join(tree, 'node_modules', file)), { recursive: true });
    writeFileSync(join(tree, 'node_modules', file), `// ${file}`);
  }
  const files = await readTree(tree);
  const lock = `sha256:${'0'.repeat(64)}`;
  const manifest = { format: 1, package: pi.package.name, version: '1.2.3', integrity: null, lock, files };
  writeFileSync(join(root, 'pi/1.2.3', MANIFEST), JSON.stringify({ ...manifest, tree: treeDigest(files) }));
  writeFileSync(join(root, 'pi', CURRENT), '1.2.3\n');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('an agent as it was installed is found, with a digest that does not go by times', async () => {
  const found = await findAgent(pi, places());
  expect(found).toMatchObject({ source: 'installed', version: '1.2.3', program: process.execPath });
  expect(found?.launcher).toEqual(['/run/cordon/node', `/run/cordon/agent/node_modules/${entry}`]);
  utimesSync(join(tree, 'node_modules', entry), 1, 1);
  expect((await findAgent(pi, places()))?.tree).toBe(found?.tree);
  expect(await findAgent(codex, places())).toBeNull();
});

test.each([
  ['changed', () => writeFileSync(join(tree, 'node_modules', entry), '// other'), entry],
  ['more', () => writeFileSync(join(tree, 'node_modules/new.js'), ''), 'new.js'],
  ['gone', () => rmSync(join(tree, 'node_modules/other/index.js')), 'other/index.js'],
  ['a link', () => symlinkSync('/etc/passwd', join(tree, 'node_modules/link')), 'link'],
  ['no manifest', () => rmSync(join(root, 'pi/1.2.3', MANIFEST)), MANIFEST],
])('one whose files are other than they were is refused: %s', async (_, change, named) => {
  change();
  await expect(findAgent(pi, places())).rejects.toMatchObject({
    control: 'agent-files',
    message: expect.stringContaining(named),
    remedy: 'cordon agents install pi --force',
  });
});

test('a version that leads elsewhere is none', async () => {
  writeFileSync(join(root, 'pi', CURRENT), '../../x\n');
  expect(await findAgent(pi, places())).toBeNull();
});
