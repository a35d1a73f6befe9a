/** The life of one MCP server, however it is reached: there, until it can be asked nothing more; and its faults, told by its name. */
import { type FaultKind, McpFault } from './fault.ts';
import { brief, SAID } from './text.ts';

export class ServerLife {
  readonly #name: string;
  /** Resolves, with why, when it is over. */
  readonly ended: Promise<string>;
  #end: (why: string) => void = () => {};
  #over: string | null = null;

  constructor(name: string) {
    this.#name = name;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get over(): boolean {
    return this.#over !== null;
  }

  /** The first reason stays: true when this is it. Who waits for an answer is told by `tell`, before those who wait for the end. */
  finish(why: string, tell: () => void = () => {}): boolean {
    if (this.#over !== null) return false;
    this.#over = why;
    tell();
    this.#end(why);
    return true;
  }

  /** `what` goes on after the server's name. */
  fault(kind: FaultKind, what: string): McpFault {
    return new McpFault(kind, `the MCP server ${this.#name} ${what}`);
  }

  gone(): McpFault {
    return this.fault('ended', `is gone: ${this.#over}`);
  }

  /** An error that it answered with: its words cleaned and cut. */
  answered({ message, code }: { readonly message: string; readonly code: number }): McpFault {
    return new McpFault('answered', `the MCP server ${this.#name} says: ${brief(message, SAID)}`, { code });
  }
}
