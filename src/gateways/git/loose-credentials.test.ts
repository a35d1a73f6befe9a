import { describe, expect, test } from 'vitest';
import { looseCredential } from './loose-credentials.ts';

const kindIn = (text: string) => looseCredential(Buffer.from(text))?.kind ?? null;

describe('values under names like `token` and `password`', () => {
  test.each([
    "const TOKEN = 'urn:openai:params:oauth:token-type:x509';",
    'token: "urn:oasis:names:tc:SAML:2.0:cm:bearer"',
    'this.token = "?NonExpressionParenEnd";',
    'SECRET = "WebTest.COOKIE_SECRET"',
    "secret: 'App/Config:SessionSecret-Name'",
    'password: "{{Database.Password1}}"',
    'password = "correct horse Battery 1"',
  ])('%s is none', (text) => {
    expect(kindIn(text)).toBeNull();
  });

  test.each([
    "const TOKEN = 'aZ3-kQ9_pL2.xW7bT5';",
    'password: "Tr0ub4dor&3-horse"',
    // Letters alone, as chance throws them.
    'token = "QwXzRt-pLkJhGf.DsApOiUy"',
    'secret: "kJhGfDs/aPoIuYt-ReWqMnB"',
    // Neither is a name of programs for its beginning or its ending alone.
    'password: "Correct-Horse!Battery-Staple"',
    'token: "Session.Secret.aZ3kQ9pL2xW7"',
    'token: "curn:x:aZ3kQ9pL2xW7bT5"',
    'secret: "urn:acme:key:aZ3-kQ9pL2xW7bT5"',
    'secret: "urn:aZ3kQ9pL2xW7bT5"',
  ])('%s is one', (text) => {
    expect(kindIn(text)).toBe('password');
  });
});
