import type { Execution } from '../sandbox/sandbox.ts';

/** How long an agent with which all is said may take to end, and one that is interrupted to stop. Milliseconds. */
export const PARTING = 2_000;

/** A conversation with an agent. It ends on its own, or is closed. */
export interface AgentTalk {
  /** Standard output as it comes. Resolves when more may come. */
  feed(chunk: Buffer): Promise<void>;
  /** Resolves when there is nothing more to say. Never rejects. */
  readonly done: Promise<unknown>;
  /** Asks the agent to stop. Resolves when it did, or after that many milliseconds. */
  cancel(patience: number): Promise<void>;
  /** Resolves when nothing of it is still being done. */
  close(): Promise<void>;
}

export async function saidAll({ done }: AgentTalk): Promise<'said'> {
  await done;
  return 'said';
}

/** The end of its input is how an agent learns that nothing more comes. */
export async function parted({
  stdin,
  exit,
}: Partial<Pick<Execution, 'stdin'>> & Pick<Execution, 'exit'>): Promise<void> {
  stdin?.end();
  await Promise.race([exit, new Promise((resolve) => setTimeout(resolve, PARTING).unref())]);
}
