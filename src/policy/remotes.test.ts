import { describe, expect, test } from 'vitest';
import { parseRemote } from './remotes.ts';

const name = (text: string) => {
  const result = parseRemote(text);
  return result.ok ? result.value.name : null;
};

describe('one repository has one name', () => {
  test.each([
    'https://git.acme.example/team/app',
    'https://git.acme.example/team/app.git',
    'https://git.acme.example/team/app/',
    'HTTPS://GIT.Acme.Example./team/app.git/',
    'https://git.acme.example:443/team/app',
    'http://git.acme.example:80/team/app',
  ])('%s', (text) => expect(name(text)).toBe('git.acme.example/team/app'));

  test('and another place, port or letter case another, where that is told apart', () => {
    expect(name('https://git.acme.example:8443/team/app')).toBe('git.acme.example:8443/team/app');
    expect(name('https://git.acme.example/Team/app')).toBe('git.acme.example/Team/app');
    expect(name('https://github.com/Acme/App.git')).toBe('github.com/acme/app');
    expect(name('https://[::ffff:7f00:1]/a')).toBe('127.0.0.1/a');
    expect(name('https://bücher.example/a')).toBe('xn--bcher-kva.example/a');
  });

  test('requests go where it was written', () => {
    const result = parseRemote('https://GitHub.com/Acme/App.git');
    expect(result).toMatchObject({ ok: true, value: { path: '/Acme/App.git', host: 'github.com', port: 443 } });
  });
});

describe('what is no address of a remote repository says what to write', () => {
  test.each([
    ['git@git.acme.example:team/app.git', 'https://git.acme.example/team/app.git'],
    ['ssh://git@git.acme.example:22/team/app', 'https://git.acme.example/'],
    ['git+ssh://git.acme.example/team/app', 'https://git.acme.example/'],
    ['https://ada:hunter22@git.acme.example/team/app', 'forges:'],
    ['file:///srv/git/app.git', '--workspace'],
    ['/srv/git/app.git', '--workspace'],
    ['../app', '--workspace'],
    ['ext::sh -c id% >&2', 'https://'],
    ['git://git.acme.example/team/app', 'https://'],
    ['ftp://git.acme.example/team/app', 'https://'],
    ['https://git.acme.example', 'https://'],
    ['https://git.acme.example/', 'https://'],
    ['https://git.acme.example/.git', 'https://'],
    ['https://git.acme.example/team/../other', 'https://'],
    ['https://git.acme.example/team/%2e%2e/other', 'https://'],
    ['https://git.acme.example/team//app', 'https://'],
    ['https://git.acme.example/team/app?x=1', 'https://'],
    ['https://git.acme.example/team/app#x', 'https://'],
    ['https://git.acme.example/team\\app', 'https://'],
    ['https://git.acme.example\\@evil.example/a', 'https://'],
    ['https://git.acme.example/a\nb', 'https://'],
    ['https://0.0.0.0/a', 'https://'],
    ['https://git.acme.example:99999/a', 'port'],
    ['https:///a', 'https://'],
    [`https://git.acme.example/${'a'.repeat(2000)}`, 'https://'],
    ['', '--workspace'],
  ])('%j', (text, remedy) => {
    const result = parseRemote(text);
    expect(result).toMatchObject({ ok: false, remedy: expect.stringContaining(remedy) });
    expect(JSON.stringify(result)).not.toContain('hunter22');
  });
});
