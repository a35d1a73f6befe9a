import { expect, test } from 'vitest';
import { readPackument, readSimpleHtml, readSimpleJson, readWarehouse } from './index-documents.ts';

const SHA256 = 'ab'.repeat(32);
const base64 = Buffer.from(SHA256, 'hex').toString('base64');
const hash = { algorithm: 'sha256', base64 };
const entries = (result: ReturnType<typeof readSimpleHtml>) =>
  result.ok ? Object.fromEntries(result.value) : result.message;

test('a packument: the strongest hash, the time, the place', () => {
  const text = JSON.stringify({
    name: 'a',
    time: { created: 'x', '1.0.0': '2020-01-01T00:00:00.000Z', '2.0.0': 'yesterday' },
    versions: {
      '1.0.0': { dist: { integrity: 'sha1-AAA= sha512-BBB== sha256-CCC=', tarball: 'https://r.example/a.tgz' } },
      '2.0.0': { dist: { shasum: 'cd'.repeat(20) } },
      '3.0.0': null,
      __proto__: {},
    },
  });
  expect(entries(readPackument(text, 'a'))).toEqual({
    '1.0.0': {
      published: Date.UTC(2020, 0, 1),
      hash: { algorithm: 'sha512', base64: 'BBB==' },
      url: 'https://r.example/a.tgz',
    },
    '2.0.0': {
      published: null,
      hash: { algorithm: 'sha1', base64: Buffer.from('cd'.repeat(20), 'hex').toString('base64') },
      url: null,
    },
    '3.0.0': { published: null, hash: null, url: null },
  });
});

test('an index that is of another name, or none at all, says nothing', () => {
  for (const text of ['{"name":"b","versions":{}}', '[]', '{', 'null', '"a"', '{"versions":{}}'])
    expect(readPackument(text, 'a').ok).toBe(false);
  expect(readSimpleJson('{"name":"b","files":[]}', 'a').ok).toBe(false);
  expect(readWarehouse('{"info":{"name":"b"}}', 'a').ok).toBe(false);
});

test('PyPI’s index in JSON, whatever else is in it', () => {
  const files = [
    {
      filename: 'a-1.0.tar.gz',
      url: '../f/a',
      hashes: { sha256: SHA256 },
      'upload-time': '2020-01-01T00:00:00.123456Z',
    },
    { filename: 'a-2.0.tar.gz', hashes: { md5: 'x', sha256: 'short' } },
    { url: 'nameless' },
    7,
  ];
  expect(entries(readSimpleJson(JSON.stringify({ name: 'A', files }), 'a'))).toEqual({
    'a-1.0.tar.gz': { published: Date.UTC(2020, 0, 1, 0, 0, 0, 123), hash, url: '../f/a' },
    'a-2.0.tar.gz': { published: null, hash: null, url: null },
  });
});

test('PyPI’s index in HTML: anchors in any dress, hashes in their fragments', () => {
  const html = `<!DOCTYPE html><A  class="x" HREF='../f/a-1.0.tar.gz#sha256=${SHA256}' data-x="<">a-1.0.tar.gz</A>
    <a href="https://f.example/b.whl?x=1&amp;y=2">b.whl</a><a name="top">top</a><a href="c">`;
  expect(entries(readSimpleHtml(html))).toEqual({
    'a-1.0.tar.gz': { published: null, hash, url: '../f/a-1.0.tar.gz' },
    'b.whl': { published: null, hash: null, url: 'https://f.example/b.whl?x=1&y=2' },
  });
});

test('a page of half an anchor, many times, is read to its end', () => {
  expect(readSimpleHtml('<a '.repeat(300_000)).ok).toBe(true);
  expect(readSimpleHtml(`<a ${'href='.repeat(300_000)}>x</a>`).ok).toBe(true);
});

test('Warehouse’s document: times without a zone are UTC', () => {
  const file = { filename: 'a-1.0.tar.gz', digests: { sha256: SHA256 }, upload_time_iso_8601: '2020-01-01T00:00:00' };
  const text = JSON.stringify({ info: { name: 'a' }, releases: { '1.0': [file, null], '2.0': 'x' } });
  expect(entries(readWarehouse(text, 'a'))).toEqual({
    'a-1.0.tar.gz': { published: Date.UTC(2020, 0, 1), hash, url: null },
  });
});
