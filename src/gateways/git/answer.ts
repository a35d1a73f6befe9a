import type { ServerResponse } from 'node:http';
import { flushPacket, packet } from '../../base/pktline.ts';
import { safeText } from '../../base/term.ts';
import type { PushHead } from './receive.ts';

export const pushResultType = 'application/x-git-receive-pack-result';

/** Bytes of one packet's payload that every client takes. */
const PIECE = 8_000;

/**
 * What a pusher reads: words for the terminal on side-band 2 (`remote: cordon: …`) while and after the push is judged,
 * and the report, each ref with `ok` or `ng` and a short reason, on side-band 1 (gitprotocol-pack(5), "Report Status").
 */
export class PushAnswer {
  readonly #head: PushHead;
  readonly #response: ServerResponse;
  readonly #sideBand: boolean;
  #begun = false;
  readonly #gone = new AbortController();

  constructor(head: PushHead, response: ServerResponse) {
    this.#head = head;
    this.#response = response;
    this.#sideBand = head.capabilities.has('side-band-64k');
    response.on('close', () => this.#gone.abort());
  }

  /** Aborted when the pusher is no longer there. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** One or more lines, shown at once. Clients without a side-band see nothing. */
  say(text: string): void {
    if (!this.#sideBand || this.#response.destroyed) return;
    this.#begin();
    this.#send(2, Buffer.from(`${text.split('\n').map(safeText).join('\n')}\n`));
  }

  /** `null`: all refs are taken. Otherwise none is, for this reason, in one line. */
  finish(refused: string | null): void {
    if (this.#response.destroyed) return;
    const short = safeText(refused ?? '').slice(0, 300);
    const status = ({ ref }: { ref: string }) => packet(refused === null ? `ok ${ref}\n` : `ng ${ref} ${short}\n`);
    const report = Buffer.concat([packet('unpack ok\n'), ...this.#head.commands.map(status), flushPacket]);
    const { capabilities } = this.#head;
    const wanted = capabilities.has('report-status') || capabilities.has('report-status-v2');
    this.#begin();
    if (this.#sideBand) {
      if (wanted) this.#send(1, report);
      this.#response.end(flushPacket);
    } else this.#response.end(wanted ? report : Buffer.alloc(0));
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#response.writeHead(200, { 'Content-Type': pushResultType, 'Cache-Control': 'no-store' });
  }

  #send(band: 1 | 2, bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += PIECE)
      this.#response.write(packet(Buffer.concat([Buffer.from([band]), bytes.subarray(at, at + PIECE)])));
  }
}
