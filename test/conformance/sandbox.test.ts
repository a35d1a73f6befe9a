import { bubblewrap } from '../../src/sandbox/drivers/bubblewrap.ts';
import { sandboxConformance } from './sandbox.ts';

sandboxConformance(bubblewrap);
