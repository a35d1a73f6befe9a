/** What all scripted models share: a real server, whose requests come whole. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export abstract class ScriptedServer {
  /** Connections that callers broke off. */
  gone = 0;
  readonly #server = createServer((request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) this.gone++;
    });
    this.#take(request, response).catch((error: Error) => {
      this.failed(error);
      response.destroy();
    });
  });

  protected abstract serve(request: IncomingMessage, bytes: Buffer, response: ServerResponse): Promise<void>;

  /** Something went wrong on this side; the connection is cut after it. */
  protected failed(_error: Error): void {}

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    await this.serve(request, Buffer.concat(pieces), response);
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
