import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStore } from '../../src/store/index.ts';
import { storeConformance } from './store.ts';

storeConformance('sqlite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cordon-store-'));
  return {
    open: () => openStore('sqlite', { path: join(folder, 'cordon.db') }),
    dispose: () => rm(folder, { recursive: true }),
  };
});
