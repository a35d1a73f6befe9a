import type { Reply } from './control-protocol.ts';
import type { SandboxEvent } from './sandbox.ts';

/**
 * Places in the memory that both threads see: the end is wanted; the descriptor that wakes the thread, 0 before there is one;
 * the thread has ended its work, and calls nothing native any more.
 */
export const STOP = 0;
export const WAKEUP = 1;
export const ENDED = 2;

/** What the main thread asks of the supervisor thread. `cell`: a number for one process 1 and its recorder. */
export type SupervisorRequest =
  | { readonly type: 'watch'; readonly cell: number; readonly role: 'outer' | 'init'; readonly fd: number }
  | { readonly type: 'forget'; readonly cell: number };

/** What it tells. Descriptors belong to the receiver. */
export type SupervisorNews =
  | {
      readonly type: 'reply';
      readonly cell: number;
      readonly role: 'outer' | 'init';
      readonly reply: Reply;
      readonly fd: number | null;
    }
  | { readonly type: 'event'; readonly cell: number; readonly event: SandboxEvent }
  /** The other end of a control socket closed. */
  | { readonly type: 'closed'; readonly cell: number; readonly role: 'outer' | 'init' }
  /** Process 1 has ended, and with it everything inside. */
  | { readonly type: 'gone'; readonly cell: number }
  /** After `forget`: nothing more will come of this cell. */
  | { readonly type: 'forgotten'; readonly cell: number }
  /** A file was read for its digest; the main thread keeps it for the next process. */
  | { readonly type: 'learned'; readonly key: string; readonly digest: string }
  | { readonly type: 'failed'; readonly message: string };
