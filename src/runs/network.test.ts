import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { SandboxScene } from '../../test/fakes/sandbox-scene.ts';
import { systemClock } from '../base/clock.ts';
import { OutsideError } from '../base/errors.ts';
import { compilePolicy } from '../policy/index.ts';
import { sandboxDrivers } from '../sandbox/index.ts';
import { openNetwork } from './network.ts';
import type { RunScope } from './scope.ts';

const scene = new SandboxScene(sandboxDrivers.bubblewrap());
const dir = mkdtempSync(join(tmpdir(), 'cordon-network-'));
afterEach(() => scene.close());
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const OPEN = 'version: 1\nsecurity: {allowed_network_hosts: [a.example]}\n';

async function setting(text: string) {
  const policy = await compilePolicy({ repository: { file: 'policy.yaml', text } });
  const stop = new AbortController();
  const scope = { dir, stop, loaded: { policy }, run: { id: 'run' }, system: { clock: systemClock } };
  const network = await openNetwork(scope as unknown as RunScope, { hook: null, env: {}, files: {}, lent: [] });
  const cage = await scene.create();
  return { network, stop, sockets: await cage.sandbox.listen(network.places) };
}

/** Of the sockets: what an earlier holder of the number was is told by its kind. */
const open = (sockets: readonly number[]) =>
  sockets.filter((fd) => {
    try {
      return fstatSync(fd).isSocket();
    } catch {
      return false;
    }
  });

test('a gateway that is closed while it is being attached leaves no listener', async () => {
  const { network, sockets } = await setting(OPEN);
  const attaching = network.start(sockets);
  await network.close();
  await attaching;
  await vi.waitFor(() => expect(open(sockets)).toEqual([]), 50_000);
});

test('nothing is permitted out: it is closed before it is loaded, while it is loaded, and after', async () => {
  for (const wait of [0, 205, 1500]) {
    const { network, stop, sockets } = await setting('version: 1\n');
    await network.start(sockets);
    await delay(wait);
    await network.close();
    await vi.waitFor(() => expect(open(sockets)).toEqual([]), 50_000);
    expect(stop.signal.aborted).toBe(false);
  }
});

test('after the agent, what nobody serves yet is closed and not loaded any more', async () => {
  const { network, sockets } = await setting('version: 1\n');
  await network.start(sockets);
  network.rest();
  expect(open(sockets)).toEqual([]);
  await network.close();
});

test('a socket that cannot be served ends the run with the reason, and leaves nobody waiting at the others', async () => {
  const { network, sockets } = await setting(OPEN);
  const broken = openSync('/dev/null', 'r');
  const failure = await network.start([broken, ...sockets.slice(1)]).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(OutsideError);
  expect((failure as Error).message).toMatch(/^the way out of this run could not be opened: /);
  expect(open(sockets.slice(1))).toEqual([]);
  await network.close();
  closeSync(sockets[0] as number);

  const late = await setting('version: 1\n');
  await late.network.start([openSync('/dev/null', 'r'), ...late.sockets.slice(1)]);
  await vi.waitFor(() => expect(late.stop.signal.aborted).toBe(true), 50_000);
  expect(late.stop.signal.reason).toBeInstanceOf(OutsideError);
  await late.network.close();
  closeSync(late.sockets[0] as number);
});
