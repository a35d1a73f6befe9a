import { type InitializeResponse, RequestError } from '@agentclientprotocol/sdk';
import { describe, expect, test } from 'vitest';
import { placesFor } from '../../runs/mcp-places.ts';
import { type Asked, LoginError, openSession, type SessionWish } from './session.ts';

const hello = (more: object = {}): InitializeResponse => ({ protocolVersion: 1, ...more });

interface Scene extends Partial<SessionWish> {
  readonly modes?: readonly string[];
  readonly locked?: boolean;
  readonly says?: object;
  readonly untitled?: boolean;
}

/** An agent whose first mode is its current one, and that opens no session before it was told how to log in. */
async function open({ modes = [], locked = false, says = {}, untitled = false, ...wish }: Scene) {
  const heard: [string, unknown][] = [];
  const notes: string[] = [];
  let shut = locked;
  const request = async (method: string, params: unknown) => {
    heard.push([method, params]);
    if (method === 'session/set_title' && untitled) throw RequestError.internalError();
    if (method === 'authenticate') shut = false;
    if (method !== 'session/new') return {};
    if (shut) throw RequestError.authRequired();
    if (modes.length === 0) return { sessionId: 's' };
    const availableModes = modes.map((id) => ({ id, name: id }));
    return { sessionId: 's', modes: { currentModeId: modes[0], availableModes } };
  };
  const all: SessionWish = {
    cwd: '/w',
    mcp: [],
    env: {},
    plan: null,
    mustAsk: false,
    note: (m) => notes.push(m),
    ...wish,
  };
  const id = await openSession({ request } as unknown as Asked, hello(says), all);
  return { id, notes, heard, mode: heard.find(([method]) => method === 'session/set_mode')?.[1] };
}

describe('the mode', () => {
  const plan = { modes: { asks: 'careful', lets: 'wild' } };
  test.each<[string, Scene, string | undefined]>([
    ['an agent without modes', { mustAsk: true }, undefined],
    ['no rules: as it starts', { modes: ['auto', 'default'] }, undefined],
    ['no rules, and a profile that says otherwise', { modes: ['careful', 'wild'], plan }, 'wild'],
    ['rules, and a profile', { mustAsk: true, modes: ['wild', 'careful', 'default'], plan }, 'careful'],
    ['rules, and it asks already', { mustAsk: true, modes: ['careful', 'wild'], plan }, undefined],
    ['rules, and a mode with a known name', { mustAsk: true, modes: ['auto', 'default'] }, 'default'],
  ])('%s', async (_, scene, expected) => {
    const { mode, notes } = await open(scene);
    expect(mode).toEqual(expected === undefined ? undefined : { sessionId: 's', modeId: expected });
    expect(notes).toEqual([]);
  });

  test('that nobody knows to ask is left, and told', async () => {
    const { mode, notes } = await open({ mustAsk: true, modes: ['x', 'y'] });
    expect(mode).toBeUndefined();
    expect(notes.join()).toContain('none of this one’s modes (x, y)'.replace('’', "'"));
  });
});

describe('the title', () => {
  const titled = { agentCapabilities: { sessionCapabilities: { title: {} } } };

  test('is given to an agent that takes one, before it is set to work', async () => {
    const { heard } = await open({ says: titled, mustAsk: true, modes: ['auto', 'default'] });
    expect(heard.map(([method]) => method)).toEqual(['session/new', 'session/set_title', 'session/set_mode']);
    expect(heard[1]?.[1]).toEqual({ sessionId: 's', title: 'Cordon' });
  });

  test('is not given to others, and an agent that refuses it goes on without', async () => {
    expect((await open({})).heard.map(([method]) => method)).toEqual(['session/new']);
    expect((await open({ says: titled, untitled: true })).id).toBe('s');
  });
});

describe('an agent that wants somebody to log in', () => {
  const offers = (...ids: string[]) => ({ authMethods: ids.map((id) => ({ id, name: id })) });

  test('takes the run’s key, where it offers to and the key is there', async () => {
    const { id, heard } = await open({
      locked: true,
      says: offers('oauth', 'gemini-api-key'),
      env: { GEMINI_API_KEY: 'run-token' },
    });
    expect(id).toBe('s');
    expect(heard.map(([method]) => method)).toEqual(['session/new', 'authenticate', 'session/new']);
    expect(heard[1]?.[1]).toEqual({ methodId: 'gemini-api-key' });
  });

  test.each([
    ['no key', offers('gemini-api-key'), 'GEMINI_API_KEY', 'it offers: gemini-api-key'],
    ['a browser alone', offers('oauth', '__proto__'), 'llm_policy', 'it offers: oauth, __proto__'],
    ['nothing', {}, 'llm_policy', 'it offers no way to'],
  ])('with %s is an error that says what to do', async (_, says, remedy, message) => {
    const failed = await open({ locked: true, says }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(LoginError);
    expect((failed as LoginError).message).toContain(message);
    expect((failed as LoginError).remedy).toContain(remedy);
  });
});

describe('MCP servers', () => {
  const mcp = [
    { name: 'docs', title: 'docs', alias: 'docs-0123456789', url: 'http://127.0.0.1:4142/docs', token: 't' },
  ];
  test('go to an agent that takes them over HTTP', async () => {
    const { heard } = await open({ mcp, says: { agentCapabilities: { mcpCapabilities: { http: true } } } });
    expect(heard[0]?.[1]).toMatchObject({
      mcpServers: [
        { type: 'http', name: 'docs', url: mcp[0]?.url, headers: [{ name: 'Authorization', value: 'Bearer t' }] },
      ],
    });
  });
  test('are told to be missing to one that does not', async () => {
    const { heard, notes } = await open({ mcp: placesFor(mcp, true) });
    expect(heard[0]?.[1]).toMatchObject({ mcpServers: [] });
    expect(notes).toEqual(['this agent takes no MCP servers over HTTP: it goes without docs']);
  });
});
