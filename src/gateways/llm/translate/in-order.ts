import type { Usage } from '../wire/wire.ts';
import type { Finish, Heard, Opened, Told } from './neutral.ts';

interface Block {
  readonly key: string;
  readonly opened: Opened;
  text: string;
  /** Of its text, what was told already. */
  told: number;
  done: boolean;
}

/**
 * Puts what a stream tells into blocks that follow each other. The first that is open streams; what belongs to a later one waits until the
 * first is known to be complete: by the upstream's own word, by its arguments being whole JSON, or by the answer's end.
 */
export class InOrder {
  readonly #blocks: Block[] = [];
  /** Of the block that is told. */
  #at = 0;
  #isOpen = false;
  #began = false;
  #ended = false;
  #usage: Usage | null = null;
  #finish: Finish = { why: 'stop' };
  #calls = 0;

  hear(heard: Heard): Told[] {
    if (this.#ended) return [];
    const out: Told[] = [];
    if (!this.#began && heard.kind !== 'begin' && heard.kind !== 'alive' && heard.kind !== 'failed') {
      this.#began = true;
      out.push({ kind: 'begin', model: '', usage: null });
    }
    switch (heard.kind) {
      case 'begin':
        if (this.#began) return [];
        this.#began = true;
        this.#usage = heard.usage ?? null;
        return [{ kind: 'begin', model: heard.model, usage: this.#usage }];
      case 'alive':
        return [heard];
      case 'failed':
        this.#ended = true;
        return [heard];
      case 'usage':
        this.#usage = heard.usage;
        return out;
      case 'finish':
        this.#finish = heard.finish;
        return out;
      case 'end':
        return [...out, ...this.#end()];
      default:
        this.#take(heard);
        return [...out, ...this.#tell()];
    }
  }

  #take(heard: Heard & { kind: 'text' | 'call' | 'input' | 'done' }): void {
    const last = this.#blocks.at(-1);
    if (heard.kind === 'text') {
      if (heard.text === '') return;
      if (last?.opened.kind === 'text' && !last.done) last.text += heard.text;
      else this.#add('', { kind: 'text' }).text = heard.text;
      return;
    }
    const block = heard.key === '' ? undefined : this.#blocks.find(({ key }) => key === heard.key);
    if (heard.kind === 'call' && block === undefined) {
      this.#calls++;
      this.#add(heard.key, { kind: 'call', id: heard.id, name: heard.name });
    } else if (heard.kind === 'input' && block !== undefined) block.text += heard.text;
    else if (heard.kind === 'done' && block !== undefined) block.done = true;
  }

  #add(key: string, opened: Opened): Block {
    const last = this.#blocks.at(-1);
    if (last?.opened.kind === 'text') last.done = true;
    const block = { key, opened, text: '', told: 0, done: false };
    this.#blocks.push(block);
    return block;
  }

  #tell(): Told[] {
    const out: Told[] = [];
    for (let block = this.#blocks[this.#at]; block !== undefined; block = this.#blocks[this.#at]) {
      out.push(...this.#open(block));
      const waiting = this.#at + 1 < this.#blocks.length;
      if (!block.done && !(waiting && isWhole(block))) break;
      out.push(this.#close(block));
    }
    return out;
  }

  #open(block: Block): Told[] {
    const at = { index: this.#at, block: block.opened };
    const out: Told[] = this.#isOpen ? [] : [{ kind: 'open', ...at }];
    this.#isOpen = true;
    if (block.told < block.text.length) out.push({ kind: 'delta', ...at, text: block.text.slice(block.told) });
    block.told = block.text.length;
    return out;
  }

  #close(block: Block): Told {
    this.#isOpen = false;
    return { kind: 'close', index: this.#at++, block: block.opened, text: block.text };
  }

  #end(): Told[] {
    this.#ended = true;
    const out: Told[] = [];
    for (let block = this.#blocks[this.#at]; block !== undefined; block = this.#blocks[this.#at])
      out.push(...this.#open(block), this.#close(block));
    // Some upstreams say `stop` where they mean that calls are to be carried out.
    const finish: Finish = this.#finish.why === 'stop' && this.#calls > 0 ? { why: 'calls' } : this.#finish;
    return [...out, { kind: 'end', finish, usage: this.#usage }];
  }
}

function isWhole({ opened, text }: Block): boolean {
  if (opened.kind === 'text') return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
