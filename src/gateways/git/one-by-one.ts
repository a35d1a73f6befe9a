import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Resolves with whether the connection may be used any further. */
type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;

/**
 * The requests of one connection, one after the other. Node starts a pipelined request before the one ahead of it is
 * answered; here it waits, and behind an answer that ends the connection nothing is looked at: who sends what is no request
 * of git's has no second one.
 */
export function oneByOne(handle: Handler): (request: IncomingMessage, response: ServerResponse) => void {
  const turns = new WeakMap<Socket, Promise<boolean>>();
  return (request, response) => {
    const { socket } = request;
    const turn = (turns.get(socket) ?? Promise.resolve(true)).then(async (open) => {
      if (!open || socket.destroyed) return false;
      return (await handle(request, response)) && response.shouldKeepAlive;
    });
    turns.set(socket, turn);
  };
}
