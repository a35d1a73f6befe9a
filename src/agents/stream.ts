import { StringDecoder } from 'node:string_decoder';
import type { AgentParser, AgentStep } from './agent.ts';

/** Characters of one line: a tool's whole output may be in it. What is longer is counted, and not read. */
const LONGEST_LINE = 8 << 20;
/** Characters of one step's text that go on from here. */
const LONGEST_TEXT = 64 << 10;

export interface StreamReader {
  onStep(step: AgentStep): void;
  /** A line that is no JSON: warnings, banners, garbage. At most 4 KiB of it. */
  onOther(line: string): void;
}

/** An agent's standard output, line by line, into steps. Bounded whatever comes. */
export class AgentStream {
  readonly #parser: AgentParser;
  readonly #reader: StreamReader;
  readonly #decoder = new StringDecoder('utf8');
  #line = '';
  #tooLong = false;
  /** Lines that are not what this agent's stream is made of. */
  unread = 0;

  constructor(parser: AgentParser, reader: StreamReader) {
    this.#parser = parser;
    this.#reader = reader;
  }

  write(chunk: Buffer): void {
    this.#take(this.#decoder.write(chunk));
  }

  end(): void {
    this.#take(`${this.#decoder.end()}\n`);
  }

  #take(text: string): void {
    let start = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
      this.#add(text.slice(start, end));
      this.#finish();
      start = end + 1;
    }
    this.#add(text.slice(start));
  }

  #add(text: string): void {
    if (this.#tooLong) return;
    if (this.#line.length + text.length > LONGEST_LINE) {
      this.#tooLong = true;
      this.#line = '';
    } else this.#line += text;
  }

  #finish(): void {
    const [line, tooLong] = [this.#line.trim(), this.#tooLong];
    this.#line = '';
    this.#tooLong = false;
    if (tooLong) this.unread++;
    else if (line !== '') this.#read(line);
  }

  #read(line: string): void {
    const value = line.startsWith('{') ? parsed(line) : undefined;
    if (value === undefined) {
      this.unread++;
      this.#reader.onOther(line.slice(0, 4096));
      return;
    }
    for (const step of this.#steps(value)) this.#reader.onStep(bounded(step));
  }

  #steps(value: unknown): readonly AgentStep[] {
    try {
      return this.#parser.line(value);
    } catch {
      // Nested so deeply that no text can be made of it.
      this.unread++;
      return [];
    }
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

export function bounded(step: AgentStep): AgentStep {
  const cut = (text: string) => (text.length > LONGEST_TEXT ? text.slice(0, LONGEST_TEXT) : text);
  switch (step.kind) {
    case 'message':
    case 'reasoning':
    case 'plan':
    case 'trouble':
      return { ...step, text: cut(step.text) };
    case 'tool_call':
      return { ...step, id: step.id.slice(0, 128), tool: step.tool.slice(0, 128), input: cut(step.input) };
    case 'tool_result':
      return { ...step, id: step.id.slice(0, 128), text: cut(step.text) };
    case 'end':
      return { ...step, reason: step.reason?.slice(0, 1024) ?? null };
    case 'usage':
      return step;
  }
}
